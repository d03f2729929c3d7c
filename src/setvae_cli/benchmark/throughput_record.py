"""What a throughput benchmark says of one model at one batch size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from setvae_cli.numbers import count


@dataclass(frozen=True)
class ThroughputRecord:
    """One model at one batch size; what could not be measured is None.

    Attributes:
        preset: The model.
        compiled: Whether torch compiled it.
        batch: Subjects a batch.
        elements_per_s: Elements trained on a second: forward, backward, optimizer; median of
            rounds.
        spread: Distance of the fastest round from the slowest, as a share of the median.
        rounds: Timed stretches.
        relative_speed: Against batch 1 of the same model.
        peak_memory_mb: What a step adds to model, optimizer and batch at its highest, MB.
        matmul_gflops: The machine's peak in a 4096 x 1024 by 1024 x 1024 product, GFLOP/s.
        gflops: Analytic work of the model a second, without padding, GFLOP/s.
        share_of_peak: `gflops` as a share of `matmul_gflops`.
        reference_elements_per_s: The reference one set at a time, at its better thread count.
        speedup: `elements_per_s` over it.
        padded_share: Share of attention's work that is spent on padded cells.
        sets, elements: Of a batch, on average.
        mflop_per_element: Analytic work, MFLOP an element.
        parameters: Weights of the model.
        threads, peak_threads, reference_threads: Of the model, the peak, the reference.
        device, precision: Where and how the model computes; the peak is measured alike.
        torch: Its version.
    """

    preset: str
    compiled: bool
    batch: int
    elements_per_s: float
    spread: float
    rounds: int
    relative_speed: float | None
    peak_memory_mb: float | None
    matmul_gflops: float
    gflops: float
    share_of_peak: float
    reference_elements_per_s: float
    speedup: float
    padded_share: float
    sets: float
    elements: float
    mflop_per_element: float
    parameters: int
    threads: int
    peak_threads: int
    reference_threads: int
    device: str
    precision: str
    torch: str


def table(records: Sequence[ThroughputRecord]) -> list[str]:
    """The records as lines of at most 80 characters, one block a model."""
    lines: list[str] = []
    for name in dict.fromkeys(record.preset for record in records):
        own = [record for record in records if record.preset == name]
        lines += [*_head(own[0]), *_aligned([_COLUMNS, *map(_row, own)]), ""]
    return lines


_COLUMNS = (
    "batch", "elements/s", "spread", "relative", "memory", "padded", "of peak", "speedup"
)  # fmt: skip


def _head(one: ThroughputRecord) -> list[str]:
    return [
        f"{one.preset}: {count(one.parameters)} parameters, {_threads(one.threads)}, "
        f"{one.mflop_per_element:.3g} MFLOP an element",
        f"reference {count(one.reference_elements_per_s)} elements/s "
        f"({_threads(one.reference_threads)})",
    ]


def _row(record: ThroughputRecord) -> tuple[str, ...]:
    relative, memory = record.relative_speed, record.peak_memory_mb
    return (
        f"{record.batch}{' compiled' if record.compiled else ''}",
        count(record.elements_per_s),
        f"{100 * record.spread:.0f} %",
        "-" if relative is None else f"{relative:.2f}",
        "-" if memory is None else _size(memory),
        f"{100 * record.padded_share:.0f} %",
        f"{100 * record.share_of_peak:.1f} %",
        f"{count(record.speedup)}x",
    )


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 10_000 else f"{count(megabytes)} MB"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns to the right, but for the first, whose numbers stand under one another."""
    words = [row[0].partition(" ") for row in rows]
    digits = max(len(number) for number, _, _ in words)
    first = [f"{number:>{digits}} {rest}".rstrip() for number, _, rest in words]
    columns = [first, *([row[i] for row in rows] for i in range(1, len(rows[0])))]
    widths = [max(map(len, column)) for column in columns]
    padded = [[f"{first[i]:<{widths[0]}}"] for i in range(len(rows))]
    for column, width in zip(columns[1:], widths[1:], strict=True):
        for line, cell in zip(padded, column, strict=True):
            line.append(f"{cell:>{width}}")
    return ["  ".join(line) for line in padded]
