"""`setvae visualize`: what the latents of a trained model look like, drawn and judged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.of_a_run import Kind, intact, names_of, placed_on, report_folder
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import share_with_group
from setvae_cli.settings.command import VisualizeSettings

if TYPE_CHECKING:
    from setvae_cli.evaluation.collect import Asked, Origin
    from setvae_cli.evaluation.latents import Latents
    from setvae_cli.runs.checkpoint import CheckpointContent
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.store.reader import Store

SIMULATED = "simulated"
KEY_WIDTH = len("checkpoint")


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, VisualizeSettings, run)


def run(settings: VisualizeSettings, output: Output) -> None:
    """Draw the latents of a trained model, and say whether they are in use.

    The checkpoint knows its data, so that its name is enough; all of the validation split is looked
    at. Pictures, a page that holds them, and latents.parquet with one row a set go into the run's
    report/latents folder. They name subjects by row number; latents.parquet is data of patients.

    A checkpoint of the original SeqSetVAE is described, and not executed.
    """
    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    share_with_group(settings.group_readable)
    given = settings.run_or_ckpt or settings.checkpoint
    path = named_checkpoint(given, settings.output_dir, output)
    output.progress("opening", None, "")
    content = _opened(path, output)
    if content is None:
        return
    if given and not os.path.isdir(given):
        output.facts([("checkpoint", shown(path))])
    from setvae_cli.reports.latents.projection import require
    from setvae_cli.runs.model import rebuild

    require(settings.method)
    loaded = rebuild(content.header, content.weights(), path)
    if not loaded.settings.objective.has("elbo"):
        untrained = "untrained, or as they were before fine-tuning"
        output.warn(
            f"the model was trained without elbo: its decoder and prior are {untrained}, and what "
            "is said of them means nothing"
        )
    store = _store(loaded, path, settings, output)
    kind = Kind("latents", "validation", _files())
    folder = report_folder(content, store, kind, settings.split, settings.save_dir)
    if settings.sample_idx and not _shows_values(settings, store):
        output.warn("--sample-idx has no effect: time series show values, so add --show-values")
    with intact(store, settings.output_dir):
        latents = _look(loaded, store, _origin(content), settings, output)
    files = _write(folder, latents, store, settings, output)
    from setvae_cli.cli.latent_table import plain, table

    output.result(table(latents, files), plain(latents, files))
    from setvae_cli.runs.folder import RunFolder

    run, command = RunFolder.of(path), "evaluate" if content.header.tasks else "finetune"
    output.next(f"setvae {command} {shown(run.path if run else path)}")


def _files() -> tuple[str, ...]:
    from setvae_cli.reports.latents.write import PAGE, TABLE

    return TABLE, PAGE


def _opened(path: Path, output: Output) -> CheckpointContent | None:
    """The checkpoint; None where it is of the original, which was then described."""
    from setvae_cli.runs.checkpoint import is_intact, read

    try:
        return read(path, mapped=True)
    except InputError:
        from setvae_cli.runs.original import read_original

        original = read_original(path) if is_intact(path) else None
        if original is None:
            raise
    from setvae_cli.cli.original_table import plain, table

    output.result(table(original, path), plain(original, path))
    output.say("It is described and not executed: setvae draws models that it trained.")
    return None


def _store(loaded: LoadedModel, path: Path, settings: VisualizeSettings, output: Output) -> Store:
    """The data, of which it is said what is looked at."""
    from setvae_cli.cli.trained_on import store_for
    from setvae_cli.evaluation.collect import check_rows

    store = store_for(loaded, path, settings, output)
    output.end_progress()
    check_rows(store, settings.sample_idx)
    size = len(store.split(settings.split))
    seen = min(size, settings.max_batches * settings.batch_size) if settings.max_batches else size
    part = "" if seen == size else f"{numbers.count(seen)} of "
    facts = [
        ("data", f"{store.manifest.source}, {len(store.vocabulary.codes)} codes"),
        ("split", f"{settings.split}, {part}{numbers.count(size)} subjects"),
    ]
    output.facts((f"{name:<{KEY_WIDTH}}", value) for name, value in facts)
    return store


def _look(
    loaded: LoadedModel,
    store: Store,
    origin: Origin,
    settings: VisualizeSettings,
    output: Output,
) -> Latents:
    from setvae_cli.evaluation.collect import collect

    with placed_on(loaded, settings.device).computing():
        return collect(
            loaded,
            store,
            _asked(settings, store),
            origin,
            progress=lambda doing, share: output.progress(doing, share, ""),
        )


def _asked(settings: VisualizeSettings, store: Store) -> Asked:
    from setvae_cli.evaluation.collect import Asked

    return Asked(
        split=settings.split,
        batch_size=settings.batch_size,
        max_batches=settings.max_batches,
        rows=settings.sample_idx,
        values=_shows_values(settings, store),
        seed=settings.seed,
    )


def _shows_values(settings: VisualizeSettings, store: Store) -> bool:
    """Whether values of subjects may be drawn: simulated ones have nothing to hide."""
    return settings.show_values or store.manifest.source == SIMULATED


def _origin(content: CheckpointContent) -> Origin:
    from setvae_cli.evaluation.collect import Origin

    names = names_of(content)
    return Origin(names.run, content.path.name, content.step, names.begun)


def _write(
    folder: Path, latents: Latents, store: Store, settings: VisualizeSettings, output: Output
) -> Sequence[Path]:
    output.progress("drawing", None, "")
    from setvae_cli.reports.latents.write import write

    return write(
        folder,
        latents,
        method=settings.method,
        seed=settings.seed,
        show_ids=_ids(latents, store) if settings.show_ids else None,
        progress=lambda doing: output.progress(doing, None, ""),
    )


def _ids(latents: Latents, store: Store) -> dict[int, str]:
    """Subject id of each row that was looked at."""
    rows = latents.subjects.row
    ids = store.rows["subject_id"].take(rows).to_pylist()
    return dict(zip(rows.tolist(), map(str, ids), strict=True))
