"""A source of a few hand-made subjects, for tests of the store and of batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from setvae_cli.settings.prepare import StoreSettings
from setvae_cli.sources.records import Kind, Labels, Records, Source
from setvae_cli.store.precompute import Summary, precompute

Event = tuple[str, float, str, float | None]  # subject, minutes, code, value


def records(
    events: Sequence[Event],
    *,
    subjects: Sequence[str] | None = None,
    sets: Sequence[int] | None = None,
    **columns: Any,
) -> Records:
    names = list(dict.fromkeys(e[0] for e in events)) if subjects is None else list(subjects)
    table = {"subject_id": pa.array(names, pa.string())}
    table |= {name.replace("__", "."): pa.array(values) for name, values in columns.items()}
    content = {
        "subject": pa.array([names.index(e[0]) for e in events], pa.int32()),
        "time": pa.array([e[1] for e in events], pa.float64()),
        "code": pa.array([e[2] for e in events], pa.string()).dictionary_encode(),
        "value": pa.array([e[3] for e in events], pa.float64()),
    }
    if sets is not None:
        content["set"] = pa.array(sets, pa.int64())
    return Records(pa.table(table), pa.table(content))


@dataclass(frozen=True)
class TinyPart:
    content: Records

    def read(self) -> Records:
        return self.content


@dataclass
class TinySource:
    content: Sequence[Records]
    outcomes: Labels | None = None
    given_kinds: Mapping[str, Kind] = field(default_factory=dict)
    given_statistics: Mapping[str, tuple[float, float]] | None = None
    given_embeddings: tuple[tuple[str, ...], np.ndarray] | None = None
    name: str = "tiny"

    def parts(self, scratch: Path | None = None) -> Iterator[TinyPart]:
        return (TinyPart(part) for part in self.content)

    def labels(self) -> Labels | None:
        return self.outcomes

    def kinds(self) -> Mapping[str, Kind]:
        return self.given_kinds

    def statistics(self) -> Mapping[str, tuple[float, float]] | None:
        return self.given_statistics

    def embeddings(self) -> tuple[tuple[str, ...], np.ndarray] | None:
        return self.given_embeddings

    def files(self) -> tuple[str, ...]:
        return ()

    def total(self) -> tuple[int, str] | None:
        return None


def outcomes(labels: Mapping[str, int | None], task: str = "death") -> Labels:
    table = {
        "subject_id": pa.array(list(labels), pa.string()),
        task: pa.array(list(labels.values()), pa.int32()),
    }
    return Labels(pa.table(table), "outcomes.csv")


def cohort(n: int = 40, *, parts: int = 4, seed: int = 0, **changes: Any) -> TinySource:
    """Subjects s0, s1, ... with random events of the codes age, flag, lab, mode and note."""
    generator = np.random.default_rng(seed)
    chunks = np.array_split(np.arange(n), parts)
    content = [records([e for i in chunk for e in _events(i, generator)]) for chunk in chunks]
    labels = outcomes({f"s{i}": int(i % 5 == 0) for i in range(n)})
    given: dict[str, Any] = {"given_kinds": {"mode": "category"}, "outcomes": labels} | changes
    return TinySource(content, **given)


def write(source: Source, out: Path, *, workers: int | None = 1, **settings: Any) -> Summary:
    return precompute(
        source, StoreSettings(**settings), out, workers=workers, sink=lambda record: None
    )


def _events(number: int, generator: np.random.Generator) -> list[Event]:
    name = f"s{number}"
    events: list[Event] = [(name, 0.0, "age", 40.0 + number)]
    for minute in np.cumsum(generator.integers(1, 90, generator.integers(2, 12))).tolist():
        events.append((name, minute, "lab", float(generator.normal(100, 20))))
        if generator.random() < 0.5:
            events.append((name, minute, "flag", float(generator.integers(0, 2))))
        if generator.random() < 0.5:
            events.append((name, minute, "mode", float(generator.integers(1, 5))))
        if generator.random() < 0.3:
            events.append((name, minute, "note", None))
    return events
