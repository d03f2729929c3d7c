"""Made-up records of the loader's benchmark."""

from __future__ import annotations

from dataclasses import replace

from setvae_cli.benchmark.loader_record import Configuration, LoaderRecord, LoadPass, summarise

ORIGINALS = {
    *("avg_load_ms", "std_load_ms", "min_load_ms", "max_load_ms"),
    *("avg_transfer_ms", "avg_total_ms", "throughput_batches_per_sec"),
}


def record(workers: int, rate: float, **changes: object) -> LoaderRecord:
    """A made-up record of batches of 1 000 elements, without spread."""
    load = 1e6 / rate
    passes = [LoadPass(10.0, (load, load), (0.0, 0.0), 8, 2000, 0.0, 8000, 1.0)] * 3
    made = summarise(Configuration(workers, "warm", 4), passes, device="cpu")
    return replace(made, **changes)  # type: ignore[arg-type]
