"""The labelled subjects of one task: what every score is computed from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Labelled:
    """Predictions and labels of one task, one entry a labelled subject.

    Attributes:
        task: Its name.
        classes: How many it has.
        logits: [subjects, outputs] float64; one column for two classes, else one a class.
        labels: [subjects] class numbers.
        groups: [subjects] numbers from 0: what is drawn together by a bootstrap.
        names: Of the classes, where the label was given as texts.
    """

    task: str
    classes: int
    logits: Doubles
    labels: Integers
    groups: Integers
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return self.classes == 2

    @property
    def sides(self) -> tuple[tuple[Doubles, NDArray[np.bool_]], ...]:
        """Scores and truths of what is told apart: class 1, or each of several against the rest.

        Scores are log odds: logits of several classes are only known up to a shift.
        """
        if self.binary:
            return ((self.logits[:, 0], self.labels == 1),)
        return tuple((log_odds(self.logits, c), self.labels == c) for c in range(self.classes))

    @property
    def predicted(self) -> Integers:
        """The most probable class; of two, class 1 where its probability is above one half."""
        if self.binary:
            return (self.logits[:, 0] > 0).astype(np.int64)
        most: Integers = self.logits.argmax(1).astype(np.int64)
        return most

    @property
    def unusable(self) -> str | None:
        """Why nothing can be said of it; None where something can."""
        if not len(self):
            return "no labelled subjects"
        bad = int((~np.isfinite(self.logits).all(axis=1)).sum())
        return f"{bad} of {len(self)} predictions are not finite" if bad else None

    @property
    def lacks_a_class(self) -> str | None:
        """Why classes cannot be told apart: one of them is not there."""
        seen = np.unique(self.labels)
        if not len(seen):
            return "no labelled subjects"
        if len(seen) < 2:
            return f"only {self.named(int(seen[0]))} is present"
        missing = [] if self.binary else sorted(set(range(self.classes)) - set(seen.tolist()))
        return f"{self.named(missing[0])} is not present" if missing else None

    def named(self, number: int) -> str:
        """What a class is called."""
        return self.names[number] if self.names else f"class {number}"

    def of(self, kept: NDArray[np.bool_]) -> Labelled:
        """Some of the subjects; groups are numbered anew."""
        groups = np.unique(self.groups[kept], return_inverse=True)[1].astype(np.int64)
        return replace(
            self, logits=self.logits[kept], labels=self.labels[kept], groups=groups.reshape(-1)
        )


def labelled_tasks(
    logits: NDArray[np.floating],
    labels: Integers,
    mask: NDArray[np.bool_],
    *,
    tasks: Sequence[str],
    classes: Sequence[int],
    groups: Integers | None = None,
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> tuple[Labelled, ...]:
    """What each task has to be scored.

    Args:
        logits: [subjects, outputs]; one column for a task of two classes, else one a class.
        labels: [subjects, tasks] class numbers.
        mask: [subjects, tasks], True where there is a label.
        tasks: Names of the tasks.
        classes: Classes of each task.
        groups: [subjects] numbers of what is drawn together; None: each subject by itself.
        names: Names of the classes of tasks whose labels were given as texts.
    """
    found = []
    whose = np.arange(len(labels)) if groups is None else groups
    for number, (task, count, columns) in enumerate(
        zip(tasks, classes, outputs_of(classes), strict=True)
    ):
        scores, called = logits[:, columns].astype(np.float64), (names or {}).get(task, ())
        all_of_it = Labelled(task, count, scores, labels[:, number], whose, called)
        found.append(all_of_it.of(mask[:, number]))
    return tuple(found)


def outputs_of(classes: Sequence[int]) -> tuple[slice, ...]:
    """The columns of logits that belong to each task."""
    widths = [1 if count == 2 else count for count in classes]
    ends = np.cumsum([0, *widths]).tolist()
    return tuple(slice(first, last) for first, last in pairwise(ends))


def probabilities(logits: Doubles) -> Doubles:
    """Probability of each class [subjects, classes]; of one column, of classes 0 and 1."""
    if logits.shape[1] == 1:
        odds = np.concatenate([np.zeros_like(logits), logits], axis=1)
        return probabilities(odds)
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: Doubles = grown / grown.sum(axis=1, keepdims=True)
    return found


def sigmoid(x: Doubles) -> Doubles:
    """1 / (1 + exp(-x)), also far from 0."""
    with np.errstate(over="ignore"):
        found: Doubles = 1 / (1 + np.exp(-x))
    return found


def log_odds(logits: Doubles, number: int) -> Doubles:
    """Log odds of one class against all others together, [subjects]."""
    others = np.delete(logits, number, axis=1)
    most = others.max(axis=1, keepdims=True)
    rest = most[:, 0] + np.log(np.exp(others - most).sum(axis=1))
    found: Doubles = logits[:, number] - rest
    return found
