"""Views of subjects: ranges of their sets, and what follows each.

    sets of a row      o  o   o o    o | o    o     o   :   o    o
                       view        cut ^   future       ^ horizon

A view is the range of sets up to a cut; its future is the range behind the cut and within the
horizon. Both are pure functions of uniform numbers that the caller draws, and the future is never
gathered into the view's batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.gather import Truncate, Windows, by_shard, windows_between
from setvae_cli.store.reader import Store

Array = NDArray[Any]


@dataclass(frozen=True)
class Cuts:
    """Where subjects are cut.

    Attributes:
        first, last: Earliest and latest time of a cut, minutes after a subject's first set.
        share: Share of subjects that are cut; others are seen whole and nothing follows them.
        horizon: Minutes behind the cut that are forecast.
    """

    first: float
    last: float
    share: float
    horizon: float


@dataclass(frozen=True)
class Views:
    """A view of each subject, and what follows it.

    Attributes:
        seen: Sets of the view, at least one.
        future: Sets behind the cut and within the horizon; may be empty.
        whole: True where the subject was not chosen to be cut.
    """

    seen: Windows
    future: Windows
    whole: NDArray[np.bool_]

    def without_future(self, where: NDArray[np.bool_]) -> Views:
        """The same with nothing that follows some of the subjects."""
        nothing = np.zeros_like(self.future.n_sets)
        future = replace(
            self.future,
            n_sets=np.where(where, nothing, self.future.n_sets),
            n_elements=np.where(where, nothing, self.future.n_elements),
        )
        return replace(self, future=future)


def is_whole(cuts: Cuts, chosen: Array) -> NDArray[np.bool_]:
    """Which subjects are seen whole, from a uniform number each."""
    return np.asarray(chosen >= cuts.share)


def cut_views(
    store: Store,
    windows: Windows,
    cuts: Cuts,
    *,
    chosen: Array,
    when: Array,
    limit: int | None,
    truncate: Truncate,
) -> Views:
    """Cut subjects at random times.

    Args:
        store: Where the events are.
        windows: All sets of each subject.
        cuts: Where to cut.
        chosen: A uniform number in [0, 1) a subject: whether it is cut.
        when: Another: at which time.
        limit, truncate: Which sets of a longer view are kept, as for `find_windows`.
    """
    whole = is_whole(cuts, chosen)
    after = cuts.first + when.astype(np.float64) * (cuts.last - cuts.first)
    after[whole] = np.inf
    first, end = windows.first_set, windows.first_set + windows.n_sets
    cut, stop = np.empty_like(end), np.empty_like(end)
    for number, mine in by_shard(windows.shard):
        minutes = store.shard(number).positions[:, 0]
        bounds = zip(mine.tolist(), first[mine].tolist(), end[mine].tolist(), strict=True)
        for subject, begin, last in bounds:
            own = minutes[begin:last]
            at = float(own[0]) + after[subject]
            cut[subject], stop[subject] = begin + own.searchsorted(
                [at, at + cuts.horizon], side="right"
            )
    seen = windows_between(store, windows.shard, first, cut, limit=limit, truncate=truncate)
    future = windows_between(store, windows.shard, cut, stop, limit=None, truncate=truncate)
    return Views(seen, future, whole)
