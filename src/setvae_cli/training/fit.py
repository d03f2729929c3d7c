"""One run from settings and a store to a measured checkpoint.

prepare -> RunStarted -> steps and validations -> Stopped -> best checkpoint on test -> Result
         `-- of a resumed run: from its checkpoint
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.files import check_space
from setvae_cli.monitor.files import LookFiles
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.lock import locked
from setvae_cli.runs.manifest import describe_run, write_manifest
from setvae_cli.runs.settings_file import write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.cache import CACHE
from setvae_cli.store.reader import Store
from setvae_cli.store.vigil import Vigil
from setvae_cli.training.course import computing, run_course
from setvae_cli.training.followers import NOWHERE, Attendant, SilentLog
from setvae_cli.training.header import lasting_settings
from setvae_cli.training.invitation import invitation
from setvae_cli.training.keeper import Keeper, Save
from setvae_cli.training.measuring import Ended, measure_test
from setvae_cli.training.part import Part
from setvae_cli.training.prepared import Prepared, prepare_run
from setvae_cli.training.records import Checked, Result, RunStarted
from setvae_cli.training.resumption import Resumption, is_complete
from setvae_cli.training.scalars import ScalarLog
from setvae_cli.training.starting import counts, told
from setvae_cli.training.tasks import describe_data
from setvae_cli.training.team import Team
from setvae_cli.training.unseen import UNKNOWN

CHECKPOINTS = 5  # the last two, the best two, and one that is being written

Sink = Callable[[object], None]


def fit(
    settings: TrainSettings,
    store: Store,
    sink: Sink,
    resumption: Resumption | None = None,
    team: Team | None = None,
    encoder: SequenceEncoder | None = None,
) -> Result | None:
    """Train, choose on validation, measure on test.

    Args:
        settings: Of the command; of a resumed run those to go on with.
        store: Prepared data.
        sink: Listener of the records in training/records.py; `Result` is returned, not sent.
        resumption: The checkpoint to go on from; None: a run of its own.
        team: The processes that train together; None: this one alone.
        encoder: Of another package, to fine-tune; None: settings say with what a run begins.

    Returns:
        The closing table; None where the run that was to go on is complete.

    Raises:
        InputError: The store cannot carry this run, or the run's folder cannot be made.
        SettingsError: A GPU is asked for and there is none.
        NumericalError: A loss or a gradient is not finite.
        RunError: The disk refuses a write, or another process of the run died.
        Terminated: A signal asked to stop; the run was saved.
    """
    began = time.monotonic()
    run = prepare_run(settings, store, resumption, team or Team(Part()), encoder)
    settings = run.settings
    place = resumption.run.path if resumption else settings.run.output_dir
    check_space(place, CHECKPOINTS * run.checkpoint_bytes, "checkpoints")
    with ExitStack() as stack:
        folder = _begin(run, store, stack)
        if folder is None:
            run.team.tell(None)
            return None
        sink(_started(run, store, folder))
        log = stack.enter_context(
            closing(ScalarLog(folder, resumption.logs if resumption else None))
        )
        vigil = stack.enter_context(Vigil(store, settings.run.output_dir / CACHE))
        stack.enter_context(computing(run.machine))
        stack.callback(run.data.stop_workers)
        run.team.tell(invitation(settings, store, resumption))
        looks = LookFiles(folder.posterior_metrics, resumption.step if resumption else None)
        course = run_course(
            run,
            folder.path,
            log,
            keeper=lambda save: Keeper(
                folder,
                batch_size=run.planned.batch_size,
                keep=settings.run.keep,
                save=_behind(looks, save),
                best=settings.run.save_top_k,
            ),
            check=vigil.check,
            sink=_keeping(looks, sink),
        )
        sink(course.stopped)
        ended = Ended(course.epochs, course.steps, course.stopped.reason, began, course.verdicts)
        return measure_test(run, store, folder, log, vigil.finish, ended)


def fit_along(
    settings: TrainSettings, store: Store, resumption: Resumption | None, team: Team
) -> None:
    """Compute this rank's share of a run that rank 0 writes and speaks of."""
    run = prepare_run(settings, store, resumption, team)
    with ExitStack() as stack:
        stack.enter_context(computing(run.machine))
        stack.callback(run.data.stop_workers)
        run_course(
            run,
            NOWHERE,
            SilentLog(),
            keeper=Attendant,
            check=lambda: None,
            sink=lambda record: None,
        )


def _begin(run: Prepared, store: Store, stack: ExitStack) -> RunFolder | None:
    """Make the run's folder, or take over that of a run that goes on; locked while the stack is.

    Returns:
        The folder; None where nothing is left to do in it.
    """
    if run.resumption is None:
        folder = _open_folder(run, store)
        stack.enter_context(locked(folder))
        return folder
    folder = run.resumption.run
    stack.enter_context(locked(folder))
    folder.sweep()
    if is_complete(run.resumption, run.planned.steps, run.settings.optimizer.patience):
        return None
    return run.resumption.take_over(run.settings)


def _behind(looks: LookFiles, save: Save) -> Save:
    """Save a checkpoint when the looks that it knows of are on the disk."""

    def save_both(path: Path) -> None:
        looks.write()
        save(path)

    return save_both


def _keeping(files: LookFiles, sink: Sink) -> Sink:
    """The listener, behind what keeps looks at the posteriors as files."""

    def keep(record: object) -> None:
        if isinstance(record, Checked):
            files.add(record.step, record.epoch, record.split, record.measures, record.verdicts)
            if record.picture and record.split == "train":  # behind a validation comes a save
                files.write()
        sink(record)

    return keep


def _started(run: Prepared, store: Store, folder: RunFolder) -> RunStarted:
    loader = run.settings.loader
    return RunStarted(
        run=str(folder.path),
        data=describe_data(
            store, run.tasks, run.portion.splits, reads_labels=run.settings.objective.has("joint")
        ),
        model=run.model.description(),
        machine=run.machine.describe(loader.num_workers or 0),
        batches=run.planned.describe(loader.max_elements_per_batch),
        loaded="" if run.loaded is None else told(run.loaded),
        learnt=UNKNOWN if run.elsewhere else "",
    )


def _open_folder(run: Prepared, store: Store) -> RunFolder:
    """Make the run's folder; its settings and circumstances are written before it computes."""
    settings, machine, loaded = run.settings, run.machine, run.loaded
    folder = RunFolder.create(settings.run.output_dir, settings.run.name, settings.run.log_dir)
    write_settings(folder.settings, lasting_settings(settings))
    manifest = describe_run(
        data_digest=store.digest,
        seed=settings.run.seed,
        device=machine.name,
        precision=machine.precision,
        threads=machine.threads,
        started_from=None if loaded is None else counts(loaded),
    )
    write_manifest(folder.manifest, manifest)
    return folder
