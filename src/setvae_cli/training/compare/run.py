"""The jobs of a comparison, one after another; what is done already is not done again."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.opening import open_encoder
from setvae_cli.errors import DataError, InputError
from setvae_cli.evaluation.baselines import fit_linear, fit_trees
from setvae_cli.evaluation.predict import predict
from setvae_cli.files import atomic_write, make_folder
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.folder import RunFolder, latest
from setvae_cli.runs.lock import locked
from setvae_cli.runs.model import LoadedModel, rebuild
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.vocabulary import Vocabulary
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import Predicted
from setvae_cli.training.compare.jobs import Job, Place
from setvae_cli.training.compare.material import Material, Rows, lacking, learns_several
from setvae_cli.training.compare.times import Left, Times
from setvae_cli.training.fit import fit
from setvae_cli.training.machine import resolve
from setvae_cli.training.part import Part
from setvae_cli.training.prepared import prepare_run
from setvae_cli.training.resumption import prepare
from setvae_cli.training.team import Team

Sink = Callable[[object], None]
BATCH = 64  # subjects that are predicted at once


@dataclass(frozen=True)
class JobStarted:
    """A job begins.

    Attributes:
        job: Which.
        number: Its number, from 1.
        jobs: How many there are.
        left: What is left of the comparison; None where that is not known.
    """

    job: Job
    number: int
    jobs: int
    left: Left | None = None


def check_rows(comparison: Comparison) -> None:
    """Make sure that there is something to compare on.

    Raises:
        InputError: There cannot be these folds, or labels are missing.
    """
    place = comparison.extent.places[0]
    Material(comparison).rows(place)
    why = lacking(comparison.tuned(Job("finetuned", place), None), comparison.store)
    if why is not None and comparison.extent.folds is None:
        mend = "label more of them, or compare over --folds, which deal out who has a label"
        raise InputError(why, where=str(comparison.store.path), mend=mend)


def run(comparison: Comparison, sink: Sink) -> None:
    """Do every job that is not done.

    Args:
        comparison: What is compared.
        sink: Told of `JobStarted`, and what training says.

    Raises:
        InputError: The folder is of another comparison, or another process works in it.
        Terminated: A signal asked to stop; a run in training was saved.
    """
    jobs = comparison.extent.jobs()
    check_rows(comparison)
    make_folder(comparison.folder.path)
    with locked(comparison.folder.lock):
        comparison.folder.pin(comparison.plan())
        worker, times = _Worker(comparison, sink), Times(comparison.folder.times)
        waiting = [job for job in jobs if not comparison.folder.done(job)]
        for place, job in enumerate(waiting):
            left = times.left(waiting[place:])
            sink(JobStarted(job, jobs.index(job) + 1, len(jobs), left))
            begun = time.monotonic()
            if worker.do(job):
                times.add(job, time.monotonic() - begun)
            gc.collect()  # a trainer is a cycle that holds its data: a GB after fifty of them


class _Worker:
    """Does one job after another."""

    def __init__(self, comparison: Comparison, sink: Sink) -> None:
        self._comparison, self._sink = comparison, sink
        self._material = Material(comparison)
        self._store, self._folder = comparison.store, comparison.folder
        self._whole = True

    def do(self, job: Job) -> bool:
        """Do a job and keep what comes of it.

        Returns:
            Whether all of it was computed now, so that it tells how long such a job takes.
        """
        self._whole = True
        match job.kind:
            case "pretrained":
                best = self._trained(job, self._comparison.pretraining(job))
                kept = {"best": str(best.relative_to(self._folder.file(job).parent))}
                atomic_write(self._folder.file(job), json.dumps(kept) + "\n")
            case "embedded":
                self._embed(job)
            case "finetuned" | "scratch":
                self._folder.write(job, self._network(job))
                _prune(self._run_of(job))
            case _:
                with self._threads():
                    self._folder.write(job, self._baseline(job))
        return self._whole

    def _threads(self) -> AbstractContextManager[object]:
        """As many threads as the network has: more would wait for one another on few cores."""
        from threadpoolctl import threadpool_limits

        settings = self._comparison.settings
        found: AbstractContextManager[object] = threadpool_limits(
            resolve(settings.run, settings.model.dim).threads
        )
        return found

    def _baseline(self, job: Job) -> Predicted:
        if job.kind == "summary_trees":
            features: NDArray[np.float32] = self._material.summaries(job.place)
            return self._material.fitted(job.place, features, fit_trees)
        if job.kind == "untrained":
            rows, embedding = self._embeddings(self._comparison.scratch(job), job.place)
        else:
            rows, embedding = self._folder.read_embeddings(self._sibling("embedded", job.place))
        features = np.full((len(self._store), embedding.shape[1]), np.nan, np.float32)
        features[rows] = embedding
        method = fit_trees if job.kind == "embedding_trees" else fit_linear
        return self._material.fitted(job.place, features, method)

    def _network(self, job: Job) -> Predicted:
        """Train one, and ask it about the place."""
        comparison = self._comparison
        if job.kind == "scratch":
            settings = comparison.scratch(job)
        else:
            settings = comparison.tuned(job, self._pretrained(job.place))
        if (best := self._of_main(job)) is not None:
            self._whole = False
        return self._said(best or self._trained(job, settings), settings, job.place)

    def _of_main(self, job: Job) -> Path | None:
        """The fine-tuned run itself, where the job would train it once more; else None.

        One that learnt several labels is another network than those that it would stand beside.
        """
        comparison = self._comparison
        is_first = job.kind == "finetuned" and job.seed == 0
        same = is_first and job.place.share == max(comparison.extent.shares)
        return comparison.main if same and not learns_several(comparison) else None

    def _said(self, checkpoint: Path, settings: TrainSettings, place: Place) -> Predicted:
        content = read(checkpoint)
        encoder = self._encoder(Vocabulary.from_plain(content.header.vocabulary))
        loaded = rebuild(content.header, content.weights(), checkpoint, encoder)
        rows = self._material.rows(place)
        logits, _ = self._asked(loaded, settings, rows.judged)
        header = loaded.header
        number = header.tasks.index(self._comparison.label)
        widths = [1 if classes == 2 else classes for classes in header.classes]
        first = sum(widths[:number])
        return rows.predicted(logits[:, first : first + widths[number]])

    def _embed(self, job: Job) -> None:
        """Embeddings as the fine-tuned network has them before its first step."""
        settings = self._comparison.tuned(job, self._pretrained(job.place))
        self._folder.write_embeddings(job, *self._embeddings(settings, job.place))

    def _embeddings(
        self, settings: TrainSettings, place: Place
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """All labelled rows of a place, and their embeddings by a network before its first step."""
        everyone = _together(self._material.rows(place))
        run = prepare_run(settings, self._store, None, Team(Part()))
        loaded = LoadedModel(run.model.eval(), run.settings, run.portion.vocabulary, run.header)
        _, embedding = self._asked(loaded, settings, everyone)
        return everyone, embedding.astype(np.float32)

    def _asked(
        self, loaded: LoadedModel, settings: TrainSettings, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
        """Logits and embeddings of rows, in their order."""
        machine = resolve(settings.run, settings.model.dim)
        loaded.model.to(machine.device)
        with machine.computing():
            found = predict(loaded, self._store, rows, batch_size=BATCH)
        place = np.searchsorted(found.rows, rows)
        return found.logits[place], found.embedding[place]

    def _trained(self, job: Job, settings: TrainSettings) -> Path:
        """The best checkpoint of a run, which goes on where it was interrupted."""
        begun = latest(self._folder.runs, job.key)
        resumption = None
        if begun is not None and begun.all_checkpoints():
            encoder = self._comparison.settings.tuning.encoder
            given = {"encoder": encoder, "data": self._comparison.settings.data}
            given = {name: value for name, value in given.items() if value is not None}
            resumption = prepare(begun.path, given)
            self._whole = False
        used = settings if resumption is None else resumption.settings
        fit(used, self._store, self._sink, resumption)
        return self._run_of(job).best_or_last()

    def _run_of(self, job: Job) -> RunFolder:
        found = latest(self._folder.runs, job.key)
        return found or RunFolder(self._folder.runs / job.key / "version_0")

    def _pretrained(self, place: Place) -> Path | None:
        """What was pre-trained for a place; None: the checkpoint serves all."""
        if not self._comparison.extent.pretrains:
            return None
        done = self._folder.file(self._sibling("pretrained", place))
        try:
            best: str = json.loads(done.read_text(encoding="utf-8"))["best"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            mend = "remove it, and it is trained again"
            raise DataError("is damaged", where=str(done), mend=mend) from error
        return done.parent / best

    def _sibling(self, kind: str, place: Place) -> Job:
        """The job that serves a place."""
        shared = self._comparison.extent.shared(place)
        return Job("pretrained" if kind == "pretrained" else "embedded", shared)

    def _encoder(self, vocabulary: Vocabulary) -> SequenceEncoder | None:
        tuning, codes = self._comparison.settings.tuning, len(vocabulary.codes)
        name = tuning.encoder
        return None if name is None else open_encoder(name, codes=codes, pool=tuning.pool)


def _prune(run: RunFolder) -> None:
    """Leave the best checkpoint only: a comparison has hundreds of runs."""
    if not run.checkpoints.is_dir():
        return
    best = run.best_or_last()
    for path in run.all_checkpoints():
        if path != best:
            path.unlink(missing_ok=True)


def _together(rows: Rows) -> NDArray[np.int64]:
    return np.unique(np.concatenate((rows.train, rows.judged)))
