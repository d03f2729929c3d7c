"""The three splits as loaders that can stop in the middle of an epoch and go on exactly there."""

from __future__ import annotations

import atexit
import logging
import weakref
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.gather import Truncate
from setvae_cli.data.sampler import EpochSampler, check_ranks
from setvae_cli.data.signals import follow_parent, signals_wait
from setvae_cli.data.slices import SliceRule
from setvae_cli.data.views import Cuts
from setvae_cli.errors import InputError
from setvae_cli.numbers import counted
from setvae_cli.settings.run import LoaderSettings
from setvae_cli.store.format import SPLITS
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary

EVALUATED = 8  # times larger batches: a pass without gradients keeps nothing for a way back

_log = logging.getLogger(__name__)


class EpochLoader(DataLoader[SetBatch]):
    """A loader that owns its epoch: iterating goes on where it was, then to the next epoch.

    Its length is always that of a whole epoch. The state that is saved names the batch that comes
    next, so that a training step and the state saved after it fit together.

    Attributes:
        epoch: The epoch of the next batch.
        position: The number of the next batch in it.
        counted: The epoch whose batches `len` counts; None: that of the next batch.
    """

    def __init__(
        self,
        dataset: SetDataset,
        batches: EpochSampler,
        *,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        """Args:
        dataset: Gathers a batch for a request.
        batches: The requests.
        num_workers: Processes; they share the pages of the store.
        pin_memory: Copy batches to page-locked memory.
        """
        self._batches = batches
        self.epoch = self.position = 0
        self.counted: int | None = None
        super().__init__(
            dataset,
            sampler=batches,
            batch_size=None,
            num_workers=num_workers,
            pin_memory=pin_memory,
            prefetch_factor=2 if num_workers else None,
            persistent_workers=num_workers > 0,
            worker_init_fn=follow_parent if num_workers else None,
            generator=torch.Generator().manual_seed(0),  # else it draws from the global one
        )

    def __len__(self) -> int:
        return self.batches(self._next()[0] if self.counted is None else self.counted)

    def __iter__(self) -> Iterator[SetBatch]:  # type: ignore[override]
        self.epoch, self.position = self._next()
        self._batches.epoch, self._batches.start = self.epoch, self.position
        for batch in self._fetched():
            self.position += 1
            yield batch

    def _fetched(self) -> Iterator[SetBatch]:
        """Batches of workers; without them straight from the dataset.

        The base class would take 50 us for each, a fifth of what gathering eight subjects takes.
        """
        if self.num_workers and self._iterator is None:
            _with_workers.add(self)
            with signals_wait():
                return super().__iter__()
        if self.num_workers or self.pin_memory:
            return super().__iter__()
        return map(self.dataset.__getitem__, self._batches)

    def stop_workers(self) -> None:
        """End the processes that it has; to iterate again starts others."""
        iterator, self._iterator = self._iterator, None
        if iterator is not None:
            with signals_wait():
                iterator._shutdown_workers()  # type: ignore[attr-defined]  # has no public name

    def state_dict(self) -> dict[str, int]:
        """Epoch and number of the batch that comes next."""
        epoch, position = self._next()
        return {"epoch": epoch, "position": position}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on where `state_dict` was taken."""
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    def batches(self, epoch: int) -> int:
        """Batches of an epoch."""
        return self._batches.batches(epoch)

    def subjects(self, epoch: int) -> NDArray[np.int64]:
        """Subjects of each micro-batch of an epoch, of all ranks."""
        return self._batches.cut(epoch).subjects

    def ends(self, epoch: int) -> NDArray[np.int64]:
        """Subjects up to the end of each global batch of an epoch."""
        return self._batches.ends(epoch)

    def _next(self) -> tuple[int, int]:
        if self.position >= self.batches(self.epoch):
            return self.epoch + 1, 0
        return self.epoch, self.position


class SetDataModule(pl.LightningDataModule):
    """Training, validation and test rows of a store, standardised for one model.

    Attributes:
        train, validation, test: The datasets.
        views: Validation and test cut for a forecast, the same way each time; empty without.
        slices: Validation and test as slices, the same ones each time; empty without.
    """

    def __init__(
        self,
        store: Store,
        vocabulary: Vocabulary,
        settings: LoaderSettings,
        *,
        tasks: tuple[str, ...],
        seed: int,
        hide_rate: float = 0.0,
        plan_sets: bool = False,
        limit_val_batches: float = 1.0,
        splits: Mapping[str, NDArray[np.int64]] | None = None,
        rank: int = 0,
        world: int = 1,
        cuts: Cuts | None = None,
        slicing: SliceRule | None = None,
    ) -> None:
        """Args:
        store: Where the events are.
        vocabulary: The model's.
        settings: How subjects become batches.
        tasks: Labels that are trained on; none: prediction is off.
        seed: Of order, truncation, hiding, and of the validation subset.
        hide_rate: Largest share of a training subject's elements hidden.
        plan_sets: Whether the model attends inside sets.
        limit_val_batches: Share of the validation split: the same subset always.
        splits: Row numbers of other splits than the store's (of a fold).
        rank, world: This process, and how many there are.
        cuts: Where subjects are cut, for a forecast; None: they are seen whole.
        slicing: How subjects are sliced, for a contrastive loss; None: they are not.

        Raises:
            InputError: Training or validation is empty, or training has one class only.
        """
        super().__init__()
        rows = {name: store.split(name) for name in SPLITS} if splits is None else dict(splits)
        rows["validation"] = validated_rows(rows["validation"], limit_val_batches, seed)
        for name in ("train", "validation"):
            if not len(rows[name]):
                raise InputError(f"the {name} split is empty", where=str(store.path))
            check_ranks(len(rows[name]), world, f" of the {name} split")

        def dataset(name: str, hide: float, cuts: Cuts | None) -> SetDataset:
            return SetDataset(
                store,
                vocabulary,
                rows[name],
                tasks=tasks,
                max_sequence_length=settings.max_sequence_length,
                truncate=truncate if name == "train" else still,
                seed=seed,
                hide_rate=hide,
                plan_sets=plan_sets,
                cuts=cuts,
                slicing=slicing if name == "train" else None,
            )

        truncate = settings.truncate
        still: Truncate = "latest" if truncate == "random" else truncate  # evaluation draws nothing
        self.train, self.validation, self.test = (
            dataset(name, *((hide_rate, cuts) if name == "train" else (0.0, None)))
            for name in SPLITS
        )
        self.views: dict[str, SetDataset] = {}
        self.slices: dict[str, SetDataset] = {}
        still_ones = {"validation": self.validation, "test": self.test}
        if cuts is not None:
            self.views = {name: one.fixed_views(self.train) for name, one in still_ones.items()}
        if slicing is not None:
            self.slices = {name: one.fixed_slices(self.train) for name, one in still_ones.items()}
        check_classes(self.train.labels, self.validation.labels, tasks)
        self._loaders: list[EpochLoader] = []
        self._still_loaders: dict[str, EpochLoader] = {}
        self._settings, self._seed, self._ranks = settings, seed, (rank, world)
        self._say_what_batches_are()

    def train_dataloader(self) -> EpochLoader:
        """Batches in the order f(seed, epoch); the same loader each time, where it stands.

        A trainer asks for the length of its own epoch: after the last batch of an epoch, and on a
        resume from there, that is not the epoch of the next batch.
        """
        if self.trainer is not None:
            self._train_loader.counted = self.trainer.current_epoch
        return self._train_loader

    def val_dataloader(self) -> EpochLoader:
        """Batches in the order of the rows; the same loader each time, from the beginning."""
        self._validation_loader.load_state_dict({"epoch": 0, "position": 0})
        return self._validation_loader

    def test_dataloader(self) -> EpochLoader:
        """Batches in the order of the rows, all of them on every rank that asks."""
        return self._loader(self.test, shuffle=False, ranks=(0, 1))

    def evaluated(self, name: Literal["validation", "test"], *, whole: bool) -> Iterator[SetBatch]:
        """Batches of a pass over validation (of this rank) or test (all of it).

        Args:
            name: Of the split.
            whole: Whether whole subjects are wanted; behind them come views, if there are cuts, and
                slices, if there are any.
        """
        if whole:
            yield from self.val_dataloader() if name == "validation" else self.test_dataloader()
        if name in self.views:
            yield from self._still_loader(name, "views", self.views[name])
        if name in self.slices:
            yield from self._still_loader(name, "slices", self.slices[name])

    def _still_loader(self, name: str, what: str, dataset: SetDataset) -> EpochLoader:
        key = f"{what} of {name}"
        if key not in self._still_loaders:
            ranks = (0, 1) if name == "test" else None
            self._still_loaders[key] = self._loader(dataset, shuffle=False, ranks=ranks)
        self._still_loaders[key].load_state_dict({"epoch": 0, "position": 0})
        return self._still_loaders[key]

    @cached_property
    def _train_loader(self) -> EpochLoader:
        return self._loader(self.train, shuffle=True)

    @cached_property
    def _validation_loader(self) -> EpochLoader:
        return self._loader(self.validation, shuffle=False)

    def _say_what_batches_are(self) -> None:
        """Count what no batch can hold, or say that one holds everything."""
        budget, settings = self._settings.max_elements_per_batch, self._settings
        if budget is None:
            if len(self.train) < settings.batch_size:
                _log.warning("a batch is larger than the training split of %d", len(self.train))
            return
        sizes = [split.n_elements for split in (self.train, self.validation, self.test)]
        large = sum(int((size > budget).sum()) for size in sizes)
        if large:
            _log.warning(
                "%s with more than %s: a batch of its own each; lower "
                "--max-sequence-length to keep to --max-elements-per-batch",
                counted(large, "subject"),
                counted(budget, "element"),
            )
        if sizes[0].sum() <= budget:
            _log.warning("a batch holds the whole training split of %d", len(self.train))

    def stop_workers(self) -> None:
        """End the processes of all loaders; to iterate one again starts others.

        Left to the garbage collector, each would be waited for ten seconds: it takes away the
        queue that tells it to end.
        """
        for loader in self._loaders:
            loader.stop_workers()

    def subjects_before(
        self, settings: LoaderSettings, epoch: int, batches: int, *, world: int = 1
    ) -> int:
        """Subjects of the first global batches of an epoch that other settings and ranks cut."""
        cut = self._sampler(self.train, settings, shuffle=True, ranks=(0, world))
        return int(cut.ends(epoch)[batches - 1]) if batches else 0

    def _loader(
        self, dataset: SetDataset, *, shuffle: bool, ranks: tuple[int, int] | None = None
    ) -> EpochLoader:
        settings = self._settings
        batches = self._sampler(dataset, settings, shuffle=shuffle, ranks=ranks or self._ranks)
        pin = torch.cuda.is_available() if settings.pin_memory is None else settings.pin_memory
        workers = settings.num_workers or 0
        loader = EpochLoader(dataset, batches, num_workers=workers, pin_memory=pin)
        self._loaders.append(loader)
        return loader

    def _sampler(
        self,
        dataset: SetDataset,
        settings: LoaderSettings,
        *,
        shuffle: bool,
        ranks: tuple[int, int],
    ) -> EpochSampler:
        # Slices are compared inside a batch, which is to be as large as those of training.
        larger = 1 if shuffle or dataset.sliced else EVALUATED
        return EpochSampler(
            dataset.n_elements,
            dataset.labels >= 0,
            larger * settings.batch_size,
            settings.gradient_accumulation_steps if shuffle else 1,
            max_elements=settings.max_elements_per_batch,
            seed=self._seed,
            shuffle=shuffle,
            batching=settings.batching,
            rank=ranks[0],
            world=ranks[1],
            counts=dataset.is_whole if shuffle and self.views else None,
        )


def check_classes(
    train: NDArray[np.int64], validation: NDArray[np.int64], tasks: tuple[str, ...]
) -> None:
    """Make sure that each task can be learned from the training labels [items, tasks].

    Raises:
        InputError: A task has fewer than two classes in training.
    """
    for i, task in enumerate(tasks):
        classes = [len(np.unique(labels[labels[:, i] >= 0, i])) for labels in (train, validation)]
        if classes[0] < 2:
            raise InputError(
                f"the label {task} has 1 class in training, expected at least 2",
                mend="give other labels, or switch prediction off with --pred-weight 0",
            )
        if classes[1] < 2:
            _log.warning(
                "the label %s has %s class in validation: its AUROC is not defined there",
                task,
                "one" if classes[1] else "no",
            )


def validated_rows(rows: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """The share of the validation rows that every validation sees, ascending."""
    if share >= 1 or not len(rows):
        return rows
    count = max(1, round(share * len(rows)))
    generator = np.random.Generator(np.random.Philox([seed, 0x5E7]))
    return np.sort(generator.permutation(rows)[:count])


_with_workers: weakref.WeakSet[EpochLoader] = weakref.WeakSet()


@atexit.register
def _stop_workers() -> None:
    """Stop workers before multiprocessing waits for them: they ignore the signal it sends."""
    for loader in list(_with_workers):
        loader.stop_workers()
