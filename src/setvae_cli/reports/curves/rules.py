"""Rules that judge curves: each is a pure function that names its rule, its figures and a mend.

A rule that lacks its curves, or whose answer cannot be read off them, says `unknown` and why.
"""

from __future__ import annotations

from collections.abc import Sequence

from setvae_cli.numbers import count
from setvae_cli.reports.curves.collapse import collapse
from setvae_cli.reports.curves.diagnosis import Diagnosis
from setvae_cli.reports.curves.readings import significant
from setvae_cli.reports.curves.series import Curves, Series
from setvae_cli.reports.curves.summary import best
from setvae_cli.reports.curves.trouble import instability, level_from

RISE, BETTER_AUC, WEAK_AUC = 0.1, 0.02, 0.6
LEAST_VALIDATIONS = 4
QUICK_BETA = 0.02
TERMS = (
    ("recon", "reconstruction"),
    ("pred", "prediction"),
    ("forecast", "the forecast"),
    ("masked", "hidden values"),
    ("coles", "the contrastive loss"),
)


def diagnose(run: Curves) -> tuple[Diagnosis, ...]:
    """Every rule, the collapse of the posterior first."""
    return (
        collapse(run),
        over_fitting(run),
        unstable(run),
        stagnation(run),
        classification(run),
        warm_up(run),
    )


def over_fitting(run: Curves) -> Diagnosis:
    """Training still falls while validation rises again, or its AUROC falls."""
    name = "over-fitting"
    rule = (
        f"a validation term ends {100 * RISE:.0f} % of its fall above its lowest while training "
        f"went on falling, or AUROC ends {BETTER_AUC} below its best, over three validations"
    )
    found: list[str] = []
    judged = False
    for word, label in TERMS:
        val, train = run.get(f"val_{word}"), run.get(f"train_{word}_epoch", f"train_{word}_step")
        if val is not None and train is not None and len(val) >= LEAST_VALIDATIONS:
            judged = True
            found += _risen(label, val, train)
    auc = run.get("val_auc")
    if auc is not None and len(auc) >= LEAST_VALIDATIONS:
        judged = True
        found += _fallen_auc(auc)
    if found:
        mend = "stop early (--patience), more --weight-decay or --dropout, or a smaller model"
        return Diagnosis(name, "found", "; ".join(found), rule, mend)
    if not judged:
        return Diagnosis(name, "unknown", f"fewer than {LEAST_VALIDATIONS} validations", rule)
    return Diagnosis(name, "clear", "validation follows training", rule)


def unstable(run: Curves) -> Diagnosis:
    """The loss of training jumps, diverges, or is no number."""
    name = "instability"
    rule = (
        "values that are no numbers, 3 jumps or more of 10 times the scatter around a running "
        "median, or an end halfway back to the start"
    )
    series = run.series.get("train_loss_step") or run.series.get("train_loss_epoch")
    if series is None or len(series) < 10:
        return Diagnosis(name, "unknown", "fewer than 10 logged values of the loss", rule)
    finding = instability(series)
    if finding:
        mend = "a lower --lr, a smaller --gradient-clip-val, or check the preparation of the data"
        return Diagnosis(name, "found", finding, rule, mend)
    return Diagnosis(name, "clear", "no jumps of the training loss", rule)


def stagnation(run: Curves) -> Diagnosis:
    """The loss never fell, or validation gained nothing in the second half of the run."""
    name = "stagnation"
    rule = (
        "the training loss fell by less than twice its scatter, or validation is no better after "
        "the first half of the run"
    )
    train = run.training("loss")
    auc, loss = run.get("val_auc"), run.get("val_loss")
    level = level_from(train) if train is not None and len(train) >= LEAST_VALIDATIONS else None
    if level:
        mend = "another --lr (three times up, then down), and check the data and labels"
        return Diagnosis(name, "found", level, rule, mend)
    chosen = auc if auc is not None else loss
    if chosen is None or len(chosen) < 2 * LEAST_VALIDATIONS:
        if train is None or len(train) < LEAST_VALIDATIONS:
            return Diagnosis(name, "unknown", "too few logged values", rule)
        return Diagnosis(name, "clear", "the training loss fell", rule)
    word = "AUROC" if auc is not None else "loss"
    step = best(chosen, lowest=auc is None).best_step  # type: ignore[union-attr]
    if 2 * step < chosen.steps[0] + chosen.steps[-1]:
        text = f"validation {word} is best at step {count(step)} of {count(chosen.steps[-1])}"
        mend = "a shorter run, a lower --lr at the end, or a larger model"
        return Diagnosis(name, "found", f"{text}, and no better since", rule, mend)
    return Diagnosis(name, "clear", f"validation {word} is best at step {count(step)}", rule)


def classification(run: Curves) -> Diagnosis:
    """Validation AUROC stays near guessing."""
    name = "poor classification"
    rule = f"best validation AUROC under {WEAK_AUC} (0.5 is guessing)"
    auc = best(run.get("val_auc"))
    if auc is None:
        return Diagnosis(name, "unknown", "the log holds no validation AUROC", rule)
    finding = f"best validation AUROC {auc.best:.3f} at step {count(auc.best_step)}"
    if auc.best < WEAK_AUC:
        mend = "check the labels; raise --pred-weight, or --lr in fine-tuning"
        return Diagnosis(name, "found", finding, rule, mend)
    return Diagnosis(name, "clear", finding, rule)


def warm_up(run: Curves) -> Diagnosis:
    """Beta should rise from 0 to its largest value, and not too fast."""
    name = "beta warm-up"
    rule = f"beta reaches its largest value within {100 * QUICK_BETA:.0f} % of the run"
    beta = run.get("train_beta_step", "train_beta_epoch", "val_beta")
    if beta is None or len(beta) < LEAST_VALIDATIONS:
        return Diagnosis(name, "unknown", "the log holds no beta", rule)
    largest = float(beta.values.max())
    if largest <= 0:
        return Diagnosis(name, "clear", "beta is 0: a plain autoencoder, KL is not weighed", rule)
    full = int(beta.steps[(beta.values >= 0.999 * largest).argmax()])
    share = full / max(1, int(beta.steps[-1]))
    at = f"step {count(full)}, {100 * share:.0f} % of the run"
    finding = f"beta reaches {significant(largest)} at {at}"
    if share < QUICK_BETA:
        return Diagnosis(name, "found", finding, rule, "a longer --beta-warmup")
    return Diagnosis(name, "clear", finding, rule)


def _risen(label: str, val: Series, train: Series) -> Sequence[str]:
    """A validation term that rose again by a share of its fall while training fell."""
    lowest = int(val.values.argmin())
    fall = float(val.values[0] - val.values[lowest])
    behind = val.values[lowest + 1 :]
    if len(behind) < 3 or fall <= 0:
        return ()
    rise = float(behind[-3:].min() - val.values[lowest])
    at = int(val.steps[lowest])
    then = train.values[train.steps <= at]
    went_on = bool(len(then)) and train.values[-3:].mean() < then[-3:].mean()
    if rise <= RISE * fall or not went_on:
        return ()
    low, end = significant(float(val.values[lowest])), significant(float(val.values[-1]))
    return (f"validation {label} rose from {low} at step {count(at)} to {end}, training fell",)


def _fallen_auc(auc: Series) -> Sequence[str]:
    top = float(auc.values.max())
    behind = auc.values[int(auc.values.argmax()) + 1 :]
    if len(behind) < 3 or top - float(behind[-3:].max()) <= BETTER_AUC:
        return ()
    at = count(int(auc.steps[auc.values.argmax()]))
    return (f"validation AUROC fell from {top:.3f} at step {at} to {auc.values[-1]:.3f}",)
