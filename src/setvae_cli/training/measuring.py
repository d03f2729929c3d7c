"""The test split, read once: at the end of a run, with the checkpoint that validation chose."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from setvae_cli.encoders.classifier import Model
from setvae_cli.evaluation.measured_split import groups_of
from setvae_cli.evaluation.measures import LevelPosterior, Metric
from setvae_cli.evaluation.metrics import measure
from setvae_cli.evaluation.sweep import Swept, sweep
from setvae_cli.losses.objective import weights_at
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.verdict import Verdict
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import load_model
from setvae_cli.store.reader import Store
from setvae_cli.training.measured import metric_tag
from setvae_cli.training.prepared import Prepared
from setvae_cli.training.records import Result
from setvae_cli.training.scalars import ScalarLog

# Of a run that reads no labels, what its closing table shows.
LOSSES = ("loss", "forecast", "masked", "coles", "recall_1", "recall_5", "recall_20", "recon", "kl")


@dataclass(frozen=True)
class Ended:
    """How training ended.

    Attributes:
        epochs, steps: How far it went.
        reason: Why it ended, one clause.
        began: When the command began, on the monotonic clock, seconds.
        verdicts: What the watch over its posteriors said last; empty without one.
    """

    epochs: int
    steps: int
    reason: str
    began: float
    verdicts: tuple[Verdict, ...] = ()


def measure_test(
    run: Prepared,
    store: Store,
    folder: RunFolder,
    log: ScalarLog,
    check: Callable[[], None],
    ended: Ended,
) -> Result:
    """Measure the chosen checkpoint on the test split.

    Args:
        run: What was trained.
        store: Its data, whose groups (patients) an interval draws whole.
        folder: Its checkpoints.
        log: Receives the scalars.
        check: Raises where the data turned out bad; waits until all of them were looked at.
        ended: How training ended.
    """
    chosen, reads_labels = folder.best(), run.settings.objective.has("joint")
    best = chosen[0].path if chosen else folder.best_or_last()
    swept, measures = _sweep_test(run, load_model(best, run.encoder).model.to(run.machine.dtype))
    metrics = measure(
        swept.logits,
        swept.labels,
        swept.label_mask,
        tasks=run.header.tasks,
        classes=run.header.classes,
        groups=groups_of(store, swept.rows),
        seed=run.settings.run.seed,
    )
    check()
    steps, epochs = ended.steps, ended.epochs
    if chosen and chosen[0].measure == "auc":
        log.write(steps, epochs, {"hp_metric": chosen[0].value})
    log.write(
        steps, epochs, _test_scalars(swept, metrics, measures)
    )  # last: it says that all is done
    return Result(
        run=str(folder.path),
        best=str(best),
        chosen_by=f"val_{chosen[0].measure}" if chosen else "val_loss",
        split="test",
        metrics=metrics,
        losses={} if reads_labels else {n: swept.scalars[n] for n in LOSSES if n in swept.scalars},
        posterior=_posterior(measures, ended.verdicts),
        verdicts=ended.verdicts,
        epochs=epochs,
        steps=steps,
        seconds=time.monotonic() - ended.began,
        stopped=ended.reason,
    )


def _sweep_test(run: Prepared, model: Model) -> tuple[Swept, Measures | None]:
    weights = weights_at(
        run.header.planned_steps,
        run.header.planned_steps,
        run.settings.objective,
        evaluating=True,
    )
    model = model.to(run.machine.device)
    objective, metrics = run.settings.objective, None
    if objective.has("elbo") and isinstance(model, SeqSetVAE):
        metrics = Metrics.of(model, free_bits=objective.free_bits, thorough=False)
    swept = sweep(
        model,
        run.data.evaluated("test", whole=objective.sees_whole),
        objective,
        run.header.classes,
        weights=weights,
        sets_per_subject=run.header.sets_per_subject,
        autocast=run.machine.autocast(),
        metrics=metrics,
        class_weights=run.header.class_weights,
    )
    return swept, None if metrics is None else metrics.result()


def _posterior(
    measures: Measures | None, verdicts: tuple[Verdict, ...]
) -> tuple[LevelPosterior, ...]:
    if measures is None:
        return ()
    states = {verdict.level: verdict.state for verdict in verdicts}
    return tuple(
        LevelPosterior(
            level=one.level,
            kl_nats=one.kl,
            floor=one.floor,
            active=one.active,
            latent=one.latent,
            sets=one.sets,
            verdict=states.get(one.level, ""),
        )
        for one in measures.levels
    )


def _test_scalars(
    swept: Swept, metrics: tuple[Metric, ...], measures: Measures | None
) -> dict[str, float]:
    found = {f"test_{name}": value for name, value in swept.scalars.items()}
    if "loss" not in swept.scalars:
        found["test_labelled"] = float(swept.label_mask.sum())  # nothing else may be left to say
    tasks = tuple(dict.fromkeys(metric.task for metric in metrics))
    for metric in metrics:
        if metric.value is not None:
            found[metric_tag("test", metric, tasks)] = metric.value
    for level in () if measures is None else measures.levels:
        found[f"test_kl_level_{level.level}"] = level.kl
        found[f"test_active_units_level_{level.level}"] = float(level.active)
    return found
