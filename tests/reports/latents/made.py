"""A look at latents with a known truth: severity drives z, and a part of h is linear in z."""

from __future__ import annotations

import numpy as np
import torch

from setvae_cli.data.batch import make_plan
from setvae_cli.evaluation.latents import (
    CodeSeries,
    Latents,
    LevelLatents,
    SetLatents,
    SubjectLatents,
    SubjectSeries,
    VariableErrors,
)
from setvae_cli.monitor.level import LevelStream
from setvae_cli.monitor.measures import HistoryUse, LevelMeasures, Measures
from setvae_cli.nn.gaussian import DiagGaussian

CODES = [f"Code{number}" for number in range(30)]


def made(
    *,
    subjects: int = 60,
    per: int = 12,
    latent: int = 8,
    dim: int = 12,
    levels: int = 1,
    linear: float = 0.5,
    alive: float = 1.0,
    labels: bool = True,
    seed: int = 0,
) -> Latents:
    """Latents of a model that does not exist.

    Args:
        subjects, per: How many, and sets of each.
        latent, dim: Numbers of z and of h.
        levels: All alike.
        linear: Share of h's standard deviation that is linear in z; 1 is all of it.
        alive: Share of dimensions that tell something.
        labels: Whether labels and severity are known.
        seed: Of everything.
    """
    draw = np.random.default_rng(seed)
    rows = np.sort(draw.choice(10 * subjects, subjects, replace=False)).astype(np.int64)
    severity = draw.standard_normal(subjects).astype(np.float32)
    row, place = np.repeat(rows, per), np.tile(np.arange(per, dtype=np.int32), subjects)
    sets = len(row)
    found = tuple(_level(draw, severity, per, latent, alive) for _ in range(levels))
    z = np.concatenate([level.mean for level in found], 1)
    own = draw.standard_normal((sets, dim))
    turned = z @ draw.standard_normal((z.shape[1], dim)) / np.sqrt(z.shape[1])
    history = linear * turned / max(turned.std(), 1e-9) + np.sqrt(1 - linear**2) * own
    size = draw.integers(1, 40, sets).astype(np.int32)
    label = (severity > 1).astype(np.int64) if labels else np.full(subjects, -1)
    return Latents(
        sets=SetLatents(
            row=row,
            place=place,
            hours=(48 * place / max(per - 1, 1)).astype(np.float32),
            size=size,
            recon=(2 * size + draw.standard_normal(sets)).astype(np.float32),
            levels=found,
            history=history.astype(np.float32),
        ),
        subjects=SubjectLatents(
            row=rows,
            label=label,
            risk=(1 / (1 + np.exp(1 - severity))).astype(np.float32),
            severity=severity if labels else np.full(subjects, np.nan, np.float32),
            severity_name="true severity",
            embedding=draw.standard_normal((subjects, 4)).astype(np.float32),
        ),
        errors=VariableErrors(
            code=CODES,
            count=np.arange(30, 0, -1) * 100,
            error=np.linspace(0.1, 1.2, 30),
            nats=np.linspace(-0.5, 2.0, 30),
        ),
        series=tuple(_series(draw, int(one), labels) for one in rows[:2]),
        measures=_measures(found, rows, per, linear),
        task="died",
        split="test",
        subjects_in_split=subjects,
        run="seqsetvae/version_0",
        checkpoint="best_epoch=7.ckpt",
        step=1400,
        begun="2026-11-21",
        sets_seen=sets,
    )


def _level(
    draw: np.random.Generator, severity: np.ndarray, per: int, latent: int, alive: float
) -> LevelLatents:
    sets = len(severity) * per
    noise = draw.standard_normal((sets, latent))
    lives = (np.arange(latent) < round(alive * latent)).astype(np.float64)
    told = np.repeat(severity, per)[:, None] * draw.standard_normal(latent)
    mean = np.where(lives, 0.7 * noise + 0.6 * told, 0.003 * noise)
    variance = np.zeros(mean.shape) + np.where(lives, 0.1, 0.999)
    kl = 0.5 * (variance - 1 - np.log(variance) + mean**2)
    zero = np.zeros(mean.shape, np.float32)
    arrays = (mean.astype(np.float32), variance.astype(np.float32), zero, zero + 1)
    return LevelLatents(*arrays, kl.astype(np.float32))


def _series(draw: np.random.Generator, row: int, labels: bool) -> SubjectSeries:
    hours = np.sort(draw.uniform(0, 48, 25)).astype(np.float32)
    series = []
    for code in CODES[:2]:
        truth = np.sin(hours / 6 + len(series)).astype(np.float32)
        observed = truth + 0.3 * draw.standard_normal(len(hours)).astype(np.float32)
        series.append(CodeSeries(code, hours, observed, truth, truth - 0.6, truth + 0.6))
    return SubjectSeries(row, 0 if labels else -1, tuple(series))


def _measures(
    levels: tuple[LevelLatents, ...], rows: np.ndarray, per: int, linear: float
) -> Measures:
    sizes = torch.ones(len(rows) * per).long()
    plan = make_plan(sizes, torch.full((len(rows),), per), with_sets=False)
    found = tuple(_measured(one, plan, rows, number) for number, one in enumerate(levels, 1))
    return Measures(found, HistoryUse(linear**2, None), {"kl_divergence": 3.0})


def _measured(one: LevelLatents, plan: object, rows: np.ndarray, number: int) -> LevelMeasures:
    stream = LevelStream(one.mean.shape[1], torch.device("cpu"))
    q, p = (
        DiagGaussian(torch.from_numpy(mean), torch.from_numpy(variance).log())
        for mean, variance in ((one.mean, one.variance), (one.prior_mean, one.prior_variance))
    )
    stream.update(q, p, plan, torch.from_numpy(rows))
    level = stream.result(number, 0.1)
    assert level is not None
    return level
