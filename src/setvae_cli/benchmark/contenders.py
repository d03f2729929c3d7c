"""The models that are compared: the presets, and two that stand between them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np
import torch

from setvae_cli.benchmark.flops import Sizes, padded_share, step_flops
from setvae_cli.benchmark.step import TrainingStep
from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import SetDataset
from setvae_cli.data.sampler import EpochSampler
from setvae_cli.errors import RunError
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.model import build_untrained
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.store.reader import Store
from setvae_cli.training.machine import Machine, resolve
from setvae_cli.training.tasks import Tasks, predicted_tasks

LEAST_POOL = 8  # subjects that the smallest batches turn through

CONTENDERS: dict[str, dict[str, object]] = {
    "tiny": {"preset": "tiny"},
    "base": {"preset": "base"},
    "base-256": {"preset": "base", "dim": 256, "ff_dim": 256, "latent_dim": 256, "heads": 2},
    "original": {"preset": "original"},
    "original-full": {"preset": "original", "set_attention": "full"},
}


@dataclass(frozen=True)
class Where:
    """Where to compute, as `setvae train` is told; None: as it would by itself."""

    device: str | None = None
    precision: str | None = None
    threads: int | None = None


def settings_of(name: str, where: Where) -> TrainSettings:
    """The settings of a training run of a contender.

    Raises:
        SettingsError: A value does not fit.
    """
    given = {key: value for key, value in vars(where).items() if value is not None}
    return merge(TrainSettings, options=CONTENDERS[name] | given, environment={}).settings


class Contender:
    """A model with its training step and batches of a store.

    Batches of any size hold the same subjects, in the order of the first epoch.

    Args:
        name: One of `CONTENDERS`.
        store: Prepared data.
        where: Device, precision, threads.
        compiled: Whether torch compiles the model.

    Attributes:
        settings: Of its training run.
        machine: Where and how it computes.
        tasks: What it predicts.
        model: The model in training.
        step: Trains on a batch.
    """

    def __init__(self, name: str, store: Store, where: Where, *, compiled: bool = False) -> None:
        self.name, self.compiled, self._store = name, compiled, store
        self.settings = settings_of(name, where)
        self.machine: Machine = resolve(self.settings.run, self.settings.model.dim)
        self.tasks: Tasks = predicted_tasks(store, self.settings.objective.pred_weight)
        self.model = self.untrained().to(self.machine.device)
        self._dataset = SetDataset(
            store,
            store.vocabulary,
            store.split("train"),
            tasks=self.tasks.names,
            max_sequence_length=self.settings.loader.max_sequence_length,
            seed=self.settings.run.seed,
            hide_rate=self.settings.model.input_dropout,
            plan_sets=self.model.needs_set_plan,
        )
        self.step = TrainingStep(
            self.model,
            self.settings,
            classes=self.tasks.classes,
            sets_per_subject=self.sets_per_subject,
            machine=self.machine,
        )
        if compiled:
            self.model.compile()

    @property
    def sets_per_subject(self) -> float:
        """Mean sets a subject in training."""
        return self._store.shape.sets_per_subject

    def untrained(self) -> SeqSetVAE:
        """A model of these settings on the CPU."""
        return build_untrained(
            self.settings,
            self._store.vocabulary,
            classes=self.tasks.classes,
            set_size_p99=self._store.shape.set_size_p99,
            time_scale=self._store.shape.time_scale,
        ).to(self.machine.dtype)

    def batches(self, size: int, pool: int) -> list[SetBatch]:
        """Whole batches of the first `pool` subjects of an epoch, on the CPU."""
        data = self._dataset
        sampler = EpochSampler(data.n_elements, data.labels >= 0, size, seed=self.settings.run.seed)
        requests = islice(sampler, max(min(pool, len(data)) // size, 1))
        batches = [data[request] for request in requests]
        return [b.double() for b in batches] if self.machine.dtype == torch.float64 else batches


class Workload:
    """A contender at one batch size.

    Args:
        contender: Whose steps are taken.
        batches: What they are taken on, in turns.

    Attributes:
        sets, elements, flops: Of a batch, on average.
        padded_share: Share of the work between rows that is spent on padded cells.
    """

    def __init__(self, contender: Contender, batches: list[SetBatch]) -> None:
        model, predicting = contender.model, bool(contender.tasks.names)
        works = [step_flops(model, Sizes.of(batch), predicting=predicting) for batch in batches]
        device = torch.device(contender.machine.device)
        placed = [batch if device.type == "cpu" else batch.to(device) for batch in batches]
        amounts = [
            (batch.plan.elements, work.total) for batch, work in zip(batches, works, strict=True)
        ]
        self._contender = contender
        self._turn: Iterator[tuple[SetBatch, tuple[int, int]]] = cycle(
            list(zip(placed, amounts, strict=True))
        )
        self.sets = float(np.mean([batch.plan.sets for batch in batches]))
        self.elements = float(np.mean([elements for elements, _ in amounts]))
        self.flops = float(np.mean([flops for _, flops in amounts]))
        self.padded_share = float(np.mean([padded_share(model, batch) for batch in batches]))

    def once(self) -> tuple[int, int]:
        """Take a step on the next batch.

        Returns:
            Its elements and FLOPs.
        """
        batch, amounts = next(self._turn)
        self._contender.step(batch)
        return amounts

    def warm_up(self, times: int) -> None:
        """Take steps that nobody times; a compiled model is compiled in them.

        Raises:
            RunError: It cannot be compiled.
        """
        try:
            for _ in range(times):
                self.once()
        except RuntimeError as error:
            if not self._contender.compiled:
                raise
            raise RunError(
                f"torch.compile failed ({type(error).__name__})",
                where="--compile-model",
                mend="it needs a C++ compiler; leave it out",
            ) from error
