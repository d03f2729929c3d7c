"""What is compared: the settings of every job, from those of one fine-tuning."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import sha256
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.model import settings_of
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.settings.finetune import TuningSettings
from setvae_cli.settings.run import RunSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.folder import ComparisonFolder
from setvae_cli.training.compare.jobs import Extent, Job, Kind, Place
from setvae_cli.training.header import lasting_settings
from setvae_cli.training.starting import open_origin
from setvae_cli.training.unseen import known_before

NETWORKS: frozenset[Kind] = frozenset(
    ("untrained", "probe", "embedding_trees", "finetuned", "scratch")
)


@dataclass(frozen=True)
class Comparison:
    """Everything that its jobs are functions of.

    Attributes:
        settings: Of the fine-tuning, with checkpoint, data and architecture as they are.
        store: The data.
        folder: Where it is kept.
        main: The best checkpoint of the run that fine-tuning has made already, where there are no
            folds; its first seed.
        tunes: Whether networks are fine-tuned, and trained from scratch; else only what needs
            neither is compared.
    """

    settings: FinetuneSettings
    store: Store
    folder: ComparisonFolder
    main: Path | None = None
    tunes: bool = True

    def __post_init__(self) -> None:
        self._check()

    @cached_property
    def header(self) -> Header | None:
        """Of the checkpoint; None for an encoder of another package."""
        if self.settings.tuning.encoder is not None:
            return None
        assert self.settings.ckpt is not None
        return open_origin(Path(self.settings.ckpt)).header

    @property
    def label(self) -> str:
        """What is predicted."""
        return compared_label(self.settings, self.store)

    @property
    def classes(self) -> int:
        """Of the label."""
        return self.store.classes[self.store.tasks.index(self.label)]

    @property
    def same_data(self) -> bool:
        """Whether the checkpoint was trained on this store."""
        return self.header is not None and self.header.data_digest == self.store.digest

    @cached_property
    def extent(self) -> Extent:
        """How much is compared."""
        settings, shares = self.settings, self.settings.fold.label_fraction
        every_fold = settings.fold.folds if settings.fold.fold is None else None
        reads = self.same_data and self._pretrained_settings.objective.reads_labels
        pretrains = self.same_data and (bool(every_fold) or any(map(self._knows, shares)))
        kinds: set[Kind] = {*NETWORKS, "summary_trees"}
        if self.header is None and settings.tuning.encoder_checkpoint is None:
            kinds -= {"scratch", "untrained"}  # its weights are in its code, or there are none
        if not self.tunes:
            kinds -= {"finetuned", "scratch"}
        return Extent(
            repeats=settings.comparison.repeats if every_fold else 1,
            folds=every_fold,
            shares=shares,
            seeds=settings.comparison.ensemble,
            kinds=frozenset(kinds),
            pretrains=pretrains,
            by_share=reads,
        )

    def plan(self) -> dict[str, Any]:
        """What a comparison is one of: plain values."""
        settings = self.settings.model_copy(
            update={"data": _absolute(self.settings.data), "ckpt": _absolute(self.settings.ckpt)}
        )
        kept = {**lasting_settings(settings), "output_dir": "", "name": "", "log_dir": None}
        return {
            "settings": kept,
            "tunes": self.tunes,
            "data_digest": self.store.digest,
            "main": self.main.name if self.main else None,
            "checkpoint_digest": sha256(Path(settings.ckpt)) if settings.ckpt else None,
        }

    def pretraining(self, job: Job) -> TrainSettings:
        """The training of the checkpoint, once more, inside a place."""
        known = self._pretrained_settings
        own = {"seed": known.run.seed, "val_check_interval": known.run.val_check_interval}
        own |= {"limit_val_batches": known.run.limit_val_batches}
        return known.model_copy(
            update={
                "data": self.settings.data,
                "fold": self.settings.fold.model_copy(update=self._at(job.place)),
                "run": self._run(job, known.run, own),
            }
        )

    def tuned(self, job: Job, checkpoint: Path | None) -> FinetuneSettings:
        """The fine-tuning of a place.

        Args:
            job: Which.
            checkpoint: What was pre-trained there; None: the checkpoint that was given.
        """
        settings = self.settings
        seed = {"seed": settings.run.seed + job.seed}
        return settings.model_copy(
            update={
                "ckpt": settings.ckpt if checkpoint is None else str(checkpoint),
                "fold": settings.fold.model_copy(update=self._at(job.place)),
                "tuning": settings.tuning.model_copy(update={"label": (self.label,)}),
                "optimizer": settings.optimizer.model_copy(
                    update={
                        name: epochs_at(job.place.share, getattr(settings.optimizer, name))
                        for name in ("max_epochs", "patience")
                    }
                ),
                "run": self._run(job, settings.run, seed),
            }
        )

    def scratch(self, job: Job) -> FinetuneSettings:
        """The same network from untrained weights, of which all learn at full rate from the start.

        It has the learning rate that the checkpoint was trained with, and epochs enough.
        """
        settings = self.tuned(job, None)
        free = {"freeze": "none", "unfreeze": "at-once", "encoder_lr_ratio": 1.0}
        free |= {"freeze_encoder": False, "freeze_epochs": None, "encoder_checkpoint": None}
        tuning = TuningSettings.model_validate({**settings.tuning.model_dump(), **free})
        epochs = epochs_at(job.place.share, self.scratch_epochs)
        learnt: dict[str, float] = {"max_epochs": epochs}
        if self.header is not None:
            learnt["lr"] = self._pretrained_settings.optimizer.lr
        optimizer = settings.optimizer.model_copy(update=learnt)
        return settings.model_copy(update={"ckpt": None, "tuning": tuning, "optimizer": optimizer})

    @property
    def scratch_epochs(self) -> int:
        """Epochs of the network from scratch."""
        own = self.settings.optimizer.max_epochs
        before = self._pretrained_settings.optimizer.max_epochs if self.header else own
        return self.settings.comparison.scratch_epochs or max(own, before)

    @cached_property
    def _pretrained_settings(self) -> TrainSettings:
        assert self.header is not None
        return settings_of(self.header, Path(self.settings.ckpt or ""))

    def _knows(self, share: float) -> bool:
        """Whether the checkpoint knows test subjects, or labels beyond a share."""
        assert self.header is not None
        at = self._at(Place(self.settings.fold.repeat, self.settings.fold.fold, share))
        settings = self.settings.model_copy(
            update={"fold": self.settings.fold.model_copy(update=at)}
        )
        path = Path(self.settings.ckpt or "")
        return known_before(settings, self.store, self.header, path, (self.label,)) is not None

    def _at(self, place: Place) -> dict[str, Any]:
        dealt_by = self.settings.fold.fold_label or self.label
        at: dict[str, Any] = {"label_fraction": (place.share,), "fold_label": dealt_by}
        return at if place.fold is None else {**at, "repeat": place.repeat, "fold": place.fold}

    def _run(self, job: Job, known: RunSettings, changed: dict[str, Any]) -> RunSettings:
        """Where a job computes as the whole does, and writes below the comparison."""
        ours = self.settings.run
        places = {"output_dir": self.folder.runs, "name": job.key, "log_dir": None}
        alone = {"devices": 1, "num_nodes": 1, "requeue": False, "save_top_k": 1, "keep": 1}
        machine = {name: getattr(ours, name) for name in ("device", "precision", "threads")}
        return known.model_copy(update={**machine, **alone, **places, **changed})

    def _check(self) -> None:
        store, settings = self.store, self.settings
        if not store.tasks:
            mend = "prepare the data with --labels, or leave the comparison out with --no-compare"
            raise InputError("holds no label to predict", where=str(store.path), mend=mend)
        if self.label not in store.tasks:
            what = f"the data have no label {self.label!r:.60}; they have {', '.join(store.tasks)}"
            raise SettingsError(what, where="--label")
        header = self.header
        if self.extent.folds and self.same_data and header and header.command != "train":
            raise InputError(
                "was itself fine-tuned on these data, so that it knows what folds would test",
                where=settings.ckpt,
                mend="name the checkpoint of setvae train that it came from",
            )


def compared_label(settings: FinetuneSettings, store: Store) -> str:
    """What is predicted: the first label named, else the first of the data; empty without any."""
    given = (*settings.tuning.label, *filter(None, [settings.fold.fold_label]), *store.tasks)
    return given[0] if given else ""


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def epochs_at(share: float, epochs: int) -> int:
    """Epochs, also to wait for a better one, with a share of the labels: fewer make fewer steps.

    As many steps as with all labels over-fit (validation .75 at the end, .81 after a third of
    them), as many epochs under-fit (.75 after 24 steps); their geometric mean lies between.

    >>> epochs_at(1.0, 12), epochs_at(0.05, 12), epochs_at(0.05, 0)
    (12, 54, 0)
    """
    return math.ceil(epochs / math.sqrt(share))
