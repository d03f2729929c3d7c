"""How much each class counts in the loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from setvae_cli.errors import SettingsError
from setvae_cli.settings.finetune import TuningSettings

Weights = tuple[tuple[float, ...], ...]
_OPTION = "--class-weights"


def class_weights(
    settings: TuningSettings,
    labels: NDArray[np.int64],
    *,
    tasks: Sequence[str],
    classes: Sequence[int],
) -> Weights:
    """One weight a class, for each label; nothing where all count 1.

    Args:
        settings: none, balanced, or numbers.
        labels: Classes of the training subjects [subjects, tasks]; -1 where missing.
        tasks: Names of the labels.
        classes: Classes of each.

    Raises:
        SettingsError: The numbers are too few or too many, or a class has no training subject.
    """
    if settings.class_weights == "none":
        return ()
    if settings.numbers:
        return (_given(settings.numbers, tasks, classes),)
    return tuple(
        balanced(labels[:, number], count, task)
        for number, (task, count) in enumerate(zip(tasks, classes, strict=True))
    )


def balanced(labels: NDArray[np.int64], count: int, task: str) -> tuple[float, ...]:
    """n / (classes x n of the class), so that every class counts as much (King and Zeng 2001).

    Args:
        labels: Of the training subjects; -1 where missing.
        count: Classes.
        task: Name of the label.

    >>> balanced(np.array([0, 0, 0, 1, -1]), 2, "death")
    (0.6666666666666666, 2.0)

    Raises:
        SettingsError: A class has no training subject.
    """
    known = labels[labels >= 0]
    sizes = np.bincount(known, minlength=count)
    if not sizes.all():
        what = f"class {int(sizes.argmin())} of {task} has no training subject"
        raise SettingsError(what, where=f"{_OPTION} balanced", mend="give numbers, or none")
    return tuple((len(known) / (count * sizes)).tolist())


def _given(
    numbers: tuple[float, ...], tasks: Sequence[str], classes: Sequence[int]
) -> tuple[float, ...]:
    if len(tasks) > 1:
        what = f"numbers are for one label, and there are {len(tasks)}"
        raise SettingsError(what, where=_OPTION, mend="use balanced, or name one --label")
    if len(numbers) != classes[0]:
        what = f"gives {len(numbers)} weights, and {tasks[0]} has {classes[0]} classes"
        raise SettingsError(what, where=_OPTION, mend="give one weight a class")
    return numbers
