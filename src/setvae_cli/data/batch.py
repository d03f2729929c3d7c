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


def _map_tensors(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, tuple):
        return tuple(_map_tensors(item, function) for item in value)
    if isinstance(value, Bucket | Rectangles | Plan):
        changed = {f.name: _map_tensors(getattr(value, f.name), function) for f in fields(value)}
        return replace(value, **changed)
    return value


@dataclass(frozen=True)
class Bucket:
    """Groups of similar length, padded to one width.

    Attributes:
        groups: Which group each row is (a set, or a subject).
        index: Packed position of each cell; a padded cell repeats a real position.
        mask: True where data is real; None when the bucket has no padding.
    """

    groups: Int64[Tensor, "rows"]
    index: Int64[Tensor, "rows width"]
    mask: Bool[Tensor, "rows width"] | None


@dataclass(frozen=True)
class Rectangles:
    """A partition of all groups into buckets, and the way back to packed order.

    Attributes:
        buckets: Every group is in exactly one bucket.
        inverse: For each packed item, its position in the concatenated, flattened buckets.
        group_inverse: For each group, its row in the concatenated buckets.
    """

    buckets: tuple[Bucket, ...]
    inverse: Int64[Tensor, "items"]
    group_inverse: Int64[Tensor, "groups"]


@dataclass(frozen=True)
class Plan:
    """Sizes, rectangles and identity of a batch, all known in the loader.

    Attributes:
        subjects, sets, elements: Sizes of the batch.
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
    """

    subjects: int
    sets: int
    elements: int
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


@dataclass(frozen=True)
class SetBatch:
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
        label_mask: True where there is a label.
        plan: Rectangles and identity, made in the loader.
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

    def to(self, *args: Any, **kwargs: Any) -> SetBatch:
        """Move every tensor, as `Tensor.to(device, non_blocking=...)` does; dtypes stay."""
        return self._apply(lambda tensor: tensor.to(*args, **kwargs))

    def double(self) -> SetBatch:
        """The same batch with values and positions in float64."""
        return replace(self, values=self.values.double(), positions=self.positions.double())

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
    subjects, sets, elements = len(of_subject), len(of_set), int(of_set.sum())
    return Plan(
        subjects=subjects,
        sets=sets,
        elements=elements,
        element_set=torch.from_numpy(np.repeat(np.arange(sets), of_set)),
        set_subject=torch.from_numpy(np.repeat(np.arange(subjects), of_subject)),
        set_start=torch.from_numpy(np.cumsum(of_set) - of_set),
        subject_start=torch.from_numpy(np.cumsum(of_subject) - of_subject),
        by_set=rectangles(set_sizes) if with_sets else None,
        by_subject=rectangles(sets_per_subject),
        epoch=epoch,
        batch=batch,
        places=torch.arange(subjects) if places is None else places,
        step_subjects=subjects if step_subjects is None else step_subjects,
        step_labelled=step_labelled,
    )


def rectangles(sizes: Int64[Tensor, "groups"], *, max_waste: float = 0.15) -> Rectangles:
    """Sort groups by size into buckets so that each wastes at most a share of its cells.

    Args:
        sizes: Items in each group, at least 1, in packed order.
        max_waste: Largest share of padded cells in a bucket.

    Returns:
        The buckets, sorted by width. Groups of size 1 are always alone in theirs.
    """
    size = sizes.numpy()
    order = np.argsort(size, kind="stable")
    starts = np.cumsum(size) - size
    inverse, offset = np.empty(int(size.sum()), dtype=np.int64), 0
    buckets = []
    for first, last in _bucket_bounds(size[order], max_waste):
        groups = order[first:last]
        widths = size[groups, None]
        cell = np.arange(widths[-1, 0])
        index = starts[groups, None] + np.minimum(cell, widths - 1)
        flat = np.arange(offset, offset + index.size).reshape(index.shape)
        mask = None if widths[0] == widths[-1] else cell < widths
        inverse[index if mask is None else index[mask]] = flat if mask is None else flat[mask]
        buckets.append(
            Bucket(
                torch.from_numpy(groups),
                torch.from_numpy(index),
                None if mask is None else torch.from_numpy(mask),
            )
        )
        offset += index.size
    group_inverse = np.empty_like(order)
    group_inverse[order] = np.arange(len(order))
    return Rectangles(tuple(buckets), torch.from_numpy(inverse), torch.from_numpy(group_inverse))


def _bucket_bounds(ascending: NDArray[np.int64], max_waste: float) -> list[tuple[int, int]]:
    """Greedy bounds over the distinct sizes, ascending: extend while the waste stays in bounds."""
    bounds, first, items, place, narrowest = [], 0, 0, 0, 0
    starts = np.flatnonzero(np.diff(ascending, prepend=0))
    sizes, counts = ascending[starts], np.diff(starts, append=len(ascending))
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        grown_items, cells = items + size * count, size * (place + count - first)
        if place > first and (narrowest == 1 or cells - grown_items > max_waste * cells):
            bounds.append((first, place))
            first, grown_items = place, size * count
        if first == place:
            narrowest = size
        items, place = grown_items, place + count
    if place > first:
        bounds.append((first, place))
    return bounds
