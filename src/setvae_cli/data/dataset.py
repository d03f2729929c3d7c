"""Batches of a store as a model sees them, gathered with a few vectorised calls.

request -> windows of sets (length limit) -> their elements -> unknown and hidden ones left out
        -> standardised with the model's statistics -> SetBatch with its plan

With cuts a subject is a view of its sets up to a random time, and the batch has targets: what
follows the view, and values that were hidden in it. A label belongs to the whole subject, so views
of a part have none. With slicing a batch holds slices of subjects, or has them beside it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from setvae_cli.data.batch import SetBatch, make_plan
from setvae_cli.data.gather import (
    Truncate,
    Windows,
    by_shard,
    find_windows,
    gather,
    only,
    random_windows,
)
from setvae_cli.data.noise import uniform_runs
from setvae_cli.data.sampler import BatchRequest
from setvae_cli.data.slices import SliceRule, begun_with, draw_slices, sliced
from setvae_cli.data.standardise import Standardiser
from setvae_cli.data.targets import Gaussianiser, Hidden, make_targets
from setvae_cli.data.views import Cuts, Views, cut_views, is_whole
from setvae_cli.errors import InputError
from setvae_cli.numbers import count, counted, percent
from setvae_cli.store.format import Packed
from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import says_text
from setvae_cli.store.vocabulary import Vocabulary

LEAST_MATCHED = 0.8  # share of elements that a model must know of a foreign store
NAMED = 3  # codes in a message
HIDE_RATE_DRAW, HIDE_DRAW, WINDOW_DRAW, CUT_DRAW, TIME_DRAW = 101, 102, 103, 104, 105

Array = NDArray[Any]
_log = logging.getLogger(__name__)


class SetDataset(Dataset[SetBatch]):
    """Some rows of a store, standardised for one model.

    An index is a `BatchRequest`, so that a loader with `batch_size=None` yields whole batches.
    It pickles as the path of its store, its rows and its settings, and how its standardiser
    differs from that of the store's own vocabulary. A batch leaves nothing behind in it.

    Attributes:
        rows: Row numbers in rows.parquet, ascending; positions in the dataset are places here.
        excluded: Rows left out because the model knows none of their events.
        unmatched: Share of events whose code the model does not know; they are left out.
    """

    def __init__(
        self,
        store: Store,
        vocabulary: Vocabulary,
        rows: NDArray[np.int64],
        *,
        tasks: tuple[str, ...] = (),
        max_sequence_length: int | None = None,
        truncate: Truncate = "latest",
        seed: int = 0,
        hide_rate: float = 0.0,
        plan_sets: bool = False,
        cuts: Cuts | None = None,
        slicing: SliceRule | None = None,
    ) -> None:
        """Args:
        store: Where the events are.
        vocabulary: The model's: its numbering and statistics are used.
        rows: Row numbers of the store.
        tasks: Labels to give.
        max_sequence_length: Elements a subject, in whole sets; a single longer set is cut.
        truncate: Which sets a longer subject keeps; random is drawn anew each epoch.
        seed: Of truncation and hiding.
        hide_rate: Largest share of a subject's elements hidden; drawn for each, uniform from 0.
        plan_sets: Whether the plan has rectangles by set, for attention inside sets.
        cuts: Where subjects are cut; None: they are seen whole.
        slicing: How subjects are sliced; None: they are not.

        Raises:
            InputError: A task is unknown, or the model knows too few events of the store.
        """
        unknown = [task for task in tasks if task not in store.tasks]
        if unknown:
            raise InputError(f"the store has no label {unknown[0]!r:.60}", where=str(store.path))
        self.rows = np.sort(np.asarray(rows, dtype=np.int64))
        self.excluded, self.unmatched = 0, 0.0
        self._store, self._tasks = store, tasks
        self._limit, self._truncate, self._seed = max_sequence_length, truncate, seed
        self._hide_rate, self._plan_sets = hide_rate, plan_sets
        self._cuts, self._fixed, self._codes = cuts, False, len(vocabulary.codes)
        self._slicing = slicing
        self._standardise = Standardiser.between(store.vocabulary, vocabulary)
        self._gaussianise: Gaussianiser | None = None
        if cuts is not None:
            self._gaussianise = Gaussianiser.between(store.vocabulary, vocabulary)
        if (self._standardise.key < 0).any():
            foreign = store.vocabulary.codes != vocabulary.codes
            self._leave_out_unknown(least=LEAST_MATCHED if foreign else 0.0)
        self._say_what_is_cut()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, request: BatchRequest) -> SetBatch:
        return self.batch(request)

    def __getstate__(self) -> dict[str, Any]:
        cached = ("_windows", "_all_sets", "labels")
        state = {name: value for name, value in self.__dict__.items() if name not in cached}
        chosen = np.zeros(len(self._store), dtype=bool)
        chosen[self.rows] = True
        own = Standardiser.between(self._store.vocabulary, self._store.vocabulary)
        return state | {
            "rows": np.packbits(chosen),
            "_standardise": self._standardise.beside(own),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        rows = np.flatnonzero(np.unpackbits(state["rows"])).astype(np.int64)
        vocabulary = state["_store"].vocabulary
        own = Standardiser.between(vocabulary, vocabulary)
        self.__dict__.update(
            state | {"rows": rows, "_standardise": own.changed(state["_standardise"])}
        )

    @property
    def sliced(self) -> bool:
        """Whether a batch is one of slices alone."""
        return self._slicing is not None and not self._slicing.beside

    @property
    def n_elements(self) -> NDArray[np.int64]:
        """Elements of each item after the length limit, for batches of similar length."""
        sizes = self._windows.n_elements
        limited = np.asarray(sizes if self._limit is None else np.minimum(sizes, self._limit))
        if self._slicing is None:
            return limited
        return self._slicing.elements(self._windows.n_sets, limited)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Classes [items, tasks]; -1 where missing."""
        places = [self._store.tasks.index(task) for task in self._tasks]
        return np.asarray(self._store.labels[self.rows][:, places])

    def batch(self, request: BatchRequest) -> SetBatch:
        """Gather the subjects of a request, in its order."""
        if self._fixed:
            request = replace(request, epoch=0, batch=0, places=self.rows[request.rows])
        if self._slicing is None:
            return self._subjects(request)
        slices = self._slices(request, self._slicing)
        return replace(self._subjects(request), slices=slices) if self._slicing.beside else slices

    def _subjects(self, request: BatchRequest) -> SetBatch:
        """Subjects as they are seen, whole or cut."""
        views = self._views(request)
        windows = self._windows.take(request.rows) if views is None else views.seen
        if self._random:
            windows = self._random_windows(windows, request)
        packed, nothing = self._gather(windows, request.rows)
        hidden = None
        if self._hide_rate > 0:
            visible = self._visible(packed, request)
            hidden = None if views is None else Hidden.of(packed, visible)
            packed = only(packed, visible)
        batch = self._assemble(packed, request)
        if views is None:
            return batch
        return self._with_targets(batch, views.without_future(nothing), hidden)

    def fixed_views(self, like: SetDataset) -> SetDataset:
        """The same rows, all cut as another dataset of this model cuts.

        What is drawn depends on the seed and the row only, so that every pass sees the same.
        """
        assert like._cuts is not None
        views = SetDataset.__new__(SetDataset)
        views.__dict__.update(self.__dict__)
        views._cuts, views._fixed = replace(like._cuts, share=1.0), True
        views._hide_rate, views._gaussianise = like._hide_rate, like._gaussianise
        return views

    def fixed_slices(self, like: SetDataset) -> SetDataset:
        """The same rows as slices alone, drawn by the rule of another dataset of this model.

        What is drawn depends on the seed and the row only, so that every pass sees the same.
        """
        assert like._slicing is not None
        slices = SetDataset.__new__(SetDataset)
        slices.__dict__.update(self.__dict__)
        slices._slicing, slices._fixed = replace(like._slicing, beside=False), True
        return slices

    def is_whole(self, epoch: int, batch: int, places: Array) -> Array:
        """Which places of a global batch hold a whole subject, whose label counts."""
        if self._cuts is None:
            return np.ones(len(places), dtype=np.bool_)
        ones = np.ones_like(places)
        chosen = uniform_runs(self._seed, epoch, batch, places, ones, draw=CUT_DRAW)
        return is_whole(self._cuts, chosen)

    def _slices(self, request: BatchRequest, rule: SliceRule) -> SetBatch:
        """Slices of the subjects of a request, those of one side by side, without labels."""
        windows, places = self._windows.take(request.rows), request.places
        if self._random:
            windows = self._random_windows(windows, request)
        first, size = draw_slices(
            windows.n_sets,
            rule,
            seed=self._seed,
            epoch=request.epoch,
            batch=request.batch,
            places=places,
        )
        each = (places[:, None] * rule.slices + np.arange(rule.slices)).reshape(-1)
        request = replace(request, rows=request.rows.repeat(rule.slices), places=each)
        packed, _ = self._gather(sliced(self._store, windows, first, size), request.rows)
        packed = begun_with(self._store, windows, packed, rule.slices)
        if self._hide_rate > 0:
            packed = only(packed, self._visible(packed, request))
        batch = self._assemble(packed, request)
        spans = torch.from_numpy(np.stack((first, first + size), 2).reshape(-1, 2))
        return replace(
            batch,
            label_mask=torch.zeros_like(batch.label_mask),
            plan=replace(batch.plan, slices=rule.slices, spans=spans),
        )

    def _views(self, request: BatchRequest) -> Views | None:
        if self._cuts is None:
            return None
        one = np.ones_like(request.places)
        return cut_views(
            self._store,
            self._all_sets.take(request.rows),
            self._cuts,
            chosen=self._uniform(request, one, CUT_DRAW),
            when=self._uniform(request, one, TIME_DRAW),
            limit=self._limit,
            truncate=self._truncate,
        )

    @cached_property
    def _all_sets(self) -> Windows:
        return find_windows(self._store, self.rows, limit=None, truncate="latest")

    def _with_targets(self, batch: SetBatch, views: Views, hidden: Hidden | None) -> SetBatch:
        assert self._gaussianise is not None
        future = gather(self._store, views.future)
        if self.unmatched:
            future = only(future, self._standardise.key[future.keys] >= 0)
        targets = make_targets(self._gaussianise, future, hidden, self._codes)
        mask = batch.label_mask & torch.from_numpy(views.whole)[:, None]
        return replace(batch, label_mask=mask, targets=targets)

    @property
    def _random(self) -> bool:
        return self._truncate == "random" and self._limit is not None

    @cached_property
    def _windows(self) -> Windows:
        return find_windows(self._store, self.rows, limit=self._limit, truncate=self._truncate)

    def _random_windows(self, windows: Windows, request: BatchRequest) -> Windows:
        assert self._limit is not None
        draws = self._uniform(request, np.ones_like(request.places), WINDOW_DRAW)
        return random_windows(self._store, windows, draws, limit=self._limit)

    def _gather(self, windows: Windows, items: Array) -> tuple[Packed, Array]:
        """Events of known codes; a window without any gives way to the latest sets.

        Returns:
            They; and True where the latest sets stand for what was asked for.
        """
        packed = gather(self._store, windows)
        if not self.unmatched:
            return packed, np.zeros(len(items), dtype=np.bool_)
        known = only(packed, self._standardise.key[packed.keys] >= 0)
        nothing = np.diff(known.row_offsets) == 0
        if not nothing.any():
            return known, nothing
        latest = find_windows(self._store, self.rows[items], limit=self._limit, truncate="latest")
        windows = windows.replaced(nothing, latest)
        packed = gather(self._store, windows)
        return only(packed, self._standardise.key[packed.keys] >= 0), nothing

    def _latest_windows(self) -> Windows:
        return find_windows(self._store, self.rows, limit=self._limit, truncate="latest")

    def _visible(self, packed: Packed, request: BatchRequest) -> Array:
        """Which elements stay: each subject draws a rate, each element is hidden with it.

        A subject that would lose everything keeps everything.
        """
        ends = packed.set_offsets[packed.row_offsets]
        counts = ends[1:] - ends[:-1]
        rate = self._uniform(request, np.ones_like(counts), HIDE_RATE_DRAW)
        visible = self._uniform(request, counts, HIDE_DRAW) >= (
            rate * np.float32(self._hide_rate)
        ).repeat(counts)
        left = np.logical_or.reduceat(visible, ends[:-1])
        return np.asarray(visible if left.all() else visible | (~left).repeat(counts))

    def _uniform(self, request: BatchRequest, sizes: Array, draw: int) -> Array:
        """As many numbers in [0, 1) of each subject as its size says."""
        place = request.places
        return uniform_runs(self._seed, request.epoch, request.batch, place, sizes, draw=draw)

    def _assemble(self, packed: Packed, request: BatchRequest) -> SetBatch:
        keys, values, mask = self._standardise(packed.keys, packed.values)
        labels = self.labels[request.rows]
        set_sizes = torch.from_numpy(packed.set_offsets[1:] - packed.set_offsets[:-1])
        sets_per_subject = torch.from_numpy(packed.row_offsets[1:] - packed.row_offsets[:-1])
        plan = make_plan(
            set_sizes,
            sets_per_subject,
            with_sets=self._plan_sets,
            epoch=request.epoch,
            batch=request.batch,
            places=torch.from_numpy(request.places),
            step_subjects=request.step_subjects,
            step_labelled=request.step_labelled,
        )
        return SetBatch(
            keys=torch.from_numpy(keys),
            values=torch.from_numpy(values),
            value_mask=torch.from_numpy(mask),
            set_sizes=set_sizes,
            positions=torch.from_numpy(packed.positions),
            sets_per_subject=sets_per_subject,
            rows=torch.from_numpy(self.rows[request.rows]),
            labels=torch.from_numpy(labels),
            label_mask=torch.from_numpy(labels >= 0),
            plan=plan,
        )

    def _leave_out_unknown(self, *, least: float) -> None:
        """Count events whose code the model does not know; leave out rows with no other."""
        whole = find_windows(self._store, self.rows, limit=None, truncate="latest")
        total = int(whole.n_elements.sum())
        dropped = total - int(self._known_in(whole).sum())
        self.unmatched = dropped / max(total, 1)
        codes = self._unknown_codes()
        if self.unmatched > 1 - least:
            unknown = f"; it does not know {codes}" if codes else ""
            raise InputError(
                f"the model knows {100 * (1 - self.unmatched):.0f} % of the events of this store, "
                f"expected at least {100 * least:.0f} %{unknown}",
                where=str(self._store.path),
                mend="name codes as the model's store did, or train on this store",
            )
        if self.unmatched:
            named = f" ({codes})" if codes else ""
            _log.warning(
                "%s of %s events (%s) have codes never seen in training%s; left out",
                *(count(dropped), count(total), percent(self.unmatched), named),
            )
        known = self._known_in(self._latest_windows() if self._random else self._windows)
        self.excluded = int((known == 0).sum())
        if self.excluded:
            self.rows = self.rows[known > 0]
            self.__dict__.pop("_windows", None)
            out = counted(self.excluded, "subject")
            _log.warning("%s without an event that the model knows; left out", out)

    def _unknown_codes(self) -> str:
        """The most frequent codes that the model does not know, but for those that say a text."""
        known = self._store.vocabulary
        unknown = np.flatnonzero((self._standardise.key < 0) & ~says_text(self._store, known))
        unknown = unknown[np.argsort(-known.counts[unknown], kind="stable")]
        named = ", ".join(f"{known.codes[code]:.40}" for code in unknown[:NAMED])
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        return named + more

    def _known_in(self, windows: Windows) -> Array:
        """How many events of each window have a code that the model knows."""
        known = np.zeros(len(windows.shard), dtype=np.int64)
        for number, mine in by_shard(windows.shard):
            seen = self._standardise.key[self._store.shard(number).keys] >= 0
            before = np.concatenate(([0], np.cumsum(seen)))
            first = windows.first[mine]
            known[mine] = before[first + windows.n_elements[mine]] - before[first]
        return known

    def _say_what_is_cut(self) -> None:
        """Count subjects whose only set in reach is longer than the limit, so that it is cut."""
        if self._limit is None or self._random:
            return
        columns = self._store.columns
        lost = columns.n_elements[self.rows] - self._windows.n_elements
        cut = (self._windows.n_sets == 1) & (self._windows.n_elements == self._limit) & (lost > 0)
        if cut.any():
            many, most = counted(int(cut.sum()), "subject"), counted(self._limit, "element")
            _log.warning("%s with one set only, which may be cut to %s", many, most)
