"""One deterministic pass over a split of a store, for what reports draw of latents.

rows -> batches -> model -> sets kept, subjects, errors a code, thorough measures; then the series
of a few subjects. Only the kept sets grow with the split, and these have a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.gather import by_shard
from setvae_cli.data.portion import split_rows
from setvae_cli.data.sampler import EpochSampler
from setvae_cli.errors import InputError
from setvae_cli.evaluation.code_errors import CodeErrors
from setvae_cli.evaluation.kept_sets import KeptSets
from setvae_cli.evaluation.latents import Latents, SubjectLatents, SubjectSeries
from setvae_cli.evaluation.series import series_of, spread_over
from setvae_cli.evaluation.severity import severity
from setvae_cli.evaluation.sweep import placed
from setvae_cli.losses.reconstruction import recon_by_set
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.seq_set_vae import Output
from setvae_cli.runs.model import LoadedModel
from setvae_cli.store.reader import Store

SERIES = 4  # subjects whose time series are drawn where none is named

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class Asked:
    """What to look at.

    Attributes:
        split: train, validation or test.
        batch_size: Subjects at once.
        max_batches: Look at so many batches of subjects only, a random choice; None: at all.
        rows: Row numbers of the subjects whose time series are wanted, of any split; none: four
            that are spread over the predicted risk.
        values: Whether there are time series, which show values of subjects.
        seed: Of the choice of subjects.
    """

    split: str = "validation"
    batch_size: int = 32
    max_batches: int | None = None
    rows: tuple[int, ...] = ()
    values: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Origin:
    """Where a model comes from, for footers.

    Attributes:
        run, checkpoint: Names.
        step: Optimizer steps of the checkpoint.
        begun: Date of the run, YYYY-MM-DD; empty where unknown.
    """

    run: str
    checkpoint: str
    step: int
    begun: str


def collect(
    loaded: LoadedModel, store: Store, asked: Asked, origin: Origin, *, progress: Progress
) -> Latents:
    """Look at the latents of a split; the model computes where its weights are.

    Args:
        loaded: The model.
        store: Events; of another vocabulary, codes are matched by name.
        asked: What to look at.
        origin: Where the model comes from.
        progress: Told what is being done, and the share of it that is done.

    Raises:
        InputError: The split is empty, a row is not there, the model knows too little of it, or
            gives latents that are not finite.
    """
    check_rows(store, asked.rows)
    same = store.digest == loaded.header.data_digest
    whole = split_rows(loaded.settings, store, asked.split) if same else store.split(asked.split)
    if not len(whole):
        mend = "name another with --split"
        raise InputError(f"the {asked.split} split is empty", where=str(store.path), mend=mend)
    task = first_task(loaded, store)
    look = Pass(loaded, store)
    dataset = look.dataset(_some(whole, asked))
    if not len(dataset):
        what = f"the model knows no event of the {asked.split} split"
        raise InputError(what, where=str(store.path), mend="name other data")
    doing = f"reading the {asked.split} split"
    with torch.no_grad():
        for done, batch in look.batches(dataset, asked.batch_size):
            if not look.add(batch):
                what = "the model gives latents that are not finite numbers"
                mend = "take an earlier checkpoint"
                raise InputError(what, where=origin.checkpoint, mend=mend)
            progress(doing, done)
        progress("measuring", None)
        measures = look.metrics.result()
        assert measures is not None, "a batch has a set"
        subjects = look.subjects(task)
        rows = (asked.rows or _spread(subjects, store)) if asked.values else ()
        series = look.series(np.array(rows, dtype=np.int64), task)
    return Latents(
        sets=look.kept.finish(),
        subjects=subjects,
        errors=look.errors.finish(),
        series=series,
        measures=measures,
        task=task,
        split=asked.split,
        subjects_in_split=len(whole),
        shows_values=asked.values,
        run=origin.run,
        checkpoint=origin.checkpoint,
        step=origin.step,
        begun=origin.begun,
        sets_seen=look.kept.seen,
        mean_recon=look.kept.recon / look.kept.seen,
        recon_unit="nats" if isinstance(loaded.vae.decoder, QueryDecoder) else "distance",
        keeps_elbo=loaded.settings.objective.has("elbo"),
    )


class Pass:
    """What grows batch by batch.

    Args:
        loaded: The model.
        store: Events.
    """

    def __init__(self, loaded: LoadedModel, store: Store) -> None:
        self._loaded, self._store, model = loaded, store, loaded.vae
        latent, levels = model.latents.latent_dim, len(model.latents.posterior)
        dim = model.history.norm.normalized_shape[0]
        self.kept = KeptSets(5 * latent * levels + dim)
        self.errors = CodeErrors(model, loaded.vocabulary)
        self.metrics = Metrics.of(model, free_bits=loaded.settings.objective.free_bits)
        self._columns: list[tuple[Tensor, Tensor, Tensor]] = []

    def dataset(self, rows: NDArray[np.int64]) -> SetDataset:
        """Rows as this model sees them in validation.

        Raises:
            InputError: The model knows too few of their events.
        """
        loader = self._loaded.settings.loader
        return SetDataset(
            self._store,
            self._loaded.vocabulary,
            rows,
            max_sequence_length=loader.max_sequence_length,
            truncate="latest" if loader.truncate == "random" else loader.truncate,
            plan_sets=self._loaded.vae.needs_set_plan,
        )

    def batches(self, dataset: SetDataset, size: int) -> Iterator[tuple[float, SetBatch]]:
        """Batches in the order of the rows, and the share of subjects done with each."""
        requests = EpochSampler(
            dataset.n_elements, dataset.labels >= 0, size, seed=0, shuffle=False
        )
        done = 0
        for request in requests:
            done += len(request.rows)
            yield done / len(dataset), placed(dataset.batch(request), self._loaded.vae)

    def add(self, batch: SetBatch) -> bool:
        """Look at a batch; False, and nothing is kept, where latents are not finite."""
        model = self._loaded.vae
        output = model(batch)
        latents = [output.history, *(q.mean + q.logvar for q in output.posteriors)]
        if not all(bool(each.isfinite().all()) for each in latents):
            return False
        recon = recon_by_set(model.decoder, output.decoded, output.elements, batch)
        self.kept.add(batch, output, recon, self.hours(batch))
        self.errors.add(model, batch, output)
        self.metrics.update(model, batch, output)
        self._columns.append((batch.rows.cpu(), self._risk(output).cpu(), output.embedding.cpu()))
        return True

    def hours(self, batch: SetBatch) -> Tensor:
        """Hours of each set since the first set of its subject in the store; NaN for voxels."""
        if batch.positions.shape[1] != 1:
            return torch.full_like(batch.positions[:, 0], torch.nan)
        first = torch.from_numpy(first_minutes(self._store, batch.rows.cpu().numpy()))
        first = first.to(batch.positions.device).index_select(0, batch.plan.set_subject)
        return (batch.positions[:, 0].double() - first) / 60

    def subjects(self, task: str) -> SubjectLatents:
        """All subjects that were looked at."""
        row, risk, embedding = (
            torch.cat(column).numpy() for column in zip(*self._columns, strict=True)
        )
        risk = risk.astype(np.float32)
        known, name = severity(self._store, row, risk)
        label = labels_of(self._store, task)[row]
        return SubjectLatents(row, label, risk, known, name, embedding.astype(np.float32))

    def series(self, rows: NDArray[np.int64], task: str) -> tuple[SubjectSeries, ...]:
        """Time series of some rows, in the order of their numbers."""
        if not len(rows):
            return ()
        dataset, model = self.dataset(rows), self._loaded.vae
        found: list[SubjectSeries] = []
        for _, batch in self.batches(dataset, len(rows)):
            output, label = model(batch), labels_of(self._store, task)[batch.rows.cpu().numpy()]
            found += series_of(
                model,
                self._loaded.vocabulary,
                batch,
                output,
                self.hours(batch),
                label=label,
            )
        return tuple(found)

    def _risk(self, output: Output) -> Tensor:
        """Probability of class 1 of the first task, or of the most probable of several classes."""
        logits, classes = output.logits.double(), self._loaded.header.classes
        if not classes:
            return torch.full((len(logits),), torch.nan, dtype=torch.float64)
        if classes[0] == 2:
            return logits[:, 0].sigmoid()
        return logits[:, : classes[0]].softmax(-1).amax(-1)


def first_task(loaded: LoadedModel, store: Store) -> str:
    """The label that subjects are told apart by: the model's first, else the store's; or none."""
    names = (*loaded.header.tasks, *(() if loaded.header.tasks else store.tasks))
    return names[0] if names else ""


def labels_of(store: Store, task: str) -> NDArray[np.int64]:
    """Class of every row, -1 where missing or where the store has no such label."""
    if task not in store.tasks:
        return np.full(len(store), -1, dtype=np.int64)
    return store.labels[:, store.tasks.index(task)]


def first_minutes(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Minute of the first set of each row."""
    found = np.zeros(len(rows))
    for number, mine in by_shard(store.columns.shard[rows]):
        shard = store.shard(number)
        first = shard.row_offsets[store.columns.row_in_shard[rows[mine]]]
        found[mine] = shard.positions.reshape(len(shard.positions), -1)[first, 0]
    return found


def check_rows(store: Store, rows: tuple[int, ...]) -> None:
    """Make sure that rows of these numbers are there.

    Raises:
        InputError: One is not.
    """
    wrong = [row for row in rows if not 0 <= row < len(store)]
    if wrong:
        what = f"there is no row {wrong[0]}: rows are numbered from 0 to {len(store) - 1}"
        raise InputError(what, where=str(store.path), mend="name others with --sample-idx")


def _some(rows: NDArray[np.int64], asked: Asked) -> NDArray[np.int64]:
    """The rows of so many batches: a random choice, as the first ids may be of one time or ward."""
    most = None if asked.max_batches is None else asked.max_batches * asked.batch_size
    if most is None or len(rows) <= most:
        return rows
    generator = np.random.Generator(np.random.Philox([asked.seed, 0x1A7]))
    return np.sort(generator.permutation(rows)[:most])


def _spread(subjects: SubjectLatents, store: Store) -> list[int]:
    n_sets = store.columns.n_sets[subjects.row]
    return [int(subjects.row[place]) for place in spread_over(subjects.risk, n_sets, SERIES)]
