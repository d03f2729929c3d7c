"""What an evaluation of a trained model found: what tables, pages and metrics.json are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from setvae_cli.errors import InputError
from setvae_cli.evaluation.attributes import Attribute
from setvae_cli.evaluation.by_class import OneClass, by_class
from setvae_cli.evaluation.calibration import error_by_chance
from setvae_cli.evaluation.curves import Curve, curves_of
from setvae_cli.evaluation.disclosure import LEAST
from setvae_cli.evaluation.labelled import Labelled, probabilities, sigmoid
from setvae_cli.evaluation.scores import Score, score
from setvae_cli.evaluation.subgroups import ByAttribute, by_attribute
from setvae_cli.evaluation.thresholds import Threshold, best_for_f1

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True)
class TaskFindings:
    """What was found of one task.

    Attributes:
        task: Name of the label.
        subjects: Labelled subjects.
        counts: Subjects of each class.
        expected: Mean predicted probability of each class; empty under ten subjects.
        threshold: Of accuracy and F1; None with several classes.
        scores: All figures.
        ece_by_chance: The expected calibration error if every probability were true; None where
            there is none, and with several classes.
        curves: One class against the rest; empty where a class is not there.
        by: Groups of each attribute that was asked for.
        each: Every class against all others; empty where there are two.
        names: Of the classes, where the label was given as texts.
    """

    task: str
    subjects: int
    counts: tuple[int, ...]
    expected: tuple[float, ...]
    threshold: Threshold | None
    scores: tuple[Score, ...]
    ece_by_chance: float | None
    curves: tuple[Curve, ...]
    by: tuple[ByAttribute, ...]
    each: tuple[OneClass, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def binary(self) -> bool:
        """Whether there are two classes."""
        return len(self.counts) == 2

    @property
    def prevalence(self) -> float | None:
        """Share of class 1 of two; None with several classes or without subjects."""
        return self.counts[1] / self.subjects if self.binary and self.subjects else None


@dataclass(frozen=True)
class Provenance:
    """Where predictions come from, for heads and footers.

    Attributes:
        run, checkpoint: Names.
        step: Optimizer steps of the checkpoint.
        begun: Date of the run, YYYY-MM-DD; empty where unknown.
        version: Of setvae.
        trained_on: Digest of the data that the model was trained on.
        data: Digest of these data.
        command: That made the checkpoint: `train` or `finetune`.
    """

    run: str
    checkpoint: str
    step: int
    begun: str
    version: str
    trained_on: str
    data: str
    command: str = "train"


@dataclass(frozen=True)
class Findings:
    """One evaluation.

    Attributes:
        source: Whose predictions.
        split: train, validation, test or all.
        subjects: Subjects of the split.
        without_prediction: Those of them without an event that the model knows.
        unmatched: Share of events whose code the model does not know.
        tasks: What was found of each label.
        attributes: Names of all attributes that subjects have.
        notes: What has to be known to read it, a sentence each.
        resamples: Bootstrap samples of each interval.
        flattered: Whether the model was trained on subjects that it is measured on.
    """

    source: Provenance
    split: str
    subjects: int
    without_prediction: int
    unmatched: float
    tasks: tuple[TaskFindings, ...]
    attributes: tuple[str, ...]
    notes: tuple[str, ...]
    resamples: int
    flattered: bool = False


def assess(
    of: Labelled,
    attributes: Sequence[Attribute],
    *,
    threshold: Threshold | None,
    resamples: int,
    seed: int,
    progress: Progress,
) -> TaskFindings:
    """Measure one task in all and by group.

    Args:
        of: Its labelled subjects.
        attributes: Of the same subjects.
        threshold: Of accuracy and F1; None: one half.
        resamples: Bootstrap samples of an interval; 0: no intervals.
        seed: Of the bootstrap.
        progress: Is told what is being done, and the share of it that is done.
    """
    cut = (threshold or Threshold()) if of.binary else None
    usable = of.unusable is None
    doing = f"resampling {of.task}"
    scores = score(
        of, threshold=cut, resamples=resamples, seed=seed, tick=_telling(progress, doing)
    )
    chance = None
    if usable and of.binary:
        predicted = sigmoid(of.logits[:, 0])
        chance = error_by_chance(predicted, resamples=resamples, seed=seed)
    groups = [
        by_attribute(
            of, one, resamples=resamples, seed=seed, tick=_telling(progress, f"{doing}, {one.name}")
        )
        for one in (attributes if usable else ())
    ]
    return TaskFindings(
        task=of.task,
        subjects=len(of),
        counts=tuple(np.bincount(of.labels, minlength=of.classes).tolist()),
        expected=_expected(of) if usable and len(of) >= LEAST else (),
        threshold=cut,
        scores=scores,
        ece_by_chance=chance,
        curves=curves_of(of),
        by=tuple(groups),
        each=by_class(of, resamples=resamples, seed=seed) if len(of) >= LEAST else (),
        names=of.names,
    )


def thresholds_of(validation: Sequence[Labelled]) -> Mapping[str, Threshold]:
    """The threshold of each task with two classes that has the largest F1 on validation.

    Raises:
        InputError: Validation lacks a class of one.
    """
    found = {}
    for of in validation:
        if not of.binary:
            continue
        why = of.unusable or of.lacks_a_class
        chosen = None if why else best_for_f1(*of.sides[0])
        if chosen is None:
            what = f"no threshold for {of.task} can be chosen on validation: {why}"
            raise InputError(what, where="--threshold", mend="give a number")
        found[of.task] = chosen
    return found


def _expected(of: Labelled) -> tuple[float, ...]:
    return tuple(probabilities(of.logits).mean(axis=0).tolist())


def _telling(progress: Progress, doing: str) -> Callable[[float], None]:
    """Tells how far one thing is."""
    return lambda done: progress(doing, done)
