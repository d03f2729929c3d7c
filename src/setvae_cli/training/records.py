"""What a training run tells its listener: small values that `cli/output.py` renders.

    RunStarted -> ((Progress | Checked)* Validated)* -> Stopped -> Result
                                                     -> Stopping -> Saved

A listener is any function of one argument; training calls it from its own thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from setvae_cli.evaluation.measures import LevelPosterior, Metric
from setvae_cli.monitor.actions import Action
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.settings.objective import ObjectiveSettings


@dataclass(frozen=True)
class RunStarted:
    """The head of a run, lines ready to print.

    Attributes:
        run: The run's folder, as the person can type it.
        data: Source, codes, subjects a split, positive share.
        model: Preset, parameters, latents, decoder.
        machine: Cores, GPU, precision, workers.
        batches: With a budget of elements: the budget, subjects a batch on average and their
            range, batches an epoch. Empty with a fixed number of subjects.
        loaded: In fine-tuning: weights of the trained model, those missing and mismatched.
        learnt: In fine-tuning: that the trained model comes from other data, and what follows.
    """

    run: str
    data: str
    model: str
    machine: str
    batches: str = ""
    loaded: str = ""
    learnt: str = ""


@dataclass(frozen=True)
class Progress:
    """Where training is; sent a few times a second at most.

    Attributes:
        epoch, epochs: The epoch being run, from 1, and how many are planned.
        batch, batches: Micro-batches done in this epoch, and how many it has.
        step, steps: Optimizer steps done, and planned.
        elements_per_s: Elements trained a second, since the last record.
        loss: Mean loss of the last logged steps; None before the first.
        auc: AUROC of the last validation; None before it, or where it is absent.
        seconds_left: Estimate until the planned end, seconds; None before the first.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    step: int
    steps: int
    elements_per_s: float
    loss: float | None
    auc: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Validated:
    """One validation of the averaged weights.

    Attributes:
        epoch: Epoch it belongs to, from 1.
        step: Optimizer steps done.
        scalars: Tag (`val_loss`, `val_auc`, ...) to value; an absent metric has no entry.
        absent: Tag of an absent metric to the reason.
        best: Whether this is the best validation so far.
    """

    epoch: int
    step: int
    scalars: Mapping[str, float]
    absent: Mapping[str, str] = field(default_factory=dict)
    best: bool = False


@dataclass(frozen=True)
class Checked:
    """One look at the posteriors.

    Attributes:
        step: Optimizer steps done.
        epoch: Epoch it belongs to, from 1.
        split: `val`, which decides, or `train`, the window over training batches.
        measures: What was found.
        verdicts: One a level.
        objective: From now on, with what actions changed.
        action: What was done about a collapse; None: nothing was due.
        picture: Whether a picture of it is due.
    """

    step: int
    epoch: int
    split: Literal["val", "train"]
    measures: Measures
    verdicts: tuple[Verdict, ...]
    objective: ObjectiveSettings
    action: Action | None = None
    picture: bool = False


@dataclass(frozen=True)
class Stopping:
    """A signal arrived; the step that is on is finished first.

    Attributes:
        signal: Its number.
    """

    signal: int


@dataclass(frozen=True)
class Saved:
    """A checkpoint was saved beside those of validations.

    Attributes:
        checkpoint: Name of the file.
        why: A signal or an exception stops the run, or a level collapsed and it goes on.
    """

    checkpoint: str
    why: Literal["signal", "exception", "collapse"]


@dataclass(frozen=True)
class Stopped:
    """Training ended.

    Attributes:
        reason: One clause: "10 epochs done", or "no better val_auc for 5 validations".
        early: Whether steps were planned that did not run.
    """

    reason: str
    early: bool


@dataclass(frozen=True)
class Result:
    """What a run achieved: the closing table.

    Attributes:
        run: The run's folder, as the person can type it.
        best: The checkpoint that was measured, as the person can type it.
        chosen_by: What chose it: `val_auc`, or `val_loss` where AUROC is absent.
        split: The split that was measured.
        metrics: AUROC, AUPRC and accuracy a task, with intervals; absent ones carry a reason.
        posterior: One entry a level; none without an elbo.
        verdicts: What the watch over the run said last, one a level; empty without a watch.
        epochs, steps: How far training went.
        seconds: Wall-clock seconds of the whole run.
        stopped: Why training ended.
        losses: Of a run that reads no labels, its losses on that split; else empty.
    """

    run: str
    best: str
    chosen_by: str
    split: str
    metrics: tuple[Metric, ...]
    posterior: tuple[LevelPosterior, ...]
    verdicts: tuple[Verdict, ...]
    epochs: int
    steps: int
    seconds: float
    stopped: str
    losses: Mapping[str, float] = field(default_factory=dict)
