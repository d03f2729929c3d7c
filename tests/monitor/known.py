"""Posteriors whose truth is known, streamed as batches, and what a decoder makes of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from setvae_cli.data.batch import Plan, make_plan
from setvae_cli.monitor.groups import group_of
from setvae_cli.monitor.level import LevelStream
from setvae_cli.monitor.measures import LevelMeasures
from setvae_cli.monitor.paired import PairedStream
from setvae_cli.nn.gaussian import DiagGaussian

CPU = torch.device("cpu")
RECON = 20.0


@dataclass(frozen=True)
class Batch:
    q: DiagGaussian
    p: DiagGaussian
    plan: Plan
    rows: torch.Tensor


@dataclass(frozen=True)
class Case:
    """Posterior mean's standard deviation and shift a dimension, variance, use by the decoder."""

    spread: torch.Tensor
    variance: torch.Tensor
    shift: float = 0.0
    decoder_gap: float = 5.0
    conditional: bool = False


def case(name: str, d: int) -> Case:
    ones = torch.ones(d, dtype=torch.float64)
    healthy = Case(ones * math.sqrt(0.9), ones * 0.1)
    alive = (torch.arange(d) < 3 * d // 8).double()
    dead = Case(ones * 0.003, ones * 0.999, decoder_gap=0.0)
    return {
        "healthy": healthy,
        "collapsed": dead,
        "half collapsed": Case(
            alive * math.sqrt(0.9) + (1 - alive) * 0.003, 0.1 * alive + 0.999 * (1 - alive)
        ),
        "constant shifted mean": replace(dead, shift=2.0),
        "over-sharp": Case(ones, ones * 1e-5),
        "sharp": Case(ones, ones * 0.005),
        "dead lower level": replace(dead, conditional=True),
        "decoder ignores z": replace(healthy, decoder_gap=0.0),
    }[name]


def make_batches(
    case: Case, *, subjects: int, per: int, seed: int, at_once: int = 64
) -> list[Batch]:
    """Sets of one subject share half of the variance of their means."""
    generator = torch.Generator().manual_seed(seed)
    batches = []
    for first in range(0, subjects, at_once):
        n = min(at_once, subjects - first)
        plan = make_plan(torch.ones(n * per).long(), torch.full((n,), per), with_sets=False)
        d = len(case.spread)
        own = torch.randn(n, 1, d, generator=generator, dtype=torch.float64)
        each = torch.randn(n, per, d, generator=generator, dtype=torch.float64)
        unit = ((own + each) / math.sqrt(2)).flatten(0, 1)
        residual = case.shift + case.spread * unit
        p_mean, p_logvar = torch.zeros_like(residual), torch.zeros_like(residual)
        if case.conditional:
            p_mean = 3 * torch.randn(residual.shape, generator=generator, dtype=torch.float64)
            p_logvar = torch.randn(residual.shape, generator=generator, dtype=torch.float64)
        q = DiagGaussian(
            p_mean + residual * torch.exp(p_logvar / 2), p_logvar + case.variance.log()
        )
        rows = torch.arange(first, first + n)
        batches.append(Batch(q, DiagGaussian(p_mean, p_logvar), plan, rows))
    return batches


def stream(batches: list[Batch]) -> LevelStream:
    level = LevelStream(batches[0].q.mean.shape[1], CPU)
    for batch in batches:
        level.update(batch.q, batch.p, batch.plan, batch.rows)
    return level


def gap_of(batches: list[Batch], mean: float, seed: int) -> PairedStream:
    """A decoder that loses `mean` nats a set with another subject's latents, with scatter."""
    generator = torch.Generator().manual_seed(seed)
    paired = PairedStream(CPU)
    for batch in batches:
        right = RECON + torch.randn(batch.plan.sets, generator=generator, dtype=torch.float64)
        noise = torch.randn(batch.plan.sets, generator=generator, dtype=torch.float64)
        changed = right + mean + 0.1 * noise
        paired.update(right, changed, batch.plan, group_of(batch.rows))
    return paired


def measured(
    case: Case, *, seed: int, level: int = 1, subjects: int | None = None
) -> LevelMeasures:
    d = len(case.spread)
    batches = make_batches(case, subjects=subjects or max(5 * d, 200), per=3, seed=seed)
    found = stream(batches).result(level, 0.0)
    assert found is not None
    return replace(found, decoder_gap=gap_of(batches, case.decoder_gap, seed).result())
