"""What a comparison computes, one job a file of predictions, in the order in which it is done.

for each repeat
    trees on summaries, of all folds and shares of labels       seconds
    for each fold
        pre-training, embeddings                                minutes
        for each share of labels, the largest first
            linear probe, trees on embeddings                   seconds
            with all labels: linear probe of an untrained network
            fine-tuned and from scratch, seed by seed           minutes
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal[
    "pretrained",
    "embedded",
    "untrained",
    "probe",
    "embedding_trees",
    "summary_trees",
    "finetuned",
    "scratch",
]
TOLD: dict[Kind, str] = {
    "pretrained": "pre-training",
    "embedded": "embeddings",
    "untrained": "probe, untrained",
    "probe": "linear probe",
    "embedding_trees": "trees on embeddings",
    "summary_trees": "trees on summaries",
    "finetuned": "fine-tuning",
    "scratch": "from scratch",
}


@dataclass(frozen=True)
class Place:
    """Where a job belongs.

    Attributes:
        repeat: Which way of dealing out the folds.
        fold: Which of them; None: the store's own splits.
        share: Of the labels that may be read.
    """

    repeat: int
    fold: int | None
    share: float


@dataclass(frozen=True)
class Job:
    """One thing to compute.

    Attributes:
        kind: What.
        place: Where.
        seed: Added to the seed of the run.
    """

    kind: Kind
    place: Place
    seed: int = 0

    @property
    def key(self) -> str:
        """Its name on disk.

        >>> Job("scratch", Place(0, 2, 0.05), 1).key
        'repeat=0_fold=2_labels=0.05_scratch_seed=1'
        """
        where = (
            "" if self.place.fold is None else f"repeat={self.place.repeat}_fold={self.place.fold}_"
        )
        return f"{where}labels={self.place.share:g}_{self.kind}_seed={self.seed}"

    @property
    def predicts(self) -> bool:
        """Whether it is a method, and not a step towards one."""
        return self.kind not in ("pretrained", "embedded")


@dataclass(frozen=True)
class Extent:
    """How much is compared.

    Attributes:
        repeats: Ways of dealing out the folds.
        folds: Folds of each; None: the store's own splits.
        shares: Shares of the labels.
        seeds: Of each network.
        kinds: Methods.
        pretrains: Whether pre-training is repeated inside every fold.
        by_share: Whether it reads labels, so that every share of them needs its own.
    """

    repeats: int
    folds: int | None
    shares: tuple[float, ...]
    seeds: int
    kinds: frozenset[Kind]
    pretrains: bool = False
    by_share: bool = False

    @property
    def places(self) -> list[Place]:
        """All places, the largest share of labels first."""
        folds = [None] if self.folds is None else list(range(self.folds))
        return [
            Place(repeat, fold, share)
            for repeat in range(self.repeats)
            for fold in folds
            for share in sorted(self.shares, reverse=True)
        ]

    def shared(self, place: Place) -> Place:
        """The place whose pre-training serves this one."""
        return place if self.by_share else replace(place, share=1.0)

    def jobs(self) -> list[Job]:
        """All jobs, each once, in order."""
        places = self.places
        found = [
            job
            for repeat in range(self.repeats)
            for here in [[place for place in places if place.repeat == repeat]]
            for job in (
                *(Job("summary_trees", place) for place in here if "summary_trees" in self.kinds),
                *(job for place in here for job in self._of_networks(place)),
            )
        ]
        return list(dict.fromkeys(found))

    def _of_networks(self, place: Place) -> Iterator[Job]:
        if self.pretrains:
            yield Job("pretrained", self.shared(place))
        if {"probe", "embedding_trees"} & self.kinds:
            yield Job("embedded", self.shared(place))
        if "untrained" in self.kinds and place.share == max(self.shares):
            yield from (Job("untrained", place, seed) for seed in range(self.seeds))
        for kind in ("probe", "embedding_trees"):
            if kind in self.kinds:
                yield Job(kind, place)
        for kind in ("finetuned", "scratch"):
            if kind in self.kinds:
                yield from (Job(kind, place, seed) for seed in range(self.seeds))
