"""What the loader's benchmark says of one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Cache = Literal["warm", "cold"]


@dataclass(frozen=True)
class Configuration:
    """What is compared.

    Attributes:
        workers: Loader processes; 0: batches are gathered in the training process.
        cache: Whether the store's shards lie in the page cache when a pass begins.
        batch_size: Subjects a batch.
    """

    workers: int
    cache: Cache
    batch_size: int


@dataclass(frozen=True)
class LoadPass:
    """One pass of one configuration.

    Attributes:
        first_ms: From asking for the first batch to having it, the start of workers included.
        load_ms: The same for each batch after it.
        transfer_ms: From there to the device, for the same batches; 0 on a CPU, where nothing
            is moved.
        subjects, elements: Of the same batches.
        uss_mb: Private memory of a worker at the end, or what this process grew by, without
            workers; pages of the store belong to the page cache, not here.
        bytes: Size of their tensors.
        cached_share: Share of the shards' pages in the page cache before the store was opened;
            None: the system does not tell.
    """

    first_ms: float
    load_ms: tuple[float, ...]
    transfer_ms: tuple[float, ...]
    subjects: int
    elements: int
    uss_mb: float
    bytes: int = 0
    cached_share: float | None = None

    @property
    def seconds(self) -> float:
        """Time of all batches after the first."""
        return (sum(self.load_ms) + sum(self.transfer_ms)) / 1000


@dataclass(frozen=True)
class LoaderRecord:
    """One configuration over its repeats; rates and times leave the first batch of a pass out.

    Attributes:
        workers, cache, batch_size: The configuration.
        batches: Batches timed a pass, after its first.
        repeats: Passes.
        subjects_per_batch: Mean over the batches; `batch_size`, unless batches have a budget of
            elements.
        elements: Elements timed a pass.
        elements_per_s: Median over passes; its least and its largest stand beside it.
        mb_per_s: Tensors delivered, in units of 10^6 bytes.
        p50_ms, p95_ms: Percentiles of the time to load a batch, over all passes.
        first_batch_ms: Median over passes.
        uss_mb: Private memory a worker; without workers, growth of the process. Median.
        avg_load_ms, std_load_ms, min_load_ms, max_load_ms: Of the time to load a batch.
        avg_transfer_ms: Mean time from the loader to the device; 0 on a CPU.
        avg_total_ms: Both.
        throughput_batches_per_sec: Its inverse.
        device: Where batches go.
        cached_share: Median share of the shards in the page cache as a pass began; None: the
            system does not tell.
        step_ms: Median time of a training step at this batch size; None: not asked for.
        best: Whether this is the number of workers to take at this batch size.
        reason: Why, for the best.
        advice: What to look at, where a figure is out of bounds.
    """

    workers: int
    cache: Cache
    batch_size: int
    batches: int
    repeats: int
    subjects_per_batch: float
    elements: int
    elements_per_s: float
    elements_per_s_min: float
    elements_per_s_max: float
    mb_per_s: float
    p50_ms: float
    p95_ms: float
    first_batch_ms: float
    uss_mb: float
    avg_load_ms: float
    std_load_ms: float
    min_load_ms: float
    max_load_ms: float
    avg_transfer_ms: float
    avg_total_ms: float
    throughput_batches_per_sec: float
    device: str
    cached_share: float | None = None
    step_ms: float | None = None
    best: bool = False
    reason: str | None = None
    advice: tuple[str, ...] = ()


def summarise(
    configuration: Configuration,
    passes: Sequence[LoadPass],
    *,
    device: str,
    step_ms: float | None = None,
) -> LoaderRecord:
    """One record of the passes of one configuration.

    Args:
        configuration: What was measured.
        passes: At least one, of equally many batches.
        device: Where batches went.
        step_ms: Median time of a training step.
    """
    rates = np.array([one.elements / one.seconds for one in passes])
    loads = np.concatenate([one.load_ms for one in passes])
    transfer = float(np.mean([one.transfer_ms for one in passes]))
    total = float(loads.mean()) + transfer
    shares = [one.cached_share for one in passes if one.cached_share is not None]
    return LoaderRecord(
        workers=configuration.workers,
        cache=configuration.cache,
        batch_size=configuration.batch_size,
        batches=len(passes[0].load_ms),
        repeats=len(passes),
        subjects_per_batch=passes[0].subjects / len(passes[0].load_ms),
        elements=passes[0].elements,
        elements_per_s=float(np.median(rates)),
        elements_per_s_min=float(rates.min()),
        elements_per_s_max=float(rates.max()),
        mb_per_s=float(np.median([one.bytes / one.seconds / 1e6 for one in passes])),
        p50_ms=float(np.percentile(loads, 50)),
        p95_ms=float(np.percentile(loads, 95)),
        first_batch_ms=float(np.median([one.first_ms for one in passes])),
        uss_mb=float(np.median([one.uss_mb for one in passes])),
        avg_load_ms=float(loads.mean()),
        std_load_ms=float(loads.std()),
        min_load_ms=float(loads.min()),
        max_load_ms=float(loads.max()),
        avg_transfer_ms=transfer,
        avg_total_ms=total,
        throughput_batches_per_sec=1000 / total,
        device=device,
        cached_share=float(np.median(shares)) if shares else None,
        step_ms=step_ms,
    )
