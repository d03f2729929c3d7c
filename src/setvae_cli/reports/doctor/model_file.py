"""A checkpoint or an exported model: its checksums, its header, and whether it makes a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from setvae_cli import numbers
from setvae_cli.errors import InputError
from setvae_cli.reports.doctor.finding import Finding, Section, wrong
from setvae_cli.runs.checkpoint import CheckpointContent, Header, check_finite, is_intact, read
from setvae_cli.runs.export import begins_as_exported, read_exported
from setvae_cli.runs.model import rebuild
from setvae_cli.runs.original import OriginalCheckpoint, read_original

OTHER = "use another checkpoint of the run"
AGAIN = "export it again"
DESCRIBED = "see setvae visualize for its architecture and its weights"


def examine_checkpoint(path: Path) -> Section:
    """Verify a checkpoint; one of the original SeqSetVAE is described.

    Raises:
        InputError: It is neither: every byte is as it was written, but by something else.
    """
    try:
        content = read(path, mapped=True)
    except InputError as error:
        original = read_original(path) if is_intact(path) else None
        if original is not None:
            return _original(original)
        if is_intact(path) or not _is_archive(path):
            raise
        return Section("Checkpoint", (wrong("checksums", error, OTHER),))
    size = numbers.size(path.stat().st_size)
    findings = (
        Finding("checksums", f"{size}, all fit"),
        _header(content.header),
        Finding("place", place(content)),
        _model(content.header, content.weights(), path, OTHER),
    )
    return Section("Checkpoint", findings)


def examine_exported(path: Path) -> Section:
    """Verify an exported model.

    Raises:
        InputError: It is none of ours.
    """
    try:
        exported = read_exported(path)
    except InputError as error:
        if not begins_as_exported(path):
            raise
        return Section("Exported model", (wrong("checksum", error, AGAIN),))
    size = numbers.size(path.stat().st_size)
    findings = (
        Finding("checksum", f"{size}, fits"),
        _header(exported.header),
        _model(exported.header, exported.weights, path, AGAIN),
    )
    return Section("Exported model", findings)


def verified(path: Path) -> CheckpointContent:
    """Open a checkpoint and make sure that its weights make the model that it describes.

    Raises:
        InputError: They do not, or it cannot be opened.
    """
    content = read(path, mapped=True)
    if content.header.foreign is None:
        rebuild(content.header, content.weights(), path)
    else:
        check_finite(content.weights(), path)
    return content


def place(content: CheckpointContent) -> str:
    """Where in its run a checkpoint was saved."""
    step, header = f"step {numbers.count(content.step)}", content.header
    if header.next_epoch is None:
        return step
    if header.next_batch:
        return f"{step}, epoch {header.next_epoch + 1}, batch {numbers.count(header.next_batch)}"
    return f"{step}, end of epoch {header.next_epoch}"


def _original(original: OriginalCheckpoint) -> Section:
    """What a checkpoint of the original says of itself."""
    tensors = sum(part.tensors for part in original.parts)
    value = f"{numbers.count(original.parameters)} parameters in {tensors} tensors"
    bad = sum(part.not_finite for part in original.parts)
    broken = Finding("model", f"{value}, {numbers.count(bad)} not finite", "wrong", OTHER)
    findings = (
        Finding("checksums", f"{numbers.size(original.bytes)}, all fit"),
        Finding("place", "not said" if original.step is None else f"step {original.step}"),
        broken if bad else Finding("model", f"{value}, all finite"),
        Finding("use", "none here: it is described, never executed", "warn", DESCRIBED),
    )
    return Section("Original SeqSetVAE checkpoint", findings)


def _header(header: Header) -> Finding:
    tasks = ", ".join(header.tasks) or "no label"
    return Finding(
        "header", f"format {header.format_version}, setvae {header.setvae_version}, {tasks}"
    )


def _model(header: Header, weights: Mapping[str, Tensor], path: Path, mend: str) -> Finding:
    try:
        if header.foreign is not None:
            check_finite(weights, path)
            value = f"{len(weights)} tensors, all finite, for {header.foreign:.40}"
            return Finding("model", f"{value} of another package")
        model = rebuild(header, weights, path).model
    except InputError as error:
        return wrong("model", error, mend)
    parameters = numbers.count(sum(one.numel() for one in model.parameters()))
    return Finding("model", f"{parameters} parameters in {len(weights)} tensors, all finite")


def _is_archive(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(2) == b"PK"
