"""What is measured of a simulated subject, when, and with which value (see physiology.py)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from setvae_cli.sources.physiology import CODES, MEASURED, STATIC, Code

CHART, LAB, GAS = 0.75, 0.06, 0.08  # share of the sets that hold a panel, at average state
_STATE = slice(len(STATIC) + len(MEASURED), len(CODES))  # ventilation, rhythm, mode


@dataclass(frozen=True)
class Events:
    """Events by subject, time and code.

    Attributes:
        subject: int64 [elements].
        minute: int64 [elements].
        code: Place in CODES, int64 [elements].
        value: float64 [elements], NaN for presence only.
    """

    subject: np.ndarray
    minute: np.ndarray
    code: np.ndarray
    value: np.ndarray


def measure(
    course: np.ndarray, organs: np.ndarray, static: np.ndarray, generator: np.random.Generator
) -> Events:
    """Draw the events of some subjects.

    Args:
        course: x(t) at the quarters of an hour, [subjects, 192].
        organs: u_k, [subjects, 4].
        static: Values of STATIC, [subjects, 4].
        generator: The only source of randomness.
    """
    subject, minute = _times(course, generator)
    state = 0.7 * course[subject, minute // 15, None] + 0.7 * organs[subject]
    tendency = generator.standard_normal((len(course), len(CODES)))
    present = _present(state, tendency, subject, generator)
    row, code = np.divmod(np.flatnonzero(present), len(CODES))
    value = _values(state, tendency, subject, row, code, generator)
    fixed = np.flatnonzero(code < len(STATIC))
    value[fixed] = static[subject[row[fixed]], code[fixed]]
    return Events(subject[row], minute[row], code, value)


def _times(course: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Subject and minute of each set: one a quarter of an hour at most, the first at minute 0."""
    habit = generator.standard_normal((len(course), 1))
    seen = generator.random(course.shape) < sigmoid(-0.85 + 0.15 * course + 0.45 * habit)
    seen[:, 0] = True
    subject, quarter = np.nonzero(seen)
    minute = quarter * 15 + generator.integers(0, 15, subject.size)
    return subject, np.where(quarter == 0, 0, minute)


def _present(
    state: np.ndarray, tendency: np.ndarray, subject: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Which codes each set holds, bool [sets, codes]; chances are computed where they count."""
    sicker = state.mean(1, keepdims=True)
    draw = generator.random((len(state), 3))
    held = draw < sigmoid(_logit(np.array([CHART, LAB, GAS])) + np.array([0.05, 0.2, 0.3]) * sicker)
    first = np.diff(subject, prepend=-1) > 0
    held[first, 0] = True
    draws = generator.random((len(state), len(CODES)), dtype=np.float32)
    present = np.zeros(draws.shape, dtype=bool)
    present[first, : len(STATIC)] = True
    for panel, name in enumerate(("chart", "lab", "gas")):
        sets, columns = np.flatnonzero(held[:, panel]), _panel(name)
        chance = sigmoid(_logit(_SHARE[columns]) + _CARE[columns] * sicker[sets])
        present[sets, columns] = draws[sets, columns] < chance
    for column in range(len(CODES))[_panel("given")]:
        code = MEASURED[column - len(STATIC)]
        own = code.own * tendency[:, column]
        chance = sigmoid(_logit(code.share) + state @ code.loads + own[subject])
        present[:, column] = draws[:, column] < chance
    present[:, _STATE] = (draws[:, _STATE] < np.array([0.12, 0.1, 0.08])) & held[:, :1]
    return present


def _values(
    state: np.ndarray,
    tendency: np.ndarray,
    subject: np.ndarray,
    row: np.ndarray,
    code: np.ndarray,
    generator: np.random.Generator,
) -> np.ndarray:
    """Value of each element that is measured; static ones are filled in by the caller."""
    own = tendency[subject[row], code]
    y = np.einsum("ij,ij->i", state[row], _LOADS[code])
    y += _OWN[code] * own + _NOISE[code] * generator.standard_normal(row.size)
    center, spread = _CENTER[code], _SPREAD[code]
    value = center + spread * y
    log = np.flatnonzero(_LOG[code])
    value[log] = center[log] * np.exp(spread[log] * y[log])
    both = np.flatnonzero(_BOTH[code])
    value[both] = center[both] + spread[both] * np.sign(own[both]) * np.logaddexp(0, y[both])
    resolution = _RESOLUTION[code]
    value /= resolution
    np.rint(value, out=value)
    value *= resolution
    np.clip(value, _LOWEST[code], _HIGHEST[code], out=value)
    value[np.flatnonzero(_PRESENCE[code])] = np.nan
    return _with_classes(value, state, tendency, subject, row, code)


def _with_classes(
    value: np.ndarray,
    state: np.ndarray,
    tendency: np.ndarray,
    subject: np.ndarray,
    row: np.ndarray,
    code: np.ndarray,
) -> np.ndarray:
    """Fill in ventilation, rhythm and ventilator mode, which follow from thresholds."""
    ventilation, rhythm, mode = range(_STATE.start, _STATE.stop)
    lungs = state[:, 1] + 0.8 * tendency[subject, ventilation]
    heart = 0.5 * state[:, 0] + tendency[subject, rhythm]
    paced = tendency[subject, mode] > 1.9
    classes = {
        ventilation: lungs > 0.3,
        rhythm: np.select([heart > 2.6, paced, heart > 1.2], [3, 2, 1], 0),
        mode: np.select([lungs > 1.4, lungs > 0.3], [2, 1], 0),
    }
    for column, number in classes.items():
        here = np.flatnonzero(code == column)
        value[here] = number[row[here]]
    return value


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-x)))


def _logit(share: np.ndarray | float) -> np.ndarray:
    return np.asarray(np.log(share) - np.log1p(-np.asarray(share)))


def _column(name: str) -> np.ndarray:
    """A number of every code; static and threshold codes take the default."""
    blank = Code("", "static", 0, (0, 0, 0, 0))
    rows = [blank] * len(STATIC) + [*MEASURED] + [blank] * (len(CODES) - _STATE.start)
    return np.array([getattr(code, name) for code in rows], dtype=np.float64)


def _shape(name: str) -> np.ndarray:
    """Codes of one shape, bool [codes]."""
    found = np.zeros(len(CODES), dtype=bool)
    found[len(STATIC) : _STATE.start] = [code.shape == name for code in MEASURED]
    return found


def _panel(name: str) -> slice:
    """Places of the codes of one panel, which stand together."""
    panels: list[str] = [code.panel for code in MEASURED]
    start = len(STATIC) + panels.index(name)
    return slice(start, start + panels.count(name))


_LOADS, _OWN, _NOISE, _CENTER, _SPREAD = map(_column, ("loads", "own", "noise", "center", "spread"))
_LOWEST, _HIGHEST, _RESOLUTION = map(_column, ("lowest", "highest", "resolution"))
_SHARE, _CARE = map(_column, ("share", "care"))
_LOG, _BOTH, _PRESENCE = map(_shape, ("log", "both", "presence"))
