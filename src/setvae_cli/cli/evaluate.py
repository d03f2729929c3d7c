"""`setvae evaluate`: how good the predictions of a trained model are, in all and by group."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.of_a_run import Kind, intact, is_other, names_of, placed_on, report_folder
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import share_with_group
from setvae_cli.settings.command import EvaluateSettings

if TYPE_CHECKING:
    from setvae_cli.encoders.door import SequenceEncoder
    from setvae_cli.evaluation.findings import Findings, Provenance
    from setvae_cli.evaluation.measured_split import MeasuredSplit
    from setvae_cli.runs.checkpoint import CheckpointContent
    from setvae_cli.runs.model import LoadedModel
    from setvae_cli.store.reader import Store

KEY_WIDTH = len("checkpoint")


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, EvaluateSettings, run)


def run(settings: EvaluateSettings, output: Output) -> None:
    """Measure the predictions of a trained model on a split that it did not learn from.

    Ranking, calibration, accuracy at a threshold, each with a bootstrap interval; with --by also
    for groups of subjects, where counts under ten are not shown. The checkpoint knows its data, so
    that its name is enough. A page, pictures, metrics.json and predictions.parquet with one row a
    subject go into the run's report/evaluation folder; predictions.parquet is data of patients.
    """
    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    if settings.fold.repeats > 1 and settings.fold.folds is None:
        raise SettingsError("is given without folds", where="--repeats", mend="add --folds 5")
    share_with_group(settings.group_readable)
    given = settings.run_or_ckpt or settings.checkpoint
    folds = settings.fold.folds is not None
    path = named_checkpoint(given, settings.output_dir, output, pretrained=folds)
    output.progress("opening", None, "")
    from setvae_cli.runs.checkpoint import read
    from setvae_cli.runs.model import rebuild

    if folds:
        from setvae_cli.cli.comparing import evaluate_folds

        evaluate_folds(settings, path, output)
        return
    content = read(path, mapped=True)
    check_predicts(content, settings)
    if given and not os.path.isdir(given):
        output.facts([("checkpoint", shown(path))])
    encoder = _encoder(content, settings)
    loaded = rebuild(content.header, content.weights(), path, encoder)
    store = _store(loaded, path, settings, output)
    kind = Kind("evaluation", "test", _files())
    folder = report_folder(content, store, kind, settings.split, settings.save_dir)
    with intact(store, settings.output_dir):
        measured = _measure(loaded, store, _provenance(content, store), settings, output)
    files = _write(folder, measured, store, settings, output)
    from setvae_cli.cli.evaluation_table import plain, table

    output.result(table(measured.findings, files), plain(measured.findings, files))
    _next(measured.findings, path, settings, output)


def _files() -> tuple[str, ...]:
    from setvae_cli.reports.evaluation.write import METRICS, PAGE, TABLE

    return TABLE, METRICS, PAGE


def check_predicts(content: CheckpointContent, settings: EvaluateSettings) -> None:
    """Make sure that a checkpoint predicts what is to be measured.

    Raises:
        InputError: It was trained without labels, or predicts other ones.
    """
    tasks = content.header.tasks
    if not tasks:
        what = "was trained without labels, so that it predicts nothing"
        mend = "give it a head with setvae finetune, or write its vectors with setvae embed"
        raise InputError(what, where=str(content.path), mend=mend)
    for label in settings.label:
        if label not in tasks:
            what = f"the model does not predict {label:.60}: it predicts {', '.join(tasks)}"
            raise InputError(what, where="--label", mend="name one of them")


def _encoder(content: CheckpointContent, settings: EvaluateSettings) -> SequenceEncoder | None:
    """The encoder of another package that the person names; a checkpoint never runs one itself."""
    if settings.encoder is None:
        return None
    if content.header.foreign is None:
        what = "is given beside a checkpoint that holds its own model"
        raise SettingsError(what, where="--encoder", mend="leave it out")
    from setvae_cli.encoders.opening import open_encoder

    codes, pool = len(content.header.vocabulary["codes"]), content.header.settings.get("pool")
    return open_encoder(settings.encoder, codes=codes, pool=pool)


def _store(loaded: LoadedModel, path: Path, settings: EvaluateSettings, output: Output) -> Store:
    """The data, of which it is said what is measured."""
    from setvae_cli.cli.trained_on import store_for
    from setvae_cli.evaluation.attributes import check_attributes
    from setvae_cli.evaluation.measured_split import check_labels, rows_by_split

    store = store_for(loaded, path, settings, output)
    output.end_progress()
    tasks = settings.label or loaded.header.tasks
    check_labels(loaded, store, tasks, unlabelled=settings.split == "all")
    check_attributes(store, settings.by)
    rows = rows_by_split(loaded, store, settings.split)
    facts = [
        ("data", f"{store.manifest.source}, {len(store.vocabulary.codes)} codes"),
        ("split", f"{settings.split}, {numbers.count(len(rows))} subjects"),
        ("labels", ", ".join(tasks)),
    ]
    output.facts((f"{name:<{KEY_WIDTH}}", value) for name, value in facts)
    return store


def _measure(
    loaded: LoadedModel,
    store: Store,
    source: Provenance,
    settings: EvaluateSettings,
    output: Output,
) -> MeasuredSplit:
    from setvae_cli.evaluation.measured_split import Wanted, measure_split

    with placed_on(loaded, settings.device).computing():
        measured = measure_split(
            loaded,
            store,
            Wanted(
                split=settings.split,
                tasks=settings.label or loaded.header.tasks,
                by=settings.by,
                threshold=settings.threshold,
                resamples=settings.resamples,
                seed=settings.seed,
                batch_size=settings.batch_size,
            ),
            source,
            progress=lambda doing, share: output.progress(doing, share, ""),
        )
    output.end_progress()
    for note in measured.findings.notes:
        output.warn(note)
    return measured


def _provenance(content: CheckpointContent, store: Store) -> Provenance:
    from importlib.metadata import version

    from setvae_cli.evaluation.findings import Provenance

    names = names_of(content)
    return Provenance(
        run=names.run,
        checkpoint=content.path.name,
        step=content.step,
        begun=names.begun,
        version=version("setvae-cli"),
        trained_on=content.header.data_digest,
        data=store.digest,
        command=content.header.command,
    )


def _write(
    folder: Path,
    measured: MeasuredSplit,
    store: Store,
    settings: EvaluateSettings,
    output: Output,
) -> Sequence[Path]:
    output.progress("drawing", None, "")
    from setvae_cli.evaluation.prediction_table import as_table
    from setvae_cli.reports.evaluation.write import write

    rows = measured.predictions.rows
    ids = store.rows["subject_id"].take(rows).to_pylist() if settings.show_ids else None
    table = as_table(
        measured.predictions,
        measured.split,
        tasks=measured.tasks,
        classes=measured.classes,
        ids=None if ids is None else list(map(str, ids)),
    )
    return write(
        folder, measured.findings, table, progress=lambda doing: output.progress(doing, None, "")
    )


def _next(findings: Findings, path: Path, settings: EvaluateSettings, output: Output) -> None:
    """What a person is likely to want now: its groups, else what its latents look like."""
    from setvae_cli.runs.folder import RunFolder

    run = RunFolder.of(path)
    named = shown(path if run is None or is_other(path, run) else run.path)
    given = (("--encoder", settings.encoder), ("--data", settings.data))
    again = [named, *(word for option, value in given if value for word in (option, value))]
    if findings.attributes and not settings.by and any(task.subjects for task in findings.tasks):
        split = ["--split", settings.split] if settings.split != "test" else []
        by = ["--by", findings.attributes[0]]
        output.next(shlex.join(["setvae", "evaluate", *again, *split, *by]))
    elif not settings.encoder:  # others' encoders have no latents
        output.next(shlex.join(["setvae", "visualize", *again]))
