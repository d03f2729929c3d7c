"""What the figures of the loader's benchmark mean: the workers to take, the bottleneck, advice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from setvae_cli.benchmark.loader_record import LoaderRecord

NOISE = 0.05  # rates that differ by less are the same, however still the machine was
SMALL = 0.1  # share of a step that loading in the training process may take
SLOW_LOAD_MS, SLOW_TRANSFER_MS, UNSTABLE = 1000.0, 100.0, 0.5  # the original's bounds


def recommend(records: Sequence[LoaderRecord]) -> tuple[LoaderRecord, ...]:
    """The same records with their advice, one a batch size marked as the best.

    Warm records decide where there are some: every epoch but the first is warm, unless the store
    is larger than memory.
    """
    chosen: dict[int, tuple[LoaderRecord, str]] = {}
    for size in dict.fromkeys(record.batch_size for record in records):
        mine = [record for record in records if record.batch_size == size]
        warm = [record for record in mine if record.cache == "warm"]
        chosen[size] = _best(warm or mine)
    marked = []
    for record in records:
        best, reason = chosen[record.batch_size]
        is_best = record is best
        marked.append(
            replace(record, best=is_best, reason=reason if is_best else None, advice=advise(record))
        )
    return tuple(marked)


def advise(record: LoaderRecord) -> tuple[str, ...]:
    """The original's three pieces of advice, each where it holds."""
    found = []
    if record.avg_load_ms > SLOW_LOAD_MS:
        found.append(
            f"Loading is slow ({milliseconds(record.avg_load_ms)} a batch): lower "
            "--max-sequence-length or --batch-size, or keep the store on a faster disk."
        )
    if record.avg_transfer_ms > SLOW_TRANSFER_MS:
        found.append(
            f"Moving a batch to the device is slow ({milliseconds(record.avg_transfer_ms)}): "
            "check that --no-pin-memory is not set, or lower --batch-size."
        )
    if record.std_load_ms > UNSTABLE * record.avg_load_ms:
        found.append(
            f"Loading is unstable ({milliseconds(record.std_load_ms)} around "
            f"{milliseconds(record.avg_load_ms)}): see what else uses the disk and the cores; "
            "more workers buffer more."
        )
    return tuple(found)


def bottleneck(record: LoaderRecord) -> str | None:
    """Which of loader and model the other waits for, in one line; None without a step."""
    if record.step_ms is None:
        return None
    step, load = milliseconds(record.step_ms), milliseconds(record.avg_total_ms)
    if record.avg_total_ms < record.step_ms:
        return f"A training step takes {step}: the model is the bottleneck, not the loader."
    return f"A training step takes {step} and a batch {load} to load: the loader is the bottleneck."


def milliseconds(value: float) -> str:
    """A duration of a batch.

    >>> milliseconds(0.43), milliseconds(0.042), milliseconds(1234.5)
    ('0.4 ms', '0.04 ms', '1 234 ms')
    """
    digits = 2 if value < 0.1 else 1 if value < 10 else 0
    return f"{value:,.{digits}f} ms".replace(",", " ")


def _best(records: Sequence[LoaderRecord]) -> tuple[LoaderRecord, str]:
    """The least workers that suffice for the model, else the least near the fastest."""
    ascending = sorted(records, key=lambda record: record.workers)
    for record in ascending:
        if record.step_ms is not None and _suffices(record, record.step_ms):
            load, step = milliseconds(record.avg_total_ms), milliseconds(record.step_ms)
            return record, f"a batch takes {load} to load, a training step {step}"
    fastest = max(ascending, key=lambda record: record.elements_per_s)
    for record in ascending[: ascending.index(fastest)]:
        if _as_fast(record, fastest):
            return record, f"as fast as {fastest.workers} within the noise of these passes"
    return fastest, "the fastest" if len(ascending) > 1 else "nothing else was tried"


def _suffices(record: LoaderRecord, step_ms: float) -> bool:
    """Workers load while the model computes; without them a batch is loaded between steps."""
    return record.avg_total_ms <= (step_ms if record.workers else SMALL * step_ms)


def _as_fast(record: LoaderRecord, fastest: LoaderRecord) -> bool:
    """Whether some pass of it was as fast as some pass of the fastest, or nearly."""
    near = record.elements_per_s >= (1 - NOISE) * fastest.elements_per_s
    return near or record.elements_per_s_max >= fastest.elements_per_s_min
