"""Which split a row belongs to: as given, or drawn by group, stratified, whatever the row order."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.numbers import counted
from setvae_cli.store.format import SPLITS

_log = logging.getLogger(__name__)
Array = NDArray[Any]


def assign_splits(
    names: Sequence[str],
    group: Array,
    labels: Array,
    *,
    fractions: tuple[float, float, float],
    seed: int,
) -> NDArray[np.int64]:
    """Draw a split for each group, so that every class has its share in each split.

    Args:
        names: Groups, each once.
        group: Place in `names` of each row's group, [rows].
        labels: Class of each row's first task, int64 [rows]; -1: missing.
        fractions: Shares of train, validation and test.
        seed: With the group's name it fixes the order in which groups are dealt out.

    Returns:
        Place in SPLITS of each row; a function of names, classes and seed, not of the row order.
    """
    strata = np.full(len(names), -1, dtype=np.int64)
    np.maximum.at(strata, group, labels)
    return deal(name_keys(names, str(seed)), strata, fractions)[group]


def deal(keys: Array, strata: Array, shares: Sequence[float]) -> NDArray[np.int64]:
    """Deal items out, so that every part has its share of each stratum.

    Args:
        keys: Fix the order in which the items of a stratum are dealt out [items].
        strata: The stratum of each.
        shares: Of the parts; they sum to 1.

    Returns:
        The part of each item.
    """
    place, sizes, order = ranked(keys, strata)
    bounds = np.rint(np.cumsum(shares)[:-1, None] * sizes).astype(np.int64)
    part = np.empty(len(keys), dtype=np.int64)
    part[order] = (place >= bounds).sum(0)
    return part


def ranked(keys: Array, strata: Array) -> tuple[Array, Array, Array]:
    """Items in the order of their strata and keys.

    Returns:
        Of each in that order: its place in its stratum, and the stratum's size; and the order.
    """
    order = np.lexsort((keys, strata))
    _, starts, sizes = np.unique(strata[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(starts, sizes)
    return place, np.repeat(sizes, sizes), order


def name_keys(names: Sequence[str], purpose: str) -> NDArray[np.uint64]:
    """A number for each name that its purpose fixes, the same on every machine."""
    return np.array([_key(purpose, name) for name in names], dtype=np.uint64)


def check_splits(
    splits: NDArray[np.int64], group: Array, fingerprints: Array, wanted: tuple[str, ...]
) -> None:
    """Make sure that no group stands on two sides and no wanted split is empty.

    Args:
        splits: Place in SPLITS of each row.
        group: Number of each row's group.
        fingerprints: Hash of each row's events; equal ones across splits are a warning.
        wanted: Splits that must hold rows.

    Raises:
        InputError: A group crosses splits, or a split is empty.
    """
    crossing = len(crossing_groups(splits, group))
    if crossing:
        raise InputError(
            f"{crossing} groups (patients) stand in more than one split, so the test would leak",
            mend="give every patient one split, or map the patient as group "
            "(precompute --leaked-groups-file lists them)",
        )
    sizes = np.bincount(splits, minlength=len(SPLITS))
    for name in wanted:
        if not sizes[SPLITS.index(name)]:
            raise InputError(
                f"the {name} split is empty",
                mend="give more subjects, other --split-fractions, or another column of splits",
            )
    doubles = len(_across(fingerprints, splits))
    if doubles:
        _log.warning(
            "%s with exactly the events of a subject in another split; "
            "the same stay may be there under two ids",
            counted(doubles, "subject"),
        )


def crossing_groups(splits: NDArray[np.int64], group: Array) -> Array:
    """Numbers of the groups that stand in more than one split, ascending."""
    return _across(group, splits)


def _across(keys: Array, splits: NDArray[np.int64]) -> Array:
    """The distinct keys that occur in more than one split."""
    order = np.lexsort((splits, keys))
    keys, splits = keys[order], splits[order]
    crossed = keys[1:][(keys[1:] == keys[:-1]) & (splits[1:] != splits[:-1])]
    return np.unique(crossed)


def _key(purpose: str, name: str) -> int:
    text = f"{purpose}:{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
