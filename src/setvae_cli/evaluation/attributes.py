"""Static attributes as groups of subjects: one a value, or four of a number.

A value that under ten subjects have is not named: with few subjects it may tell who they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.errors import InputError
from setvae_cli.evaluation.disclosure import LEAST
from setvae_cli.evaluation.labelled import Integers
from setvae_cli.store.format import ATTRIBUTE
from setvae_cli.store.reader import Store

MOST_VALUES = 10
RARE, UNKNOWN = "rare values", "unknown"
_CUT_AT = {2: "the median", 3: "thirds", 4: "the quartiles"}
_LETTERS = 24


@dataclass(frozen=True)
class Attribute:
    """Subjects by an attribute.

    Attributes:
        name: Its name.
        groups: Their names, in the order of values; then `rare values` and `unknown`, where some
            have a value of under ten subjects, or none.
        place: [subjects], the number of each subject's group.
        cut: How a number was cut; empty where each value is a group.
    """

    name: str
    groups: tuple[str, ...]
    place: Integers
    cut: str = ""


def attribute_names(store: Store) -> tuple[str, ...]:
    """The static attributes of a store."""
    return tuple(
        name.removeprefix(ATTRIBUTE)
        for name in store.rows.column_names
        if name.startswith(ATTRIBUTE)
    )


def check_attributes(store: Store, wanted: tuple[str, ...]) -> None:
    """Make sure that a store has these attributes.

    Raises:
        InputError: It lacks one.
    """
    known = attribute_names(store)
    for name in wanted:
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "it has none"
            what = f"has no attribute {name:.40}: {there}"
            mend = "name one of them with --by" if known else "leave --by out"
            raise InputError(what, where=str(store.path), mend=mend)


def attribute(store: Store, name: str, rows: Integers) -> Attribute:
    """Some rows of a store by one of its attributes.

    A number with more than ten values is cut at the quartiles of these rows, under 40 subjects at
    thirds or the median, which are shown with three digits; texts and other numbers are groups as
    they are.

    Args:
        store: Whose rows.
        name: Of the attribute.
        rows: Row numbers.

    Raises:
        InputError: There is no such attribute, or it is text with more than ten frequent values.
    """
    check_attributes(store, (name,))
    column = store.rows[ATTRIBUTE + name].combine_chunks().take(pa.array(rows))
    number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
    if number:
        values = column.cast(pa.float64()).fill_null(float("nan")).to_numpy(zero_copy_only=False)
        distinct = np.unique(values[np.isfinite(values)])
        if len(distinct) > MOST_VALUES:
            return _quartiles(name, values)
        return _of_numbers(name, values, distinct)
    return _of_texts(name, column, store)


def _quartiles(name: str, values: NDArray[np.float64]) -> Attribute:
    known = np.isfinite(values)
    parts = min(4, int(known.sum()) // LEAST)
    if parts < 2:
        return _named(name, ["any value"], np.where(known, 0, 1), whole=True)
    exact = np.quantile(values[known], np.arange(1, parts) / parts)
    edges = np.unique([float(f"{edge:.3g}") for edge in exact])
    place = np.where(known, np.searchsorted(edges, values, side="left"), len(edges) + 1)
    shown = [f"{edge:g}" for edge in edges]
    names = [f"to {shown[0]}"]
    names += [f"{low} to {high}" for low, high in pairwise(shown)]
    names.append(f"above {shown[-1]}")
    cut = f"cut at {_CUT_AT[parts]} {', '.join(shown)}; a bound belongs to the lower group"
    return _named(name, names, place, cut, whole=True)


def _of_numbers(name: str, values: NDArray[np.float64], distinct: NDArray[np.float64]) -> Attribute:
    place = np.searchsorted(distinct, values)
    place = np.where(np.isfinite(values), place, len(distinct))
    return _named(name, [f"{value:g}" for value in distinct], place)


def _of_texts(name: str, column: pa.Array, store: Store) -> Attribute:
    texts = column.cast(pa.string())
    known = sorted(pc.unique(texts.drop_null()).to_pylist())
    place = pc.index_in(texts, value_set=pa.array(known, pa.string())).fill_null(len(known))
    found = _named(name, known, place.to_numpy(zero_copy_only=False))
    frequent = len(set(found.groups) - {RARE, UNKNOWN})
    if frequent > MOST_VALUES:
        what = f"the attribute {name} is text with {frequent} frequent values, expected at most"
        mend = "name another one with --by"
        raise InputError(f"{what} {MOST_VALUES}", where=str(store.path), mend=mend)
    return found


def _named(
    name: str,
    names: list[str],
    place: NDArray[np.generic],
    cut: str = "",
    *,
    whole: bool = False,
) -> Attribute:
    """The groups that have subjects.

    Args:
        name: Of the attribute.
        names: Of its values; one place more is of subjects without a value.
        place: [subjects], of values.
        cut: How a number was cut.
        whole: Whether groups are ranges, which tell of nobody however few they hold.
    """
    place = place.astype(np.int64)
    count = np.bincount(place, minlength=len(names) + 1)
    few = np.flatnonzero(count[: len(names)] < LEAST)
    if not whole:
        rare = np.isin(place, few)
        place = np.where(place == len(names), len(names) + 1, place)
        place = np.where(rare, len(names), place)
        names = [*names, RARE]
    used, anew = np.unique(place, return_inverse=True)
    every = [*(_short(one) for one in names), UNKNOWN]
    return Attribute(name, tuple(every[one] for one in used), anew.reshape(-1), cut)


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else text[: _LETTERS - 1] + "…"
