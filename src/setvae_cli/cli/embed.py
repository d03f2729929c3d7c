"""`setvae embed`: a vector a subject, in a table that joins by subject id."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.embed_table import KEY_WIDTH, Embedded, plain, table
from setvae_cli.cli.of_a_run import intact
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import make_folder, share_with_group
from setvae_cli.settings.command import EmbedSettings
from setvae_cli.settings.run import RunSettings

if TYPE_CHECKING:
    from torch import nn

    from setvae_cli.evaluation.embed import Piece
    from setvae_cli.evaluation.embedder import Embedder
    from setvae_cli.store.reader import Store

CAUTION = "It holds subject ids and what tells of them: keep it as you keep the data."


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, EmbedSettings, run)


def run(settings: EmbedSettings, output: Output) -> None:
    """Write an embedding of each subject to one parquet file.

    A row a subject: subject_id, row, split, and the vector as columns e0, e1, ... so that it joins
    by subject id as it is. The checkpoint knows its data, so that its name is enough; other data
    are matched by the names of codes. Posterior means, no noise: the same again every time.

    The file is data of patients, and private (0600).
    """
    from setvae_cli.evaluation.embeddings_file import check_place

    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    share_with_group(settings.group_readable)
    check_place(settings.out)
    if not os.access(make_folder(settings.out.parent), os.W_OK):
        where, mend = str(settings.out.parent), "name another file with --out"
        raise InputError("nothing can be written there", where=where, mend=mend)
    embedder = _embedder(settings, output)
    facts = _write(embedder, settings, output)
    output.result(table(facts), plain(facts))
    output.say()
    output.say(CAUTION)
    if embedder.checkpoint is not None:
        from setvae_cli.runs.folder import RunFolder

        run = RunFolder.of(embedder.checkpoint)
        named = _named(settings) or (run.path if run else embedder.checkpoint)
        command = "evaluate" if embedder.predicts else "finetune"
        data = ["--data", settings.data] if settings.data else []
        if not data or embedder.store.tasks:
            output.next(shlex.join(["setvae", command, shown(Path(named)), *data]))


def _named(settings: EmbedSettings) -> str | None:
    return settings.run_or_ckpt or settings.checkpoint


def _embedder(settings: EmbedSettings, output: Output) -> Embedder:
    """What embeds, and on what, of which is said what it is."""
    from setvae_cli.cli.embed_sources import foreign, trained

    output.progress("opening", None, "")
    named = _named(settings)
    alone = settings.encoder is not None and named is None
    embedder = foreign(settings, output) if alone else trained(settings, named, output)
    output.end_progress()
    store = embedder.store
    facts = [
        ("data", f"{store.manifest.source}, {len(store.vocabulary.codes)} codes"),
        ("split", f"{settings.split}, {numbers.count(len(embedder.asked))} subjects"),
    ]
    if embedder.cut:
        which = f"{numbers.count(embedder.cut)} of {numbers.count(len(embedder.dataset))} subjects"
        facts.append(("cut", f"{which}, at the model's limit of elements"))
    if embedder.dataset.unmatched:
        share = numbers.percent(1 - embedder.dataset.unmatched)
        facts.append(("matched", f"{share} of the events, by the names of their codes"))
    output.facts((f"{name:<{KEY_WIDTH}}", value) for name, value in facts)
    if settings.with_labels and not store.tasks:
        output.warn("the data have no labels, so that none are written")
    return embedder


def _write(embedder: Embedder, settings: EmbedSettings, output: Output) -> Embedded:
    from setvae_cli.evaluation.embed import embed
    from setvae_cli.evaluation.embeddings_file import write_embeddings

    started, total = time.monotonic(), len(embedder.asked)

    def progress(done: int) -> None:
        seconds = time.monotonic() - started
        tail = f"{numbers.count(done / seconds)} subjects/s" if seconds > 0 else ""
        output.progress("embedding", done / total, tail)

    vectors = embed(
        embedder.encoder,
        embedder.dataset,
        embedder.asked,
        batch_size=settings.batch_size,
        progress=progress,
    )
    with _computing(embedder, settings):
        size = write_embeddings(
            settings.out,
            embedder.store,
            _of_intact(vectors, embedder.store, settings),
            embedder.splits,
            with_labels=settings.with_labels,
            about=embedder.about,
        )
    return Embedded(
        path=settings.out,
        subjects=total,
        without_events=total - len(embedder.dataset),
        splits=embedder.counts(),
        size=size,
        pooling=embedder.about["pooling"],
        matched=1 - embedder.dataset.unmatched,
        seconds=time.monotonic() - started,
    )


def _of_intact(vectors: Iterator[Piece], store: Store, settings: EmbedSettings) -> Iterator[Piece]:
    """The same vectors, whose end is reached only when no file of the store was changed."""
    with intact(store, settings.output_dir):
        yield from vectors


def _computing(embedder: Embedder, settings: EmbedSettings) -> AbstractContextManager[None]:
    """Where it computes; the encoder is moved there."""
    from setvae_cli.training.machine import resolve

    run = RunSettings(device=settings.device, precision="32")
    machine = resolve(run, embedder.width)
    cast("nn.Module", embedder.encoder).to(machine.device)
    return machine.computing()
