"""Which subjects make which batch: a pure function of seed and epoch, sliced by rank.

order  = f(seed, epoch)                     all subjects, on every rank the same
cuts   = ends of consecutive pieces of it: a fixed number of subjects each, or as many whole
         subjects as fit a budget of elements
global batch b = the next `world` pieces; rank r takes piece r of each
a step is `accumulation` global batches
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from setvae_cli.errors import InputError

POOL_BATCHES = 32  # batches that are sorted by length together

Array = NDArray[Any]


@dataclass(frozen=True)
class BatchRequest:
    """What a dataset needs to gather one micro-batch of one rank.

    Attributes:
        rows: Positions in the dataset, int64 [subjects].
        epoch: Epoch.
        batch: Number of the global batch in its epoch.
        places: Place of each subject in the global batch, int64 [subjects].
        step_subjects: Subjects of the whole optimizer step, over ranks and micro-batches.
        step_labelled: Labelled subjects of the whole step, one number a task.
    """

    rows: NDArray[np.int64]
    epoch: int
    batch: int
    places: NDArray[np.int64]
    step_subjects: int
    step_labelled: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """An epoch cut into micro-batches.

    Attributes:
        order: All positions, int64 [items].
        ends: Where micro-batches begin, and the end, int64 [global batches x ranks + 1].
    """

    order: NDArray[np.int64]
    ends: NDArray[np.int64]

    @property
    def subjects(self) -> NDArray[np.int64]:
        """Subjects of each micro-batch of all ranks."""
        return np.diff(self.ends)


class EpochSampler(Sampler[BatchRequest]):
    """The batches of one rank, epoch by epoch.

    Attributes:
        epoch: The epoch that the next iteration yields.
        start: The batch that the next iteration begins with.
    """

    def __init__(
        self,
        n_elements: Array,
        labelled: NDArray[np.bool_],
        batch_size: int,
        accumulation: int = 1,
        *,
        max_elements: int | None = None,
        seed: int,
        shuffle: bool = True,
        batching: Literal["shuffle", "length"] = "shuffle",
        rank: int = 0,
        world: int = 1,
        counts: Callable[[int, int, Array], NDArray[np.bool_]] | None = None,
    ) -> None:
        """Args:
        n_elements: Elements of each item, for budgets and for batches of similar length.
        labelled: Whether each item has each label [items, tasks].
        batch_size: Subjects a micro-batch and rank.
        accumulation: Global batches a step.
        max_elements: Elements a micro-batch and rank; then `batch_size` decides nothing. A
            subject with more is a batch of its own.
        seed: With the epoch it fixes the order.
        shuffle: False keeps the order of the dataset.
        batching: Plain shuffling, or batches of similar length in random order.
        rank, world: This process, and how many there are.
        counts: Of an epoch, a global batch and places in it: whose labels count; None: all.

        Raises:
            InputError: There are fewer subjects than ranks.
        """
        check_ranks(len(n_elements), world)
        self.epoch = self.start = 0
        self._n_elements, self._labelled = np.asarray(n_elements), np.asarray(labelled)
        self._batch_size, self._accumulation = batch_size, accumulation
        self._max_elements = max_elements
        self._seed, self._shuffle, self._batching = seed, shuffle, batching
        self._rank, self._world, self._counts = rank, world, counts
        self._cut: tuple[int, Cut] | None = None
        self._batches: dict[int, int] = {}

    def __len__(self) -> int:
        return self.batches(self.epoch)

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch, cut = self.epoch, self.cut(self.epoch)
        order, bounds = cut.order, cut.ends[:: self._world]
        last = len(bounds) - 1
        for batch in range(self.start, last):
            begin, end = cut.ends[batch * self._world + self._rank :][:2]
            step = batch - batch % self._accumulation
            whole = order[bounds[step] : bounds[min(step + self._accumulation, last)]]
            yield BatchRequest(
                rows=order[begin:end],
                epoch=epoch,
                batch=batch,
                places=np.arange(begin, end) - bounds[batch],
                step_subjects=len(whole),
                step_labelled=self._labels_of(epoch, step, bounds, whole),
            )

    def _labels_of(self, epoch: int, step: int, bounds: Array, whole: Array) -> tuple[int, ...]:
        """How many labels of a step count; it begins with a global batch and holds subjects."""
        labelled = self._labelled[whole]
        if self._counts is not None and labelled.shape[1]:
            ends = bounds[step : step + self._accumulation + 1]
            sizes = np.diff(ends).tolist()
            places = [self._counts(epoch, step + i, np.arange(n)) for i, n in enumerate(sizes)]
            labelled = labelled[np.concatenate(places)]
        return tuple(labelled.sum(0).tolist())

    def batches(self, epoch: int) -> int:
        """Global batches of an epoch; under a budget they differ from epoch to epoch."""
        if self._max_elements is None:
            return (len(self._fixed_ends) - 1) // self._world
        if epoch not in self._batches:
            self._batches[epoch] = (len(self.cut(epoch).ends) - 1) // self._world
        return self._batches[epoch]

    def ends(self, epoch: int) -> NDArray[np.int64]:
        """Subjects up to the end of each global batch of an epoch."""
        return self.cut(epoch).ends[self._world :: self._world]

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All positions, in the order of an epoch."""
        return self.cut(epoch).order

    def cut(self, epoch: int) -> Cut:
        """An epoch's order and its batches; the one that was asked for last is kept."""
        if self._cut is None or self._cut[0] != epoch:
            self._cut = epoch, self._make_cut(epoch)
        return self._cut[1]

    def _make_cut(self, epoch: int) -> Cut:
        items = np.arange(len(self._n_elements))
        generator = np.random.Generator(np.random.Philox([self._seed, epoch]))
        if self._shuffle:
            items = generator.permutation(items)
        by_length = self._shuffle and self._batching == "length"
        if self._max_elements is None:
            order = self._fixed_by_length(items, generator) if by_length else items
            return Cut(order, self._fixed_ends)
        if by_length:
            items = self._sorted_in_pools(items, self._pool)
        ends = fill(self._n_elements[items], self._max_elements)
        if by_length:
            items, ends = _shuffle_batches(items, ends, generator)
        return Cut(items, share(ends, self._world))

    @cached_property
    def _pool(self) -> int:
        """Subjects that are sorted together under a budget, on any number of ranks the same."""
        assert self._max_elements is not None
        typical = self._max_elements / max(float(self._n_elements.mean()), 1.0)
        return max(1, round(typical)) * POOL_BATCHES

    def _sorted_in_pools(self, items: Array, pool: int) -> Array:
        place = np.arange(len(items)) // pool
        return items[np.lexsort((self._n_elements[items], place))]

    def _fixed_by_length(self, items: Array, generator: np.random.Generator) -> Array:
        """Sort within pools, cut into batches, shuffle all but the last, incomplete one."""
        size = self._batch_size * self._world
        items = self._sorted_in_pools(items, size * POOL_BATCHES)
        full = len(items) // size * size
        batches = items[:full].reshape(-1, size)
        return np.concatenate((generator.permutation(batches, axis=0).reshape(-1), items[full:]))

    @cached_property
    def _fixed_ends(self) -> NDArray[np.int64]:
        """Pieces of the batch size; a rest smaller than the ranks joins the batch before."""
        n, size = len(self._n_elements), self._batch_size * self._world
        last = (n - 1) // size * size
        if last and n - last < self._world:
            last -= size
        rest = np.array_split(np.arange(last, n), self._world)
        sizes = [len(part) for part in rest]
        return np.concatenate((np.arange(0, last, self._batch_size), last + _starts(sizes)))


def check_ranks(subjects: int, world: int, of_what: str = "") -> None:
    """Make sure that every rank has a subject.

    Raises:
        InputError: There are fewer subjects than ranks.
    """
    if subjects < world:
        raise InputError(
            f"{subjects} subjects{of_what} cannot be shared by {world} devices",
            mend="use fewer --devices",
        )


def fill(sizes: Array, budget: int) -> NDArray[np.int64]:
    """Ends of batches that each take whole subjects, in order, as long as they fit.

    Args:
        sizes: Elements of each subject.
        budget: Elements of a batch; a larger subject is alone.

    >>> fill(np.array([3, 2, 9, 1, 4]), 5).tolist()
    [0, 2, 3, 5]
    """
    before = _starts(sizes)
    beyond = np.searchsorted(before, before[:-1] + budget, side="right") - 1
    following = np.maximum(beyond, np.arange(len(sizes)) + 1)
    ends = [0]
    while ends[-1] < len(sizes):
        ends.append(following.item(ends[-1]))
    return np.array(ends, dtype=np.int64)


def share(ends: NDArray[np.int64], ranks: int) -> NDArray[np.int64]:
    """Ends of which every rank has equally many, so that none waits for another and none is empty.

    Where the batches of an epoch do not go up, the last ones are halved. When fewer subjects than
    ranks are left over, the global batch before gives some; only if it has none to give do the
    ranks take up to two subjects each, which may be more than a budget.

    Args:
        ends: Ends of batches; there are at least as many subjects as ranks.
        ranks: How many take turns.

    >>> share(np.array([0, 4, 9, 13]), 2).tolist()
    [0, 4, 9, 11, 13]
    """
    whole = (len(ends) - 1) // ranks * ranks
    begin, n = int(ends[whole]), int(ends[-1])
    if begin == n:
        return ends
    if n - begin >= ranks:
        return np.concatenate((ends[:whole], _split(ends, begin, n, ranks)))
    before = whole - ranks
    first = int(ends[before])
    if n - first < 2 * ranks:
        parts = np.array_split(np.arange(first, n), ranks)
        return np.concatenate((ends[:before], first + _starts([len(part) for part in parts])))
    full, rest = _split(ends, first, n - ranks, ranks), _split(ends, n - ranks, n, ranks)
    return np.concatenate((ends[:before], full[:-1], rest))


def _split(ends: NDArray[np.int64], first: int, last: int, parts: int) -> NDArray[np.int64]:
    """Ends between two places, with the largest pieces halved until there are so many parts."""
    inside = ends[(ends > first) & (ends < last)]
    found = np.concatenate(([first], inside, [last]))
    while len(found) <= parts:
        widest = int(np.argmax(np.diff(found)))
        found = np.insert(found, widest + 1, (found[widest] + found[widest + 1]) // 2)
    return found


def _shuffle_batches(
    items: Array, ends: NDArray[np.int64], generator: np.random.Generator
) -> tuple[Array, NDArray[np.int64]]:
    """Whole batches in random order; the last, incomplete one stays."""
    sizes = np.diff(ends)
    turn = np.append(generator.permutation(len(sizes) - 1), len(sizes) - 1)
    place = np.empty_like(turn)
    place[turn] = np.arange(len(turn))
    return items[np.argsort(np.repeat(place, sizes), kind="stable")], _starts(sizes[turn])


def _starts(sizes: Any) -> NDArray[np.int64]:
    """0 and the running sums."""
    return np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
