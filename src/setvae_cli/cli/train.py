"""`setvae train`: a store, or raw events, to a trained and measured model."""

from __future__ import annotations

from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.collapse_view import CollapseView
from setvae_cli.cli.output import Line, Output
from setvae_cli.cli.processes import counted_devices, follows, team_of
from setvae_cli.cli.slurm import requeued_when_asked
from setvae_cli.errors import SettingsError, placed
from setvae_cli.settings.command import FinetuneSettings, TrainSettings

if TYPE_CHECKING:
    from setvae_cli.evaluation.measures import LevelPosterior, Metric
    from setvae_cli.store.reader import Store
    from setvae_cli.training.records import Progress, Result, Validated
    from setvae_cli.training.resumption import Resumption
    from setvae_cli.training.team import Team

SHOWN = {"auroc": "AUROC", "auprc": "AUPRC", "accuracy": "accuracy"}
LOSS_UNITS = {
    "forecast": "nats a subject",
    "masked": "nats a hidden value",
    "coles": "a slice",
    "recon": "nats a set",
    "kl": "nats a set",
}
UNJUDGED = {"": "not watched", "warming": "not judged"}
LEFT_WIDTH = 32


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, TrainSettings, run)


def run(settings: TrainSettings, output: Output) -> None:
    """Train a set VAE on a store, on raw events, or on the built-in cohort.

    Every option can also stand in a YAML file (--config) or in the environment, as
    SETVAE_BATCH_SIZE for --batch-size. An option wins over the environment, the environment over
    the file, the file over the preset, and all of them over what --objective forecast brings
    (--print-config shows it).
    """
    if went_on(settings, output):
        return
    with requeued_when_asked(settings.run.requeue, output):
        if settings.data is None:
            subjects = numbers.count(settings.source.subjects)
            output.say(
                f"No --data: training on the built-in simulated cohort ({subjects} subjects)."
            )
            output.say("Your own data: setvae precompute --help")
            output.say()
        train(settings, output)


def went_on(settings: TrainSettings, output: Output) -> bool:
    """Whether nothing is left to begin: a run was gone on with, or another process leads.

    Raises:
        SettingsError: Both ways of going on are asked for.
    """
    if settings.resume == "auto" and settings.resume_from_checkpoint:
        what = "is given together with --resume auto"
        raise SettingsError(what, where="--resume-from-checkpoint", mend="keep one of them")
    resumes = settings.resume == "auto" or settings.resume_from_checkpoint is not None
    if follows(settings, output, resumes=resumes):
        return True
    started = settings.resume_from_checkpoint or _started(settings)
    if started:
        from setvae_cli.cli.resume import go_on

        go_on(started, settings, output)
    return bool(started)


def _started(settings: TrainSettings) -> Path | None:
    """With --resume auto the latest run of this name that has a checkpoint, if there is one."""
    if settings.resume != "auto":
        return None
    from setvae_cli.runs.folder import latest

    found = latest(settings.run.output_dir, settings.run.name)
    return found.path if found and found.all_checkpoints() else None


def train(settings: TrainSettings, output: Output, resumption: Resumption | None = None) -> None:
    """Train, or go on training, and show the closing table."""
    options.check_workers("--num-workers", settings.loader.num_workers)
    settings = settings.with_devices(counted_devices(settings))
    team = team_of(settings, output)
    if settings.loader.use_dynamic_padding:
        output.warn("--use-dynamic-padding has no effect: batches are ragged, nothing is padded")
    if settings.loader.max_elements_per_batch and "batch_size" in settings.loader.model_fields_set:
        output.warn("--batch-size has no effect: --max-elements-per-batch fills batches")
    _warn_of_no_watch(settings, output)
    view = TrainingView(settings, output)
    result = _fit(settings, output, resumption, team, view)
    if result is None:
        assert resumption is not None
        lines: list[Line] = [*_nothing_to_do(resumption)]
        _conclude(settings, resumption.run.path, lines, {"complete": True}, output)
        return
    lines = [*closing_table(result), *view.posterior.closing(result.verdicts)]
    _conclude(settings, Path(result.run), lines, asdict(result), output)
    output.next(_next(settings, result))


def _next(settings: TrainSettings, result: Result) -> str:
    """The command for a model without labels, for a classifier, for one that has latents too."""
    if result.losses:
        return f"setvae finetune {result.run}"
    if not isinstance(settings, FinetuneSettings):
        return f"setvae visualize {result.run}"
    encoder = settings.tuning.encoder
    return f"setvae evaluate {result.run}" + (f" --encoder {encoder}" if encoder else "")


def _conclude(
    settings: TrainSettings, run: Path, lines: list[Line], data: dict[str, Any], output: Output
) -> None:
    """Show the result; behind fine-tuning what else could be used is measured beside it."""
    if isinstance(settings, FinetuneSettings) and settings.comparison.compare:
        from setvae_cli.cli.comparing import beside

        beside(settings, run, lines, data, output)
    else:
        output.result(lines, data)


def _warn_of_no_watch(settings: TrainSettings, output: Output) -> None:
    monitor, objective = settings.monitor, settings.objective
    unwatched = not objective.has("elbo")
    tuned = isinstance(settings, FinetuneSettings)
    foreign = isinstance(settings, FinetuneSettings) and settings.tuning.encoder is not None
    if unwatched and not foreign:  # an encoder of others has no posterior
        why = "the loss" if tuned else f"--objective {objective.objective}"
        output.say(f"The posterior is not watched: {why} has no KL.")
    if not unwatched and not monitor.disable_metrics_monitoring:
        return
    why = "no elbo" if unwatched else "--disable-metrics-monitoring"
    given = {
        "--on-collapse": monitor.on_collapse != "warn",
        "--fast-detection": monitor.fast_detection,
    }
    for option in (name for name, is_given in given.items() if is_given):
        output.warn(f"{option} has no effect: {why}, so nobody watches")


def _nothing_to_do(resumption: Resumption) -> list[str]:
    from setvae_cli.training.resumption import was_stopped

    steps = numbers.count(resumption.step)
    if not was_stopped(resumption):
        return [f"Nothing to do: the run is complete at step {steps}."]
    return [
        f"Nothing to do: --on-collapse stop ended the run at step {steps}.",
        "To go on: --on-collapse warn, or another --max-beta or --free-bits.",
    ]


def _fit(
    settings: TrainSettings,
    output: Output,
    resumption: Resumption | None,
    team: Team | None,
    view: TrainingView,
) -> Result | None:
    from setvae_cli.cli.precompute import store_to_train_on

    store = store_to_train_on(settings, output)
    from setvae_cli.training.fit import fit

    if resumption:
        resumption.check(store)
    _warn_of_no_table(settings, store, output)
    with placed(settings.data):
        return fit(settings, store, view, resumption, team)


def _warn_of_no_table(settings: TrainSettings, store: Store, output: Output) -> None:
    """Say before training that what stands behind it is left out."""
    if isinstance(settings, FinetuneSettings) and settings.comparison.compare:
        from setvae_cli.training.compare.material import lacking

        with placed(settings.data):
            why = lacking(settings, store)
        if why is not None:
            output.warn(f"the deciding table is left out: {why}")


class TrainingView:
    """Shows what training reports, record by record.

    Args:
        settings: Of the run.
        output: Where it is shown.

    Attributes:
        posterior: Shows the looks at its posteriors.
    """

    def __init__(self, settings: TrainSettings, output: Output) -> None:
        self._settings, self._output = settings, output
        self._run = ""
        self.posterior = CollapseView(settings, output)

    def __call__(self, record: object) -> None:
        """Show one record; those that only matter to others are passed over."""
        from setvae_cli.training import records

        match record:
            case records.RunStarted():
                self._output.end_progress()
                self._run = record.run
                facts = asdict(record).items()
                self._output.facts((name, value) for name, value in facts if value)
                self._configuration()
                self._output.say()
            case records.Progress():
                head = f"epoch {record.epoch}/{record.epochs}"
                self._output.progress(head, record.batch / record.batches, progress_tail(record))
            case records.Validated():
                if self._output.verbose:
                    self._output.say(validation_line(record))
            case records.Checked():
                folder = self._settings.run.log_dir or Path(self._run)
                self.posterior.show(record, folder / "posterior_metrics", self._run)
            case records.Stopping():
                self._output.end_progress()
                self._output.say("finishing this step ... (again to stop at once)")
            case records.Saved():
                self._output.end_progress()
                self._output.say(f"saved {record.checkpoint}")
                if record.why != "collapse":
                    self._output.say(f"Resume with:  setvae resume {self._run}")
            case records.Stopped():
                self._output.end_progress()
                if record.early:
                    self._output.say(f"Stopped early: {record.reason}.")
                self._output.progress("measuring on test", None, "")

    def _configuration(self) -> None:
        if self._output.verbose:
            sections = (self._settings.loader, self._settings.optimizer, self._settings.run)
            values = {name: v for section in sections for name, v in section.model_dump().items()}
            self._output.say()
            self._output.facts((name, str(value)) for name, value in values.items())


def progress_tail(progress: Progress) -> str:
    """Rate, loss, last validation, time left."""
    parts = [f"{numbers.count(progress.elements_per_s)} el/s"]
    if progress.loss is not None:
        parts.append(f"loss {progress.loss:.2f}")
    if progress.auc is not None:
        parts.append(f"AUC {progress.auc:.2f}")
    if progress.seconds_left is not None:
        parts.append(f"{numbers.clock(progress.seconds_left)} left")
    return "  ".join(parts)


def validation_line(validated: Validated) -> str:
    """One validation in one line, best ones marked."""
    values = [f"{tag.removeprefix('val_')} {v:.4g}" for tag, v in validated.scalars.items()]
    absent = [f"{tag.removeprefix('val_')} n/a" for tag in validated.absent]
    mark = "  (best)" if validated.best else ""
    place = f"validation, epoch {validated.epoch}, step {numbers.count(validated.step)}:"
    return "  ".join([place, *values, *absent]) + mark


def closing_table(result: Result) -> list[str]:
    """Metrics on the left, the posterior on the right, the checkpoint below both."""
    several = len({metric.task for metric in result.metrics}) > 1
    keys = [_metric_key(metric, result.split, several) for metric in result.metrics]
    losses = _losses(result)
    pad = max(map(len, ["accuracy  ", *keys, *(name for name, _ in losses)])) + 2
    values = map(_metric_value, result.metrics)
    left = ["Result", *(f"{key:<{pad}}{value}" for key, value in zip(keys, values, strict=True))]
    left += [f"{name:<{pad}}{told}" for name, told in losses]
    right = ["Posterior", *_posterior_lines(result.posterior)] if result.posterior else []
    width = max(LEFT_WIDTH, *(len(line) + 2 for line in left))
    lines = [f"{a:<{width}}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
    unread = ["no label was read"] if result.losses else []
    return [*lines, *unread, f"{'best':<{pad}}{result.best}"]


def _losses(result: Result) -> list[tuple[str, str]]:
    return [
        (f"{result.split} {name}", f"{value:.3f} {LOSS_UNITS.get(name, '')}".rstrip())
        for name, value in result.losses.items()
    ]


def _metric_key(metric: Metric, split: str, several: bool) -> str:
    name = SHOWN.get(metric.name, metric.name)
    key = name if name == "accuracy" else f"{split} {name}"
    return f"{key} {metric.task}" if several else key


def _metric_value(metric: Metric) -> str:
    if metric.value is None:
        return f"n/a ({metric.reason})"
    interval = "" if metric.low is None else f" [{metric.low:.2f}, {metric.high:.2f}]"
    return f"{metric.value:.3f}{interval}"


def _posterior_lines(levels: tuple[LevelPosterior, ...]) -> list[str]:
    head = f"{'level':<7}{'KL nats':<9}{'floor':<7}{'active':<11}verdict"
    rows = []
    for one in levels:
        active = f"{one.active:>3} / {one.latent}"
        told = UNJUDGED.get(one.verdict, one.verdict)
        rows.append(f"{one.level:>3}{one.kl_nats:>9.1f}{one.floor:>8.1f}  {active:<12}{told}")
    return [head, *rows]
