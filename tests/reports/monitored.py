"""Logs of runs with the monitor, as training leaves them: scalars in both logs, verdicts in one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from setvae_cli.monitor.actions import Actions, OnCollapse
from setvae_cli.monitor.bracket import Bracket
from setvae_cli.monitor.check import Check
from setvae_cli.monitor.groups import Interval
from setvae_cli.monitor.legacy import legacy
from setvae_cli.monitor.measures import Dimensions, HistoryUse, LevelMeasures, Measures
from setvae_cli.monitor.paired import Gap
from setvae_cli.monitor.record import action_record, scalars, verdict_record
from setvae_cli.monitor.verdict import Judge
from setvae_cli.runs.event_file import EventFile
from setvae_cli.runs.metrics_log import MetricsLog
from setvae_cli.settings.objective import ObjectiveSettings

LATENT, MAX_BETA, EVERY = 32, 0.2, 100
Course = Callable[[float], float]
"""Share of the latents in use, from the share of the run that is done."""


def healthy(done: float) -> float:
    """All but a few come into use, and stay so."""
    return 0.9 * min(1.0, 4 * done)


def collapsing(done: float) -> float:
    """Most are in use at first, and none from the middle on."""
    return healthy(done) if done < 0.4 else max(0.0, 0.9 - 6 * (done - 0.4))


def measured(share: float, level: int = 1, free_bits: float = 0.05) -> LevelMeasures:
    """What a check of a level finds that uses a share of its dimensions."""
    active = round(share * LATENT)
    flags = [number < active for number in range(LATENT)]
    kl = [0.6 / level if flag else 0.001 for flag in flags]
    variance = [0.3 if flag else 1.0 for flag in flags]
    know, gap = 0.35 * active / level, 0.2 * active / level
    dimensions = Dimensions(
        kl, [0.7 * flag for flag in flags], variance, variance, flags, flags,
        [not flag for flag in flags], [not flag for flag in flags], [False] * LATENT, [],
    )  # fmt: skip
    return LevelMeasures(
        level, 9000, 150, sum(kl), free_bits * LATENT, dimensions,
        information=Interval(know, 0.9 * know, 1.1 * know + 0.03),
        gaussian_kl=Interval(0.4, 0.3, 0.6),
        bracket=Bracket(min(0.8 * know, 5.2), min(know, 5.5), 256),
        decoder_gap=Gap(Interval(gap, 0.8 * gap - 0.02, 1.2 * gap + 0.02), 30.0),
    )  # fmt: skip


def write_run(
    folder: Path,
    courses: Sequence[Course] = (healthy,),
    *,
    steps: int = 3000,
    action: OnCollapse = "warn",
    monitored: bool = True,
    checks: int | None = None,
) -> Path:
    """Write the logs of a run.

    Args:
        folder: Of the run; made here.
        courses: One a level.
        steps: Optimizer steps.
        action: What is done about a collapse.
        monitored: Whether the monitor was on.
        checks: How many validations were reached; None: all of them.
    """
    folder.mkdir(parents=True)
    log, events = MetricsLog(folder / "metrics.jsonl"), EventFile(folder)
    log.write({"step": 0, "epoch": 0, "setvae/log_format": 1})
    judge, actions, objective = Judge(), Actions(action), ObjectiveSettings()
    for step in range(10, steps + 1, 10):
        done = step / steps
        head = {"step": step, "epoch": 1 + step // 500, "seconds": step / 7}
        levels = [measured(course(done), number) for number, course in enumerate(courses, 1)]
        kl, beta = sum(level.kl for level in levels), MAX_BETA * min(1.0, 5 * done)
        loss = 8 + 20 / (1 + step / 100) + 0.3 * math.sin(step)
        found = {
            "train_loss_step": loss, "train_recon_step": loss - beta * kl, "train_kl_step": kl,
            "train_beta_step": beta, "train_recon_weight_step": 1 - done / 2, "lr": 1e-3 * done,
            "train_pred_step": 0.3 + 0.3 * (1 - done), "train_pred_weight_step": min(1.0, 4 * done),
            "train_grad_norm_step": 1 + 0.2 * math.sin(step),
        }  # fmt: skip
        log.write(head | found | {"planned_steps": steps, "planned_epochs": 7})
        events.write(step, found)
        if step % EVERY or (checks is not None and step > checks * EVERY):
            continue
        val = {"val_loss": loss + 0.5, "val_recon": loss - beta * kl, "val_kl": kl, "val_pred": 0.4,
               "val_auc": 0.85 - 0.25 / (1 + 8 * done), "val_auprc": 0.5 - 0.3 / (1 + 8 * done),
               "val_accuracy": 0.88 - 0.1 / (1 + 8 * done)}  # fmt: skip
        if monitored:
            whole = Measures(tuple(levels), HistoryUse(0.4, None), legacy(levels, loss))
            val |= scalars(whole, "val")
        log.write(head | val)
        events.write(step, val)
        if not monitored:
            continue
        check = Check.of(levels, step=step, planned=steps, beta=beta, target=MAX_BETA)
        verdicts = judge.observe(check)
        for verdict in verdicts:
            if verdict.changed or step == EVERY:
                log.write(head | verdict_record(verdict, "val"))
        asked = actions.ask(verdicts, objective)
        if asked is not None:
            objective = actions.objective(objective)
            log.write(head | action_record(asked))
    log.close()
    events.close()
    return folder


def with_the_original_s_numbers(points: list[tuple[int, dict[str, float]]]) -> list:
    """Points of an original's run, with what its monitor logged at each validation."""
    own = {"val_variance": 0.9, "val_active_units": 250.0, "val_active_ratio@0.01": 0.98}
    return [
        (step, {**s, **{tag: value * (1 - 1 / step) for tag, value in own.items()}})
        if "val_loss" in s
        else (step, s)
        for step, s in points
    ]
