"""Which subjects make which batch: a pure function of seed and epoch, sliced by rank.

order  = f(seed, epoch)                     all subjects, on every rank the same
global batch b = order[b * G : (b + 1) * G]  G = batch size x ranks
rank r takes its slice of each global batch; a step is `accumulation` global batches
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from setvae_cli.errors import InputError

POOL_BATCHES = 32  # global batches that are sorted by length together

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
        seed: int,
        shuffle: bool = True,
        batching: Literal["shuffle", "length"] = "shuffle",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Args:
        n_elements: Elements of each item, for batches of similar length.
        labelled: Whether each item has each label [items, tasks].
        batch_size: Subjects a micro-batch and rank.
        accumulation: Global batches a step.
        seed: With the epoch it fixes the order.
        shuffle: False keeps the order of the dataset.
        batching: Plain shuffling, or batches of similar length in random order.
        rank, world: This process, and how many there are.

        Raises:
            InputError: There are fewer subjects than ranks.
        """
        if len(n_elements) < world:
            raise InputError(
                f"{len(n_elements)} subjects cannot be shared by {world} devices",
                mend="use fewer --devices",
            )
        self.epoch = self.start = 0
        self._n_elements, self._labelled = np.asarray(n_elements), np.asarray(labelled)
        self._global, self._accumulation = batch_size * world, accumulation
        self._seed, self._shuffle, self._batching = seed, shuffle, batching
        self._rank, self._world = rank, world

    def __len__(self) -> int:
        return len(self._bounds()) - 1

    def __iter__(self) -> Iterator[BatchRequest]:
        epoch, order, bounds = self.epoch, self.order(self.epoch), self._bounds()
        for batch in range(self.start, len(bounds) - 1):
            first, last = bounds[batch], bounds[batch + 1]
            places = np.array_split(np.arange(last - first), self._world)[self._rank]
            step = batch - batch % self._accumulation
            whole = order[bounds[step] : bounds[min(step + self._accumulation, len(bounds) - 1)]]
            yield BatchRequest(
                rows=order[first:last][places],
                epoch=epoch,
                batch=batch,
                places=places,
                step_subjects=len(whole),
                step_labelled=tuple(self._labelled[whole].sum(0).tolist()),
            )

    def order(self, epoch: int) -> NDArray[np.int64]:
        """All positions, in the order of an epoch."""
        items = np.arange(len(self._n_elements))
        if not self._shuffle:
            return items
        generator = np.random.Generator(np.random.Philox([self._seed, epoch]))
        items = generator.permutation(items)
        return self._by_length(items, generator) if self._batching == "length" else items

    def _by_length(self, items: Array, generator: np.random.Generator) -> Array:
        """Sort within pools, cut into batches, shuffle all but the last, incomplete one."""
        pool = self._global * POOL_BATCHES
        place = np.arange(len(items)) // pool
        items = items[np.lexsort((self._n_elements[items], place))]
        full = len(items) // self._global * self._global
        batches = items[:full].reshape(-1, self._global)
        return np.concatenate((generator.permutation(batches, axis=0).reshape(-1), items[full:]))

    def _bounds(self) -> list[int]:
        """Ends of the global batches; a rest smaller than the ranks joins the batch before."""
        n = len(self._n_elements)
        bounds = [*range(0, n, self._global), n]
        if len(bounds) > 2 and bounds[-1] - bounds[-2] < self._world:
            del bounds[-2]
        return bounds
