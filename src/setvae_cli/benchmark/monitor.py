"""`python -m setvae_cli.benchmark.monitor`: what the watch over posteriors costs a training run.

A training step, a look at training batches, and validations with and without measurements take
turns on the same batches; a picture is drawn in a process of its own. From their medians follows
the share of a run's time at each cadence.
"""

from __future__ import annotations

import argparse
import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import torch

from setvae_cli.benchmark.clock import Version, interleave, timed
from setvae_cli.benchmark.program import Parser, catch_signals, count, guard
from setvae_cli.benchmark.step import TrainingStep
from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.classifier import vae_of
from setvae_cli.evaluation.sweep import Sweep
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.online import OnlineWindow
from setvae_cli.nn.seq_set_vae import Output
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.cache import prepared
from setvae_cli.training.collapse import EXCHANGED_SUBJECTS
from setvae_cli.training.part import Part
from setvae_cli.training.prepared import Prepared, prepare_run
from setvae_cli.training.team import Team

PROGRAM = "python -m setvae_cli.benchmark.monitor"
KEPT_BATCHES, STEPS_A_VISIT, LONG_RUN = 24, 12, 100_000
CADENCES = {"default": {}, "--fast-detection": {"fast_detection": True}}
DRAW = """
import pickle, sys, time
from statistics import median
from setvae_cli.reports.posterior import posterior_figure
measures = pickle.load(open(sys.argv[1], "rb"))
def draw():
    began = time.perf_counter()
    posterior_figure(measures, title="a title", footer="a footer")
    return time.perf_counter() - began
draw()
print(median(draw() for _ in range(5)))
"""


@dataclass(frozen=True)
class Cost:
    """What the watch costs at one cadence.

    Attributes:
        cadence: How it is asked for.
        steps: Of the run.
        look_every, picture_every, validation_every: Optimizer steps.
        look_share, validation_share, picture_share: Of the time of training steps.
    """

    cadence: str
    steps: int
    look_every: int
    picture_every: int
    validation_every: int
    look_share: float
    validation_share: float
    picture_share: float

    @property
    def share(self) -> float:
        """All three together."""
        return self.look_share + self.validation_share + self.picture_share


@dataclass(frozen=True)
class Seconds:
    """Medians: an optimizer step, a look, what a validation takes longer, a picture."""

    step: float
    look: float
    validation: float
    measured: float
    picture: float


def measure(run: Prepared, rounds: int, folder: Path, say: Callable[[str], None]) -> Seconds:
    """Time all parts, each in turn.

    Args:
        run: What would be trained.
        rounds: Turns of each part.
        folder: For what the drawing process reads.
        say: Is told what is done.
    """
    parts = _Parts(run)
    works = {
        "step": parts.step,
        "look": parts.look,
        "validation": parts.validation,
        "validation with measurements": parts.measured,
    }
    versions = [
        Version(name, lambda work=work: timed(work, run.machine.device), 1.0, 1e9)  # type: ignore[misc]
        for name, work in works.items()
    ]
    visits = interleave(
        versions, rounds, 1e9, say=lambda name, done, of: say(f"{name} {done}/{of}")
    )
    step, look, plain, measured = (median(v.seconds for v in mine) for mine in visits)
    assert parts.found is not None
    picture = _picture(parts.found, folder)
    return Seconds(step / STEPS_A_VISIT, look, plain, measured - plain, picture)


def costs(run: Prepared, seconds: Seconds) -> list[Cost]:
    """Shares at each cadence, in a long run and in one of the planned length."""
    found = []
    epoch = -(-run.planned.steps // run.planned.epochs)
    for steps in (LONG_RUN, run.planned.steps):
        for name, given in CADENCES.items():
            monitor = run.settings.monitor.model_copy(update=given)
            look, picture = monitor.looks_every(steps), monitor.pictures_every(steps)
            found.append(
                Cost(
                    cadence=name,
                    steps=steps,
                    look_every=look,
                    picture_every=picture,
                    validation_every=epoch,
                    look_share=seconds.look / (look * seconds.step),
                    validation_share=seconds.measured / (epoch * seconds.step),
                    picture_share=seconds.picture / (picture * seconds.step),
                )
            )
    return found


class _Parts:
    """The parts of a run that are timed, each on the same batches."""

    def __init__(self, run: Prepared) -> None:
        self._run = run
        settings, accumulation = run.settings, run.settings.loader.gradient_accumulation_steps
        self._model = model = vae_of(run.model).to(run.machine.device)
        sets = run.header.sets_per_subject
        self._step = TrainingStep(
            model, settings, classes=run.header.classes, sets_per_subject=sets, machine=run.machine
        )
        batches = islice(iter(run.data.train_dataloader()), KEPT_BATCHES)
        self._kept = [batch.to(model.history.norm.weight.device) for batch in batches]
        self._next: Iterator[SetBatch] = cycle(self._kept)
        self._micro = STEPS_A_VISIT * accumulation
        self._outputs: list[tuple[SetBatch, Output]] = []
        with torch.no_grad(), run.machine.autocast():
            self._outputs = [(batch, model(batch, noise_seed=0)) for batch in self._kept]
        self._window = OnlineWindow(model, free_bits=0.0, every=1)
        self._validation = list(run.data.val_dataloader())
        self.found: Measures | None = None

    def step(self) -> tuple[int, int]:
        elements = 0
        for batch in islice(self._next, self._micro):
            self._step(batch)
            elements += batch.plan.elements
        return elements, 0

    def look(self) -> tuple[int, int]:
        for batch, output in self._outputs:
            self._window.see(self._model, batch, output, 0)
            self._window.end_step()
        found = self._window.check()
        assert found is not None
        return 0, 0

    def validation(self) -> tuple[int, int]:
        self._sweep(None)
        return 0, 0

    def measured(self) -> tuple[int, int]:
        share = min(1.0, EXCHANGED_SUBJECTS / len(self._run.data.validation))
        metrics = Metrics.of(self._model, exchanged=share)
        self._sweep(metrics)
        self.found = metrics.result()
        return 0, 0

    def _sweep(self, metrics: Metrics | None) -> None:
        model = self._model.eval()
        sweep = Sweep(model, self._run.settings.objective, self._run.header.classes, metrics)
        with torch.no_grad(), self._run.machine.autocast():
            for batch in self._validation:
                sweep.add(batch.to(model.history.norm.weight.device))
        model.train()


def _picture(measures: Measures, folder: Path) -> float:
    path = folder / "measures"
    path.write_bytes(pickle.dumps(measures))
    done = subprocess.run(
        [sys.executable, "-c", DRAW, str(path)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print its result.

    Args:
        arguments: Of the command line; None: this process's.

    Returns:
        The exit status, as `guard` has it.
    """
    catch_signals()
    return guard(PROGRAM, lambda: _run(_parser().parse_args(arguments)), _say)


def _run(asked: argparse.Namespace) -> None:
    settings = TrainSettings.from_flat({"data": asked.data})
    with tempfile.TemporaryDirectory(prefix="setvae-monitor-") as name:
        folder = Path(name)
        given = None if asked.data is None else Path(asked.data)
        store = prepared(
            given,
            settings.source,
            settings.store,
            folder / "cache",
            sink=lambda record: None,
            workers=None,
        )
        run = prepare_run(settings, store, None, Team(Part()))
        with run.machine.computing():
            seconds = measure(run, asked.rounds, folder, _say)
    found = costs(run, seconds)
    if asked.json:
        plain = {"seconds": asdict(seconds), "costs": [asdict(cost) for cost in found]}
        sys.stdout.write(json.dumps(plain, indent=2) + "\n")
    else:
        sys.stdout.write("\n".join(_table(seconds, found)) + "\n")


def _table(seconds: Seconds, found: Sequence[Cost]) -> list[str]:
    lines = [
        f"step {1e3 * seconds.step:.1f} ms   look {1e3 * seconds.look:.1f} ms   picture "
        f"{1e3 * seconds.picture:.0f} ms   validation {seconds.validation:.2f} s, "
        f"measured {seconds.measured:+.2f} s",
        "cadence            steps  look  picture  looks  validations  pictures   all",
    ]
    lines += [
        f"{cost.cadence:<16}{cost.steps:>8}{cost.look_every:>6}{cost.picture_every:>9}"
        f"{cost.look_share:>7.2%}{cost.validation_share:>13.2%}{cost.picture_share:>10.2%}"
        f"{cost.share:>7.2%}"
        for cost in found
    ]
    return lines


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


def _parser() -> Parser:
    parser = Parser(prog=PROGRAM, description=__doc__.partition("\n\n")[0])
    parser.add_argument("--data", help="a store, or raw input; default: the built-in cohort")
    parser.add_argument("--rounds", type=count, default=7, help="turns of each part")
    parser.add_argument("--json", action="store_true", help="print records")
    return parser


if __name__ == "__main__":
    sys.exit(main())
