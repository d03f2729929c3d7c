"""Logs of the original: their KL was written times beta and with free bits as a floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from setvae_cli.reports.curves.series import Curves, Series

FREE_BITS, LATENTS = 0.1, 256  # the original's defaults
_LEAST_BETA = 1e-8
_SPREAD = 1e-3
_KL = {
    "train_kl_step": ("train_beta_step", "train_beta_epoch"),
    "train_kl_epoch": ("train_beta_epoch", "train_beta_step"),
    "val_kl": ("val_beta", "train_beta_step", "train_beta_epoch"),
}
UNDONE = "KL was logged times beta and is divided by the logged beta here (legacy)"
NO_BETA = "KL was logged times beta, and beta was not logged: the KL itself cannot be told (legacy)"


def undo_weighting(run: Curves) -> Curves:
    """The curves of an original's run with their KL in nats a set, as `legacy/<tag>`.

    What was logged stays, under a name that carries its weight.
    """
    series, found, undone = dict(run.series), False, False
    for tag, betas in _KL.items():
        if tag in series:
            weighted, found = series.pop(tag), True
            series[tag.replace("kl", "beta_kl")] = weighted
            beta = next((run.series[name] for name in betas if name in run.series), None)
            if beta is not None:
                series[f"legacy/{tag}"] = _divided(weighted, beta)
                undone = True
    if not found:
        return run
    notes = (*run.notes, UNDONE if undone else NO_BETA)
    floor = (run.floor if run.floor is not None else FREE_BITS * LATENTS) if undone else None
    return replace(run, series=series, floor=floor, notes=notes)


def floor_hides(run: Curves, kl: Series) -> bool:
    """Whether the end of a legacy KL lies on its floor, and so says nothing.

    It does within 2 % of the known floor, or where ten values and more do not move at all.
    """
    if not run.legacy:
        return False
    end = kl.values[-max(10, len(kl) // 4) :]
    middle = float(np.median(end))
    near = run.floor is not None and abs(middle - run.floor) <= 0.02 * run.floor
    still = len(end) >= 10 and float(np.ptp(end)) <= _SPREAD * abs(middle)
    return near or still


def _divided(weighted: Series, beta: Series) -> Series:
    """Values over the beta of their step; where beta is 0 nothing can be told."""
    by = np.interp(weighted.steps, beta.steps, beta.values)
    kept = weighted.where(by > _LEAST_BETA)
    return replace(kept, values=kept.values / by[by > _LEAST_BETA])
