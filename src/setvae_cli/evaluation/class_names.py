"""Classes of labels that were given as texts: their names, and which is which in other data.

A text's number is its place among the texts of its own data. Other data may have fewer or further
ones, so that classes are matched by name, as codes are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int64

from setvae_cli.errors import InputError
from setvae_cli.runs.checkpoint import Header
from setvae_cli.store.reader import Store

_SHOWN = 3


def class_names(header: Header, store: Store) -> Mapping[str, tuple[str, ...]]:
    """Names of the classes of what a model predicts, where it or the store has any."""
    known = {**store.manifest.class_names, **header.class_names}
    sizes = zip(header.tasks, header.classes, strict=True)
    return {task: known[task] for task, size in sizes if len(known.get(task, ())) == size}


def labels_of(header: Header, store: Store, task: str) -> Int64[np.ndarray, "subjects"]:
    """A label of all rows of a store, by the model's numbers of classes; -1 where missing.

    Raises:
        InputError: A class is none of the model's.
    """
    labels: Int64[np.ndarray, "subjects"] = store.labels[:, store.tasks.index(task)]
    mine, theirs = header.class_names.get(task, ()), store.manifest.class_names.get(task, ())
    if mine and theirs and mine != theirs:
        _check_known(mine, theirs, task, store)
        places = np.array([*(mine.index(name) for name in theirs), -1], dtype=np.int64)
        matched: Int64[np.ndarray, "subjects"] = places[labels]  # the last one is of missing labels
        return matched
    classes = header.classes[header.tasks.index(task)]
    if (largest := int(labels.max(initial=-1))) >= classes:
        what = f"label {task} has a class {largest}, and the model knows {classes} classes"
        mend = "name data whose classes are those of the model"
        raise InputError(what, where=str(store.path), mend=mend)
    return labels


def _check_known(mine: tuple[str, ...], theirs: tuple[str, ...], task: str, store: Store) -> None:
    unknown = [name for name in theirs if name not in mine]
    if unknown:
        what = f"label {task} has a class {_listed(unknown)}, and the model knows {_listed(mine)}"
        mend = "name classes as the model's store did"
        raise InputError(what, where=str(store.path), mend=mend)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"{name:.40}" for name in names[:_SHOWN]) + more
