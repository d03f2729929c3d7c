"""From predictions of finished jobs to the table that decides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from setvae_cli.evaluation.baselines import blended
from setvae_cli.evaluation.decision import Decision, Method, Shares, decide
from setvae_cli.evaluation.paired import Design, Figures, averaged, figures
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import Predicted
from setvae_cli.training.compare.jobs import Job, Kind, Place
from setvae_cli.training.compare.material import Material, learns_several

Logits = NDArray[np.float64]
BASELINES: tuple[Kind, ...] = ("probe", "embedding_trees", "summary_trees")


@dataclass(frozen=True)
class _Said:
    """Logits of a method: of test rows, and of validation rows, place by place."""

    test: list[Logits]
    validation: list[Logits]


def decided(comparison: Comparison) -> Shares:
    """Measure every method on every share of labels.

    Raises:
        DataError: A file of predictions is damaged.
    """
    extent = comparison.extent
    return Shares(
        label=comparison.label,
        folds=extent.folds,
        repeats=extent.repeats,
        seeds=extent.seeds,
        scratch_epochs=comparison.scratch_epochs if "scratch" in extent.kinds else None,
        decisions=tuple(_of_share(comparison, share) for share in sorted(extent.shares)),
        notes=tuple(notes(comparison)),
    )


def _of_share(comparison: Comparison, share: float) -> Decision:
    extent, settings, material = comparison.extent, comparison.settings, Material(comparison)
    places = [place for place in extent.places if place.share == share]
    said = _methods(comparison, places)
    kept = [_known(said, place) for place in range(len(places))]
    rows = [_test_rows(comparison, place)[keep] for place, keep in zip(places, kept, strict=True)]
    tested = _tested(comparison, rows, material.labels)
    measured = {
        name: averaged([_figures(tested, of, kept, settings.comparison.resamples) for of in each])
        for name, each in said.items()
    }
    return decide(
        [Method(name, one) for name, one in measured.items()],
        share=share,
        labelled=int(np.mean([len(material.rows(place).train) for place in places])),
        left_out=int(sum((~keep).sum() for keep in kept)) // extent.repeats,
        lacking=tested.lacks_a_class,
    )


def _known(said: Mapping[str, list[_Said]], place: int) -> NDArray[np.bool_]:
    """Which test rows of a place every method predicts."""
    each = [np.isfinite(of.test[place]).all(axis=1) for some in said.values() for of in some]
    return np.asarray(np.all(each, axis=0))


def _methods(comparison: Comparison, places: Sequence[Place]) -> Mapping[str, list[_Said]]:
    """Each method's predictions, one entry a seed where several are averaged over."""
    extent, settings = comparison.extent, comparison.settings.comparison
    found: dict[str, list[_Said]] = {}
    for kind in BASELINES:
        if kind in extent.kinds:
            found[kind] = [_read(comparison, places, kind, 0)]
    seeded: tuple[Kind, ...] = ("finetuned", "scratch")
    if all(place.share == max(extent.shares) for place in places):
        seeded = ("untrained", *seeded)
    for kind in seeded:
        if kind in extent.kinds:
            found[kind] = [_read(comparison, places, kind, s) for s in range(extent.seeds)]
    if "finetuned" in found and extent.seeds > 1:
        found["ensemble"] = [_mean(found["finetuned"])]
    if settings.with_trees and "finetuned" in found:
        best = found.get("ensemble", found["finetuned"])[0]
        found["blend"] = [_blend(best, found["summary_trees"][0])]
    return found


def _read(comparison: Comparison, places: Sequence[Place], kind: Kind, seed: int) -> _Said:
    files = [comparison.folder.read(Job(kind, place, seed)) for place in places]
    return _Said(
        [one.logits[one.tested] for one in files], [one.logits[~one.tested] for one in files]
    )


def _mean(seeds: Sequence[_Said]) -> _Said:
    return _Said(
        [np.mean(each, axis=0) for each in zip(*(one.test for one in seeds), strict=True)],
        [np.mean(each, axis=0) for each in zip(*(one.validation for one in seeds), strict=True)],
    )


def _blend(one: _Said, other: _Said) -> _Said:
    """The mean of two methods' standardised logits, place by place."""

    def both(i: int, side: str) -> Logits:
        of = [(getattr(said, side)[i], said.validation[i]) for said in (one, other)]
        return blended(of)

    places = range(len(one.test))
    return _Said([both(i, "test") for i in places], [both(i, "validation") for i in places])


def _test_rows(comparison: Comparison, place: Place) -> NDArray[np.int64]:
    predicted: Predicted = comparison.folder.read(Job("summary_trees", place))
    return predicted.rows[predicted.tested]


def _tested(
    comparison: Comparison, rows: Sequence[NDArray[np.int64]], labels: NDArray[np.int64]
) -> Design:
    everyone = np.concatenate(rows)
    coded = pc.dictionary_encode(comparison.store.rows["group_id"].combine_chunks().take(everyone))
    return Design(
        cell=np.repeat(np.arange(len(rows)), [len(some) for some in rows]),
        group=coded.indices.to_numpy().astype(np.int64),
        labels=labels[everyone],
        classes=comparison.classes,
    )


def _figures(
    tested: Design, of: _Said, kept: Sequence[NDArray[np.bool_]], resamples: int
) -> Figures:
    logits = [some[keep] for some, keep in zip(of.test, kept, strict=True)]
    return figures(tested, np.concatenate(logits), resamples=resamples)


def notes(comparison: Comparison) -> list[str]:
    """What has to be known to read the table."""
    extent, found = comparison.extent, []
    if extent.pretrains:
        found.append(f"pre-training was repeated {_inside(comparison)}")
    elif comparison.header is not None and not comparison.same_data:
        found.append(
            "the model was pre-trained on other data: if any of these subjects were among them, "
            "its figures flatter it"
        )
    elif comparison.header is None:
        found.append(_foreign(comparison))
    others = [task for task in comparison.store.tasks if task != comparison.label]
    if others and not comparison.settings.tuning.label:
        which = "first label" if comparison.label == comparison.store.tasks[0] else "folds' label"
        found.append(f"compared on the {which}, {comparison.label}; choose with --label")
    if comparison.main is not None and learns_several(comparison):
        found.append(
            f"networks of the table learnt {comparison.label} alone; the fine-tuned run itself "
            "learnt all of its labels"
        )
    return found


def _foreign(comparison: Comparison) -> str:
    """What an encoder of another package has learnt, as far as that is known."""
    if comparison.settings.tuning.encoder_checkpoint is not None:
        return "on whom the encoder of another package was trained is not known"
    return (
        "no --encoder-checkpoint was given: the encoder has the weights that its code gives it, "
        "and embeddings are of an untrained network unless that code loads trained ones"
    )


def _inside(comparison: Comparison) -> str:
    """What a checkpoint could not serve, so that each has a pre-training of its own."""
    parts = []
    if comparison.settings.fold.folds is not None:
        parts.append("inside every fold, without its test subjects")
    if comparison.extent.by_share and min(comparison.extent.shares) < 1:
        parts.append("for every share of the labels, with no other label")
    return " and ".join(parts)
