"""A store: its manifest, every byte against its checksum, and whether tables and shards open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from setvae_cli import numbers
from setvae_cli.errors import DataError, InputError
from setvae_cli.files import sha256
from setvae_cli.reports.doctor.finding import Finding, Section, Sink, shortened, wrong
from setvae_cli.reports.doctor.leftovers import orphans
from setvae_cli.store.engines import map_ordered
from setvae_cli.store.format import MANIFEST, FileEntry, Manifest, read_manifest
from setvae_cli.store.reader import Store
from setvae_cli.store.summary import content_digest

AGAIN = "prepare the store again"


def examine_store(path: Path, sink: Sink) -> Section:
    """Verify a store, all of it.

    Args:
        path: The folder.
        sink: Told what is being done, and the share of it that is done.
    """
    try:
        manifest = read_manifest(path)
    except InputError as error:
        return Section("Store", (wrong("manifest", error, AGAIN), orphans(path)))
    findings = [_manifest(manifest), _digest(manifest), *_files(path, manifest, sink)]
    if all(finding.state != "wrong" for finding in findings):
        findings += _content(path, manifest, sink)
    return Section("Store", (*findings, orphans(path)))


def _manifest(manifest: Manifest) -> Finding:
    subjects = sum(counts.subjects for counts in manifest.counts.values())
    value = (
        f"format {manifest.format_version}, {manifest.source}, {numbers.count(subjects)} subjects"
    )
    if manifest.checksum is None:
        return Finding("manifest", f"{value}, without a checksum", "warn", AGAIN)
    return Finding("manifest", value)


def _digest(manifest: Manifest) -> Finding:
    if content_digest(manifest.files) != manifest.digest:
        return Finding("digest", "is not that of the checksums", "wrong", AGAIN)
    return Finding("digest", manifest.digest[:12])


def _files(path: Path, manifest: Manifest, sink: Sink) -> list[Finding]:
    bad = _changed(path, manifest.files, sink)
    total = numbers.size(sum(entry.bytes for entry in manifest.files.values()))
    if bad:
        value = f"{len(bad)} of {len(manifest.files)} differ: {shortened(bad)}"
        findings = [Finding("checksums", value, "wrong", AGAIN)]
    else:
        findings = [Finding("checksums", f"{len(manifest.files)} files, {total}, all fit")]
    known = {MANIFEST, *manifest.files}
    there = [str(file.relative_to(path)) for file in sorted(path.rglob("*")) if file.is_file()]
    foreign = [name for name in there if name not in known and ".tmp-" not in name]
    if foreign:
        value = f"{len(foreign)} not of the store"  # their names may be those of patients
        findings.append(Finding("other files", value, "warn", "move them elsewhere"))
    return findings


def _changed(path: Path, files: Mapping[str, FileEntry], sink: Sink) -> list[str]:
    """Names of files that are missing, unreadable, or other than when they were written."""
    bad, done = [], 0
    total = sum(entry.bytes for entry in files.values()) or 1
    digests = map_ordered(_sha256, [path / name for name in files], workers=None)
    for (name, entry), digest in zip(files.items(), digests, strict=True):
        if digest != entry.sha256:
            bad.append(name)
        done += entry.bytes
        sink("verifying", done / total)
    return bad


def _sha256(path: Path) -> str | None:
    try:
        return sha256(path)
    except OSError:
        return None


def _content(path: Path, manifest: Manifest, sink: Sink) -> list[Finding]:
    """Tables and shards, of which every byte is as it was written."""
    try:
        store = Store(path, manifest)
        codes = len(store.vocabulary.codes)
    except (DataError, InputError, KeyError, ValueError) as error:
        fault = error if isinstance(error, DataError | InputError) else DataError("do not open")
        return [wrong("tables", fault, AGAIN)]
    tables = Finding("tables", f"{numbers.count(len(store))} rows, {numbers.count(codes)} codes")
    return [tables, _shards(store, sink)]


def _shards(store: Store, sink: Sink) -> Finding:
    shards, bad = np.unique(store.columns.shard).tolist(), []
    for done, number in enumerate(shards, start=1):
        try:
            store.check_keys(store.shard(number).keys)
        except DataError:
            bad.append(store.shard_path(number).name)
        sink("opening shards", done / len(shards))
    if bad:
        return Finding("shards", f"{len(bad)} do not open: {shortened(bad)}", "wrong", AGAIN)
    return Finding("shards", f"{len(shards)}, all open")
