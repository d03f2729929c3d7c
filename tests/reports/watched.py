"""Run folders as training leaves them, as far as they are watched."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from setvae_cli.runs.metrics_log import MetricsLog

EVERY, EPOCH, LATENT = 10, 100, 32


def run_folder(path: Path) -> Path:
    """A run's folder without a log."""
    (path / "checkpoints").mkdir(parents=True)
    (path / "settings.yaml").write_text("seed: 0\n")
    return path


def write_log(folder: Path, records: list[Mapping[str, Any]]) -> Path:
    """A log of these records behind the first one."""
    path = folder / "metrics.jsonl"
    log = MetricsLog(path)
    log.write({"step": 0, "epoch": 0, "setvae/log_format": 1})
    for record in records:
        log.write(record)
    log.close()
    return path


def append(path: Path, records: list[Mapping[str, Any]]) -> None:
    """Records behind those that a log holds."""
    log = MetricsLog(path)
    for record in records:
        log.write(record)
    log.close()


def records(
    steps: int = 400, *, planned: int = 1000, levels: int = 1, collapse_at: int | None = None
) -> list[dict[str, Any]]:
    """What training logs: every 10 steps, a validation with a check every 100.

    Args:
        steps: Optimizer steps done.
        planned: Of the whole run.
        levels: Levels of latents.
        collapse_at: Step from which nothing is in the latents any more.
    """
    found: list[dict[str, Any]] = []
    for step in range(EVERY, steps + 1, EVERY):
        place = {"step": step, "epoch": (step - 1) // EPOCH + 1}
        lost = collapse_at is not None and step >= collapse_at
        kl = 0.02 if lost else 4 + math.sin(step / 70)
        found.append({
            **place, "seconds": step / 8, "train_loss_step": 12 + 900 / (step + 30),
            "train_recon_step": 11.0, "train_kl_step": kl, "train_beta_step": min(0.3, step / 600),
            "train_elements_step": 2500.0, "planned_steps": planned, "planned_epochs": 10,
        })  # fmt: skip
        if step % EPOCH == 0:
            found.append({
                **place, "seconds": step / 8 + 0.5, "val_loss": 13 + 900 / (step + 30),
                "val_kl": kl, "val_auc": 0.85 - 20 / (step + 100), "val_auprc": 0.5,
            })  # fmt: skip
            found.append({**place, "seconds": step / 8 + 0.5} | check(levels, lost))
            if step == EPOCH:
                found += [verdict(step, "warming", level=each + 1) for each in range(levels)]
    return found


def check(levels: int, lost: bool) -> dict[str, float]:
    """The figures of one check."""
    found: dict[str, float] = {}
    for level in range(1, levels + 1):
        figures = {
            "kl": 0.02 if lost else 4.1, "floor": 0.0, "latent": LATENT,
            "active_units": 0 if lost else 30, "information": 0.03 if lost else 3.61,
            "information_high": 0.05 if lost else 3.92, "bracket_low": 0.0 if lost else 2.8,
            "bracket_high": 0.1 if lost else 3.5, "decoder_gap": 0.0 if lost else 5.25,
        }  # fmt: skip
        found |= {f"val_{name}_level_{level}": value for name, value in figures.items()}
    return found


def verdict(step: int, state: str, *, level: int = 1, split: str = "val") -> dict[str, Any]:
    """A verdict event."""
    tried = "lower --max-beta, or --beta-schedule cyclical, or --free-bits 0.25"
    bad = state == "collapsed"
    return {
        "step": step, "epoch": 1, "seconds": step / 8 + 0.5, "event": "verdict", "split": split,
        "level": level, "state": state, "since": step - 20 if bad else step,
        "rule": "active < 2%, information < 0.1 nat, decoder gap about 0, 3 checks" if bad else "",
        "figures": "active 0 / 32, KL 0.02 nats, information <= 0.05 nat" if bad else "",
        "try": tried if bad else "", "notes": "",
    }  # fmt: skip


def ending(step: int) -> dict[str, Any]:
    """The record that ends a run."""
    return {
        "step": step, "epoch": 4, "seconds": step / 8 + 2, "test_loss": 14.2, "test_kl": 4.05,
        "test_auc": 0.853, "test_auprc": 0.504, "test_accuracy": 0.881,
        "test_kl_level_1": 4.05, "test_active_units_level_1": 30.0,
    }  # fmt: skip


def aged(path: Path, seconds: float) -> None:
    """Let a file be written so long ago; below 0 in the future."""
    now = path.stat().st_mtime
    os.utime(path, (now - seconds, now - seconds))
