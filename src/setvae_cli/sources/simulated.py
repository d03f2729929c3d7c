"""The built-in cohort: simulated stays of 48 hours in intensive care, with a known truth.

For each subject, with every letter an independent N(0, 1) unless said:

    age a, in years 64 + 16 a, cut to 18..95; gender g; height; ICU type c of four
    severity  s = 0.25 a + 0.2 [c = 0] + e (scaled to variance one)
    recovery  r: how fast the subject leaves this severity (or, negative, gets worse)
    course    x(t) = s - 0.8 r t / 48 + n(t)        n: stationary AR(1), sd 0.4, time constant 8 h
    organ k   x_k(t) = 0.7 x(t) + 0.7 u_k           u_k: which organs fail in this subject
    death     ~ Bernoulli(sigmoid(-4.6 + 1.9 m + 1.1 max_k u_k + 0.5 a)),
              m: mean course over the last 24 h

A quarter of an hour holds a set with probability sigmoid(-0.85 + 0.15 x(t) + 0.45 habit), at a
random minute of it, where the habit is the ward's and says nothing of the subject; the panels of
physiology.py then say which codes are measured. Draws of a block of 250 subjects come from
generators seeded by (seed, block), so that subject i is the same whatever the size of the cohort,
and blocks can be simulated anywhere in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from setvae_cli.sources.measurement import measure, sigmoid
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.physiology import (
    CODES,
    MEASURED,
    ORGANS,
    RHYTHM,
    STATIC,
    VENTILATION,
    VENTILATOR_MODE,
)
from setvae_cli.sources.records import Kind, Records, code_column

BLOCK = 250  # subjects
SLOTS = 192  # quarters of an hour
TASK = "in_hospital_mortality"
KINDS: dict[str, Kind] = {
    "Gender": "binary",
    "ICU type": "category",
    VENTILATION: "binary",
    RHYTHM: "category",
    VENTILATOR_MODE: "category",
}


@dataclass(frozen=True)
class Truth:
    """What the simulator knows about one block.

    Attributes:
        age, gender, height, icu_type: [subjects].
        severity, recovery: [subjects], standard deviations.
        course: x(t) at the quarters of an hour, [subjects, 192].
        organs: u_k, [subjects, 4].
        probability, death: [subjects].
    """

    age: np.ndarray
    gender: np.ndarray
    height: np.ndarray
    icu_type: np.ndarray
    severity: np.ndarray
    recovery: np.ndarray
    course: np.ndarray
    organs: np.ndarray
    probability: np.ndarray
    death: np.ndarray


@dataclass(frozen=True)
class SimulatedPart:
    """The first `size` subjects of one block."""

    seed: int
    block: int
    size: int

    def read(self) -> Records:
        """Simulate the events of these subjects."""
        truth = simulate_truth(self.seed, self.block)
        static = _static(truth)
        generator = np.random.default_rng((self.seed, self.block, 1))
        drawn = measure(truth.course, truth.organs, static, generator)
        end = int(np.searchsorted(drawn.subject, self.size))
        events = pa.table(
            {
                "subject": pa.array(drawn.subject[:end].astype(np.int32)),
                "time": pa.array(drawn.minute[:end].astype(np.float64)),
                "code": code_column(drawn.code[:end], CODES),
                "value": pa.array(drawn.value[:end], from_pandas=True),
            }
        )
        death = pa.array(truth.death[: self.size].astype(np.int32))
        subjects = {"subject_id": _ids(self.block, self.size), f"label.{TASK}": death}
        for column, name in enumerate(STATIC):
            subjects[f"attribute.{name}"] = pa.array(static[: self.size, column])
        return Records(pa.table(subjects), events, truth=_truth_table(truth, self))


class SimulatedSource:
    """A cohort of any size that needs no file."""

    name = "simulated"

    def __init__(self, settings: SourceOptions) -> None:
        self._size = settings.subjects
        self._seed = settings.cohort_seed

    def parts(self, scratch: Path | None = None) -> Iterator[SimulatedPart]:
        """Blocks of 250 subjects."""
        for block, start in enumerate(range(0, self._size, BLOCK)):
            yield SimulatedPart(self._seed, block, min(BLOCK, self._size - start))

    def labels(self) -> None:
        """None: the death of each subject comes with it."""

    def kinds(self) -> Mapping[str, Kind]:
        """Codes whose numbers are not amounts, and codes without numbers."""
        presence: dict[str, Kind] = {
            code.name: "presence" for code in MEASURED if code.shape == "presence"
        }
        return KINDS | presence

    def statistics(self) -> None:
        """None: statistics are fitted on training rows."""

    def embeddings(self) -> None:
        """None: codes are learned."""

    def files(self) -> tuple[str, ...]:
        """No file: the cohort is a function of its seed and size."""
        return ()

    def total(self) -> tuple[int, str]:
        """Subjects to simulate."""
        return self._size, "subjects"


def simulate_truth(seed: int, block: int) -> Truth:
    """Draw the latent factors and the outcome of the 250 subjects of a block."""
    generator = np.random.default_rng((seed, block, 0))
    a, e, r, tall = generator.standard_normal((4, BLOCK))
    organs = generator.standard_normal((BLOCK, len(ORGANS)))
    gender = generator.random(BLOCK) < 0.56
    icu_type = generator.choice(4, BLOCK, p=(0.15, 0.2, 0.38, 0.27))
    severity = (0.25 * a + 0.2 * (icu_type == 0) + e) / 1.03
    elapsed = (np.arange(SLOTS) + 0.5) / SLOTS
    course = severity[:, None] - 0.8 * r[:, None] * elapsed + _wander(generator)
    late = course[:, SLOTS // 2 :].mean(1)
    logit = -4.6 + 1.9 * late + 1.1 * organs.max(1) + 0.5 * a
    probability = sigmoid(logit)
    return Truth(
        age=np.clip(64 + 16 * a, 18, 95).round(),
        gender=gender,
        height=(163 + 13 * gender + 7 * tall).round(),
        icu_type=icu_type,
        severity=severity,
        recovery=r,
        course=course,
        organs=organs,
        probability=probability,
        death=generator.random(BLOCK) < probability,
    )


def _wander(generator: np.random.Generator) -> np.ndarray:
    """Stationary AR(1) noise, sd 0.4 and time constant 8 hours, [subjects, 192]."""
    keep = np.exp(-0.25 / 8)
    noise = 0.4 * generator.standard_normal((SLOTS, BLOCK))
    noise[1:] *= np.sqrt(1 - keep**2)
    for slot in range(1, SLOTS):
        noise[slot] += keep * noise[slot - 1]
    return noise.T


def _ids(block: int, size: int) -> pa.Array:
    numbers = pa.array(np.arange(block * BLOCK, block * BLOCK + size)).cast(pa.string())
    return pc.binary_join_element_wise("simulated", pc.utf8_lpad(numbers, 7, "0"), "-")


def _static(truth: Truth) -> np.ndarray:
    return np.stack([truth.age, truth.gender, truth.height, truth.icu_type], axis=1)


def _truth_table(truth: Truth, part: SimulatedPart) -> pa.Table:
    table = {
        "severity": truth.severity,
        "recovery": truth.recovery,
        **{f"organ.{name}": truth.organs[:, k] for k, name in enumerate(ORGANS)},
        "probability": truth.probability,
        "death": truth.death.astype(np.int32),
    }
    columns = {name: pa.array(column[: part.size]) for name, column in table.items()}
    hours = truth.course[: part.size, ::4]
    ends = pa.array(np.arange(part.size + 1, dtype=np.int32) * hours.shape[1])
    course = pa.ListArray.from_arrays(ends, pa.array(hours.reshape(-1)))
    return pa.table({"subject_id": _ids(part.block, part.size), **columns, "course": course})
