"""A comparison behind fine-tuning, as the command line runs, resumes and shows it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from setvae_cli.cli.comparison_view import ComparisonView
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import SettingsError, Terminated, placed
from setvae_cli.settings.command import EvaluateSettings, FinetuneSettings

if TYPE_CHECKING:
    from setvae_cli.evaluation.decision import Shares
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.training.compare.comparison import Comparison
    from setvae_cli.training.compare.folder import ComparisonFolder

BESIDE = "comparison"
TAKEN = (
    "data", "label", "device", "output_dir", "group_readable", "resamples", "repeats", "folds",
    "fold_seed", "fold_label",
)  # fmt: skip
ALONE = (
    "split", "by", "threshold", "show_ids", "batch_size", "seed", "encoder", "repeat",
    "label_fraction",
)  # fmt: skip


def cross_validate(
    settings: FinetuneSettings, output: Output, path: Path | None = None, *, tunes: bool = True
) -> None:
    """Compare over folds, or over shares of the labels, and show the table that decides.

    Args:
        settings: Of the fine-tuning, with checkpoint, data and architecture as they are.
        output: Where it is shown.
        path: The folder of a comparison to go on with; None: a folder of its own, or with
            --resume auto the latest.
        tunes: Whether networks are fine-tuned.
    """
    check(settings)
    from setvae_cli.cli.precompute import store_to_train_on
    from setvae_cli.training.compare.comparison import Comparison
    from setvae_cli.training.compare.folder import ComparisonFolder

    store = store_to_train_on(settings, output)
    parent = settings.run.output_dir / settings.run.name
    folder = _to_go_on_with(settings, path, parent)
    with placed(settings.data):
        comparison = Comparison(settings, store, folder or ComparisonFolder(parent), tunes=tunes)
        if folder is None:
            comparison = _in_its_folder(comparison)
        found = _compared(comparison, output)
    _show(comparison, found, output, {})


def evaluate_folds(settings: EvaluateSettings, path: Path, output: Output) -> None:
    """Compare over folds what needs no fine-tuning of a checkpoint.

    Args:
        settings: Of the command.
        path: The checkpoint; its training is repeated inside every fold of its own data.
        output: Where it is shown.
    """
    from setvae_cli.cli.finetune import with_data
    from setvae_cli.cli.precompute import store_to_train_on
    from setvae_cli.training.compare.comparison import Comparison
    from setvae_cli.training.compare.folder import ComparisonFolder
    from setvae_cli.training.starting import open_origin, with_architecture

    _check_measures(settings)
    flat = settings.to_flat()
    raw = [*settings.source.model_fields_set, *settings.store.model_fields_set]
    kept = {name: flat[name] for name in (*TAKEN, *raw) if flat[name] is not None}
    tuned = FinetuneSettings.from_flat({**kept, "ckpt": str(path), "name": "evaluate"})
    origin = open_origin(path)
    tuned = with_data(with_architecture(tuned, origin.header, path), origin.header, path)
    store = store_to_train_on(tuned, output)
    parent = ComparisonFolder(settings.save_dir or settings.output_dir / "evaluate")
    with placed(tuned.data):
        comparison = _in_its_folder(Comparison(tuned, store, parent, tunes=False))
        found = _compared(comparison, output)
    _show(comparison, found, output, {})


def beside(
    settings: FinetuneSettings, run: Path, lines: list[Any], data: dict[str, Any], output: Output
) -> None:
    """Compare one fine-tuned run with what else could be used, and show both.

    Args:
        settings: Of the run.
        run: Its folder; its best checkpoint is the fine-tuned model.
        lines: The run's closing table.
        data: The same as plain values.
        output: Where it is shown.
    """
    from setvae_cli.cli.precompute import store_to_train_on
    from setvae_cli.runs.folder import RunFolder
    from setvae_cli.training.compare.comparison import Comparison
    from setvae_cli.training.compare.folder import ComparisonFolder
    from setvae_cli.training.compare.material import lacking

    if not output.speaks_json:
        output.result(lines, data)
    store = store_to_train_on(settings, output)
    if lacking(settings, store) is not None:  # which was said before the run was trained
        if output.speaks_json:
            output.result(lines, data)
        return
    with placed(settings.data):
        folder, best = ComparisonFolder(run / BESIDE), RunFolder(run).best_or_last()
        comparison = Comparison(settings, store, folder, best)
        _set_aside(comparison, RunFolder(run), output)
        found = _compared(comparison, output)
    _show(comparison, found, output, data)


def _set_aside(comparison: Comparison, run: RunFolder, output: Output) -> None:
    """Keep an earlier comparison of the run out of the way, where the run has changed since."""
    from setvae_cli.runs.lock import locked
    from setvae_cli.training.compare.folder import differences

    folder = comparison.folder
    if not folder.begun:
        return
    with locked(folder.lock):
        differing = differences(folder.plan(), comparison.plan())
        if not differing:
            return
        aside = run.next_abandoned() / BESIDE
        folder.path.rename(aside)
    output.say(
        f"The run has changed ({', '.join(differing[:3])}), so it is compared anew; "
        f"the earlier comparison is in {os.path.relpath(aside.parent)}."
    )


def go_on(path: Path, given: dict[str, Any], output: Output) -> None:
    """Go on with the comparison in a folder.

    Raises:
        SettingsError: Other settings are given than a new place of its data.
        InputError: The folder holds no comparison, or it is of other data.
    """
    from setvae_cli.training.compare.folder import ComparisonFolder
    from setvae_cli.training.places import check_there

    others = [name for name in given if name != "data"]
    if others:
        first = FinetuneSettings.fields().get(others[0])
        where = first.option if first else None
        what = "is given, and a comparison goes on as it was begun"
        raise SettingsError(what, where=where, mend="leave it out, or begin another comparison")
    plan = ComparisonFolder(path).plan()
    settings = FinetuneSettings.from_flat({**plan["settings"], **_places(path), **given})
    check_there(settings.data)
    cross_validate(settings, output, path, tunes=bool(plan.get("tunes", True)))


def check_together(settings: FinetuneSettings, output: Output) -> None:
    """Refuse options that contradict one another, before anything is trained.

    Raises:
        SettingsError: Some do.
    """
    fold, compared = settings.fold, settings.comparison
    every_fold = fold.folds is not None and fold.fold is None
    if compared.repeats > 1 and not every_fold:
        what = "counts the times that all folds are dealt out, and one place is fine-tuned"
        raise SettingsError(what, where="--repeats", mend="give --folds without --fold")
    if every_fold and fold.repeat:
        what = "names one way of dealing out folds, and all folds are compared"
        raise SettingsError(what, where="--repeat", mend="use --repeats, or name one --fold")
    if is_compared(settings) and settings.resume_from_checkpoint is not None:
        what = "names one run, and a comparison has many"
        mend = "use --resume auto, or setvae resume with the comparison's folder"
        raise SettingsError(what, where="--resume-from-checkpoint", mend=mend)
    if not compared.compare:
        usual, flat = type(settings)().to_flat(), settings.to_flat()
        for name in ("ensemble", "with_trees", "scratch_epochs", "resamples"):
            if flat[name] != usual[name]:
                option = settings.fields()[name].option
                output.warn(f"{option} has no effect: --no-compare leaves the comparison out")


def _check_measures(settings: EvaluateSettings) -> None:
    """Refuse what belongs to one checkpoint's predictions, which folds do not have.

    Raises:
        SettingsError: It is given.
    """
    if settings.fold.fold is not None:
        what = "is given, and --folds measures all of them"
        raise SettingsError(what, where="--fold", mend="leave it out")
    usual, flat = type(settings)().to_flat(), settings.to_flat()
    for name in ALONE:
        if flat[name] != usual[name]:
            what = "is for the predictions of one checkpoint, and --folds compares methods"
            raise SettingsError(what, where=settings.fields()[name].option, mend="leave it out")


def is_compared(settings: FinetuneSettings) -> bool:
    """Whether there is no single run: all folds are asked for, or several shares of the labels."""
    every_fold = settings.fold.folds is not None and settings.fold.fold is None
    return every_fold or len(settings.fold.label_fraction) > 1


def is_comparison(path: Path) -> bool:
    """Whether a folder is a comparison over folds."""
    return (path / "plan.json").is_file() and path.name != BESIDE


def check(settings: FinetuneSettings) -> None:
    """Refuse what a comparison without a single run cannot be asked for.

    Raises:
        SettingsError: It is several devices, or none of the comparison.
    """
    if not settings.comparison.compare:
        what = "leaves nothing to do: folds and shares of the labels are for comparing"
        raise SettingsError(what, where="--no-compare", mend="leave it out, or name one --fold")
    if settings.run.devices > 1 or settings.run.num_nodes > 1:
        what = "is above 1, and a comparison computes its runs one after another"
        raise SettingsError(what, where="--devices", mend="leave it out")


def _places(path: Path) -> dict[str, str]:
    return {"output_dir": str(path.parent.parent), "name": path.parent.name}


def _to_go_on_with(
    settings: FinetuneSettings, path: Path | None, parent: Path
) -> ComparisonFolder | None:
    from setvae_cli.training.compare.folder import ComparisonFolder

    if path is not None:
        return ComparisonFolder(path)
    return ComparisonFolder.latest(parent) if settings.resume == "auto" else None


def _in_its_folder(comparison: Comparison) -> Comparison:
    """The comparison in the next free folder below its own, which a refused one does not get."""
    from setvae_cli.training.compare.folder import ComparisonFolder
    from setvae_cli.training.compare.run import check_rows

    check_rows(comparison)
    folder = ComparisonFolder.create(comparison.folder.path, comparison.plan())
    return replace(comparison, folder=folder)


def _compared(comparison: Comparison, output: Output) -> Shares:
    from setvae_cli.training.compare.decided import decided
    from setvae_cli.training.compare.run import run

    view = ComparisonView(output)
    folder = os.path.relpath(comparison.folder.path)
    output.space()
    output.facts([("comparison", folder)])
    with _each_warning_once():
        try:
            run(comparison, view)
        except Terminated as stop:
            output.end_progress()
            output.say("What is finished is kept, and so is a run that was in training.")
            output.say(f"Resume with:  setvae resume {_resumable(comparison)}")
            raise Terminated(stop.number, told=True) from stop
        output.progress("measuring", None, "")
        found = decided(comparison)
    output.end_progress()
    return found


def _resumable(comparison: Comparison) -> str:
    path = comparison.folder.path
    return shown(path.parent if path.name == BESIDE else path)


def _show(comparison: Comparison, found: Shares, output: Output, data: dict[str, Any]) -> None:
    from setvae_cli.cli.deciding_table import plain, table
    from setvae_cli.reports.comparison.write import write

    files = write(comparison.folder.path, found, plain(found))
    said = [("files" if number == 0 else "", shown(path)) for number, path in enumerate(files)]
    lines = [*table(found), *(f"{key:<8}{value}" for key, value in said)]
    output.result(lines, {**data, **plain(found), "files": [str(path) for path in files]})


@contextmanager
def _each_warning_once() -> Iterator[None]:
    """Context in which a warning that every job repeats is said once.

    It may repeat it with other numbers, and with other details in brackets, such as names of codes.
    """
    said: set[str] = set()

    def first(record: logging.LogRecord) -> bool:
        told = re.sub(r"\(.*?\)", "", record.getMessage())
        told = re.sub(r"\d+( \d{3})*(\.\d+)?( \w+)?", lambda it: (it[3] or "").rstrip("s"), told)
        known = told in said
        said.add(told)
        return not known

    handlers = logging.getLogger("setvae_cli").handlers
    for handler in handlers:
        handler.addFilter(first)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(first)
