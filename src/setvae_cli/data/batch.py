"""The one value that travels from the store to the model: a ragged, packed batch of sets.

    subject 0            subject 1
    set 0    set 1       set 2
    o o o    o           o o            elements, packed in this order: set by set, in time order

Nothing is padded here. The plan holds the rectangles that attention kernels need; it is made in
the loader from sizes it already knows, so that a step never asks a device for a number. It is made
with numpy: torch's thread pool costs milliseconds a call when a training step uses the same cores.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int32, Int64
from numpy.typing import NDArray
from torch import Tensor

from setvae_cli.data.padded import PaddedBatch, pad

MOST_ROWS = 32_768


def _map_tensors(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_map_tensors(item, function) for item in value)
    if isinstance(value, Bucket | Rectangles | Plan | Targets | SetBatch):
        changed = {f.name: _map_tensors(getattr(value, f.name), function) for f in fields(value)}
        return replace(value, **changed)
    return value


class _PickledAsArrays:
    """Pickles tensors by value.

    Torch would hand each of the thirty tensors of a batch to another process as shared memory of
    its own, which takes 8 ms a batch and a file descriptor each; a batch is some 100 kB.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value.cpu().numpy() if isinstance(value, Tensor) else value
            for name, value in self.__dict__.items()
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            self.__dict__[name] = (
                torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            )


@dataclass(frozen=True)
class Bucket(_PickledAsArrays):
    """Groups of similar length, padded to one width.

    Attributes:
        groups: Which group each row is (a set, or a subject).
        width: Cells of a row.
        mask: True where data is real; None when the bucket has no padding.
    """

    groups: Int64[Tensor, "rows"]
    width: int
    mask: Bool[Tensor, "rows width"] | None

    @property
    def cells(self) -> int:
        """Cells of all rows."""
        return len(self.groups) * self.width


@dataclass(frozen=True)
class Rectangles(_PickledAsArrays):
    """A partition of all groups into buckets, and the way back to packed order.

    Attributes:
        buckets: Every group is in exactly one bucket.
        cells: Packed position of each cell of the concatenated, flattened buckets; a padded cell
            repeats a real position.
        inverse: For each packed item, its position in the concatenated, flattened buckets.
        group_inverse: For each group, its row in the concatenated buckets.
        offsets: Packed position of each group's first item, and the end of the last.
        longest: Items of the longest group.
    """

    buckets: tuple[Bucket, ...]
    cells: Int64[Tensor, "cells"]
    inverse: Int64[Tensor, "items"]
    group_inverse: Int64[Tensor, "groups"]
    offsets: Int64[Tensor, "groups_and_one"]
    longest: int


@dataclass(frozen=True)
class Plan(_PickledAsArrays):
    """Sizes, rectangles and identity of a batch, all known in the loader.

    Attributes:
        subjects, sets, elements: Sizes of the batch.
        longest: Elements of the subject that has most.
        element_set: The set of each element.
        set_subject: The subject (place in this batch) of each set.
        set_start: Packed position of the first element of each set.
        subject_start: Packed position of the first set of each subject.
        by_set: Elements in rectangles by set; None when no set attention is used.
        by_subject: Sets in rectangles by subject.
        epoch, batch: Epoch, and number of the global batch (all ranks) in it.
        places: Place of each subject in the global batch: with seed, epoch and batch it fixes
            the noise that the subject sees, on any number of ranks.
        step_subjects: Subjects of the whole optimizer step, over ranks and micro-batches.
        step_labelled: Labelled subjects of the whole optimizer step, one number a task.
        slices: Slices of each subject, which stand side by side as if they were subjects; 0: the
            batch holds subjects.
        spans: First set of each slice inside its subject, and the end; None: no slices.
    """

    subjects: int
    sets: int
    elements: int
    longest: int
    element_set: Int64[Tensor, "elements"]
    set_subject: Int64[Tensor, "sets"]
    set_start: Int64[Tensor, "sets"]
    subject_start: Int64[Tensor, "subjects"]
    by_set: Rectangles | None
    by_subject: Rectangles
    epoch: int
    batch: int
    places: Int64[Tensor, "subjects"]
    step_subjects: int
    step_labelled: tuple[int, ...]
    slices: int = 0
    spans: Int64[Tensor, "subjects 2"] | None = None


@dataclass(frozen=True)
class Targets(_PickledAsArrays):
    """What views are to say without labels: what follows them, and what was hidden of them.

    A pair is a code that occurs behind the cut of a subject, within the horizon.

    Attributes:
        forecast: True for subjects of which something follows.
        pair_subject, pair_code: Subject (place in this batch) and code of each pair.
        statistics: Mean, smallest and largest Gaussianised value of the pair; 0 without values.
        valued: Whether the pair has values.
        hidden_set, hidden_code: Set that a hidden value was taken from, and its code.
        hidden_value: That value, Gaussianised.
    """

    forecast: Bool[Tensor, "subjects"]
    pair_subject: Int64[Tensor, "pairs"]
    pair_code: Int64[Tensor, "pairs"]
    statistics: Float[Tensor, "pairs 3"]
    valued: Bool[Tensor, "pairs"]
    hidden_set: Int64[Tensor, "hidden"]
    hidden_code: Int64[Tensor, "hidden"]
    hidden_value: Float[Tensor, "hidden"]

    def double(self) -> Targets:
        """The same in float64."""
        statistics, hidden = self.statistics.double(), self.hidden_value.double()
        return replace(self, statistics=statistics, hidden_value=hidden)


@dataclass(frozen=True)
class SetBatch(_PickledAsArrays):
    """Subjects as sequences of sets of elements, ragged and packed.

    Attributes:
        keys: Code number in the model's vocabulary, or voxel coordinate inside the tile.
        values: Standardised value (z-score; 0 and 1, or the class number, for binary and category
            codes); 0 where there is none.
        value_mask: True where the element has a value.
        set_sizes: Elements in each set, at least 1.
        positions: Minutes, or tile centre in mm.
        sets_per_subject: In time order, at least 1.
        rows: Row numbers in rows.parquet: the only identity that travels.
        labels: Class numbers; -1 where missing.
        label_mask: True where there is a label; a view of a part of a subject has none.
        plan: Rectangles and identity, made in the loader.
        targets: What views are to say of what is not in them; None: subjects are whole.
        slices: Slices of the same subjects, a batch of their own; None: none are wanted.
    """

    keys: Int32[Tensor, "elements"] | Int32[Tensor, "elements 3"]
    values: Float[Tensor, "elements"]
    value_mask: Bool[Tensor, "elements"]
    set_sizes: Int64[Tensor, "sets"]
    positions: Float[Tensor, "sets axes"]
    sets_per_subject: Int64[Tensor, "subjects"]
    rows: Int64[Tensor, "subjects"]
    labels: Int[Tensor, "subjects tasks"]
    label_mask: Bool[Tensor, "subjects tasks"]
    plan: Plan
    targets: Targets | None = None
    slices: SetBatch | None = None

    def to(self, *args: Any, **kwargs: Any) -> SetBatch:
        """Move every tensor, as `Tensor.to(device, non_blocking=...)` does; dtypes stay."""
        return self._apply(lambda tensor: tensor.to(*args, **kwargs))

    def double(self) -> SetBatch:
        """The same batch with values and positions in float64."""
        targets = None if self.targets is None else self.targets.double()
        values, positions = self.values.double(), self.positions.double()
        slices = None if self.slices is None else self.slices.double()
        return replace(self, values=values, positions=positions, targets=targets, slices=slices)

    def to_padded(self) -> PaddedBatch:
        """Events side by side, [subjects, elements], for encoders that know no sets."""
        return pad(self)

    def pin_memory(self) -> SetBatch:
        """Copy every tensor to page-locked memory."""
        return self._apply(lambda tensor: tensor.pin_memory())

    def _apply(self, function: Any) -> SetBatch:
        return replace(
            self, **{f.name: _map_tensors(getattr(self, f.name), function) for f in fields(self)}
        )


def make_plan(
    set_sizes: Int64[Tensor, "sets"],
    sets_per_subject: Int64[Tensor, "subjects"],
    *,
    with_sets: bool,
    epoch: int = 0,
    batch: int = 0,
    places: Int64[Tensor, "subjects"] | None = None,
    step_subjects: int | None = None,
    step_labelled: tuple[int, ...] = (),
) -> Plan:
    """The plan of a batch from its sizes.

    Args:
        set_sizes, sets_per_subject: Sizes in packed order, at least 1.
        with_sets: Whether elements need rectangles by set.
        epoch, batch, places, step_subjects, step_labelled: As in `Plan`; by default the batch is a
            step of its own.
    """
    of_set, of_subject = set_sizes.numpy(), sets_per_subject.numpy()
    subjects, sets = len(of_subject), len(of_set)
    element_set = np.arange(sets).repeat(of_set)
    return Plan(
        subjects=subjects,
        sets=sets,
        elements=len(element_set),
        longest=int(np.add.reduceat(of_set, of_subject.cumsum() - of_subject).max()),
        element_set=torch.from_numpy(element_set),
        set_subject=torch.from_numpy(np.arange(subjects).repeat(of_subject)),
        set_start=torch.from_numpy(of_set.cumsum() - of_set),
        subject_start=torch.from_numpy(of_subject.cumsum() - of_subject),
        by_set=rectangles(set_sizes) if with_sets else None,
        by_subject=rectangles(sets_per_subject),
        epoch=epoch,
        batch=batch,
        places=torch.arange(subjects) if places is None else places,
        step_subjects=subjects if step_subjects is None else step_subjects,
        step_labelled=step_labelled,
    )


def rectangles(sizes: Int64[Tensor, "groups"], *, max_waste: float = 0.2) -> Rectangles:
    """Sort groups by size into buckets in which attention wastes at most a share of its work.

    Args:
        sizes: Items in each group, at least 1, in packed order; at least one group.
        max_waste: Largest share of a bucket's pairs of cells that hold padding.

    Returns:
        The buckets, sorted by width. Groups of size 1 are always alone in theirs.
    """
    size = sizes.numpy()
    order = size.argsort(kind="stable")
    offsets = np.zeros(len(size) + 1, dtype=np.int64)
    size.cumsum(out=offsets[1:])
    ascending, starts = size[order], offsets[:-1]
    bounds = _bucket_bounds(ascending, max_waste)
    # Cells of all buckets at once: with few groups, the number of calls is what a plan costs.
    width = ascending[[last - 1 for _, last in bounds]].repeat([b - a for a, b in bounds])
    row_start = width.cumsum() - width
    ends = offsets[1:][order].repeat(width)
    index = (starts[order] - row_start).repeat(width)
    index += np.arange(len(index))
    real = index < ends
    np.minimum(index, ends - 1, out=index)
    group_inverse = np.empty_like(order)
    group_inverse[order] = np.arange(len(order))
    inverse = (row_start[group_inverse] - starts).repeat(size)
    inverse += np.arange(len(inverse))
    buckets, cell = [], 0
    for first, last in bounds:
        rows, wide = last - first, int(width[first])
        mask = None
        if ascending[first] != wide:
            mask = torch.from_numpy(real[cell : cell + rows * wide].reshape(rows, wide))
        buckets.append(Bucket(torch.from_numpy(order[first:last]), wide, mask))
        cell += rows * wide
    return Rectangles(
        buckets=tuple(buckets),
        cells=torch.from_numpy(index),
        inverse=torch.from_numpy(inverse),
        group_inverse=torch.from_numpy(group_inverse),
        offsets=torch.from_numpy(offsets),
        longest=int(ascending[-1]),
    )


def _bucket_bounds(ascending: NDArray[np.int64], max_waste: float) -> list[tuple[int, int]]:
    """Greedy bounds over the distinct sizes, ascending: extend while the waste stays in bounds."""
    changes = np.flatnonzero(ascending[1:] != ascending[:-1]) + 1
    starts = [0, *changes.tolist()]
    bounds, first, pairs, narrowest = [], 0, 0, 0
    for size, start, end in zip(
        ascending[starts].tolist(), starts, [*starts[1:], len(ascending)], strict=True
    ):
        own = size * size * (end - start)
        of_cells = size * size * (end - first)
        if start > first and (narrowest == 1 or of_cells - pairs - own > max_waste * of_cells):
            bounds.append((first, start))
            first, pairs = start, 0
        if first == start:
            narrowest = size
        pairs += own
    return _split_rows([*bounds, (first, len(ascending))])


def _split_rows(bounds: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Attention kernels of a GPU take no more than 65 535 rows at once."""
    return [
        (begin, min(begin + MOST_ROWS, last))
        for first, last in bounds
        for begin in range(first, last, MOST_ROWS)
    ]
