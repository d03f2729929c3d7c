"""The watch over posterior collapse in one run: looks, verdicts, and what is done about them.

    training batches -> window, every so many steps --> verdict of `train`: warns early
    validation       -> all measurements            --> verdict of `val`: decides, and acts

Its state is in every checkpoint; on several ranks all of them hold the same verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import weights_at
from setvae_cli.monitor.actions import CHANGED, Actions
from setvae_cli.monitor.check import Check
from setvae_cli.monitor.measures import Measures
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.online import OnlineWindow
from setvae_cli.monitor.verdict import Judge, Verdict
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.monitor import OnCollapse
from setvae_cli.settings.objective import ObjectiveSettings
from setvae_cli.training import ranks
from setvae_cli.training.records import Checked

EXCHANGED_SUBJECTS = 32  # of a validation, whose latents are exchanged
# What building objects of plain values that are none of ours may end in.
_ODD = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


class CollapseWatch:
    """Looks at the posteriors of a run, judges them, and keeps the objective of now.

    Args:
        settings: Of the run.
        header: Knows planned steps.
        model: In training.

    Attributes:
        objective: The run's, with what actions changed.
        stops: Whether an action asked to end the run.
    """

    def __init__(self, settings: TrainSettings, header: Header, model: SeqSetVAE) -> None:
        monitor, planned = settings.monitor, header.planned_steps
        self._given, self._header = settings.objective, header
        self.objective = settings.objective
        self._pictures = monitor.pictures_every(planned)
        self._levels = len(model.latents.posterior)
        self._window = OnlineWindow(
            model,
            free_bits=self.objective.free_bits,
            every=monitor.looks_every(planned),
            everyones=ranks.everyones,
            alone=lambda: ranks.count() == 1,
        )
        looks = monitor.monitor_window
        self._judges = {"val": Judge(looks), "train": Judge(looks)}
        self._actions = Actions(monitor.on_collapse)
        self._pictured = 0

    @property
    def stops(self) -> bool:
        """Whether the run was asked to end, and still is."""
        return self._actions.stops

    def kept_at(self, step: int) -> bool:
        """Whether the last that was asked for is a checkpoint of this step."""
        taken = self._actions.taken
        return bool(taken) and (taken[-1].kind, taken[-1].step) == ("checkpoint", step)

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """What validation said last, one a level."""
        return self._judges["val"].verdicts(0)

    def see(self, model: SeqSetVAE, batch: SetBatch, output: Output, step: int) -> None:
        """Look at a training batch of a step, counted from 0."""
        self._window.see(model, batch, output, step)

    def end_step(self, *, good: bool) -> None:
        """A step is done, or was skipped."""
        if good:
            self._window.end_step()
        else:
            self._window.skip_step()

    def look(self, step: int, epoch: int, *, picture: bool) -> Checked | None:
        """Behind a step: judge what was seen of training, if it is time.

        Args:
            step, epoch: Steps done, and the epoch of the last, from 1.
            picture: Whether there may be a picture of it.
        """
        if not self._window.is_due(step):
            return None
        self._window.free_bits = self.objective.free_bits
        measures = self._window.check()
        if measures is None:
            return None
        verdicts = self._judge("train", measures, step)
        picture = picture and self._is_picture_due(step)
        return Checked(step, epoch, "train", measures, verdicts, self.objective, picture=picture)

    def metrics(self, model: SeqSetVAE, subjects: int) -> Metrics:
        """For a validation of so many subjects."""
        share = min(1.0, EXCHANGED_SUBJECTS / max(subjects, 1))
        return Metrics.of(model, free_bits=self.objective.free_bits, exchanged=share)

    def validated(self, metrics: Metrics, step: int, epoch: int) -> Checked | None:
        """Judge a validation, and act on it; None where it saw nothing."""
        if ranks.count() > 1:
            first, *others = ranks.everyones(metrics.state())
            metrics = Metrics.from_state(first, metrics.device)
            for other in others:
                metrics.merge(Metrics.from_state(other, metrics.device))
        measures = metrics.result()
        if measures is None:
            return None
        verdicts = self._judge("val", measures, step)
        action = self._actions.ask(verdicts, self.objective)
        self.objective = self._actions.objective(self._given)
        picture = self._is_picture_due(step)
        return Checked(step, epoch, "val", measures, verdicts, self.objective, action, picture)

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {
            "window": self._window.state(),
            "judges": {split: judge.state() for split, judge in self._judges.items()},
            "actions": self._actions.state(),
            "given": _changeable(self._given),
            "pictured": self._pictured,
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` described; settings that were given anew undo what was done.

        Raises:
            ValueError: It is not the state of a watch over this model.
        """
        try:
            self._load(state)
        except _ODD as error:
            raise ValueError("the watch over the posterior is not one of this model") from error

    def _load(self, state: Mapping[str, Any]) -> None:
        if state["window"] is not None:
            self._window.load(state["window"])
        for split, judge in self._judges.items():
            memories = state["judges"][split]
            if not memories.keys() <= {str(level + 1) for level in range(self._levels)}:
                raise ValueError("a verdict is of no level of this model")
            self._judges[split] = Judge.from_state(memories, judge.window)
        self._actions = actions_of(state, self._given, self._actions.kind)
        self.objective = self._actions.objective(self._given)
        self._pictured = int(state["pictured"])

    def _is_picture_due(self, step: int) -> bool:
        if step - self._pictured < self._pictures:
            return False
        self._pictured = step
        return True

    def _judge(
        self, split: Literal["val", "train"], measures: Measures, step: int
    ) -> tuple[Verdict, ...]:
        planned = self._header.warm_up_steps
        beta = weights_at(step, planned, self.objective).beta
        check = Check.of(
            measures.levels, step=step, planned=planned, beta=beta, target=self.objective.max_beta
        )
        return self._judges[split].observe(check)


def actions_of(state: Mapping[str, Any], given: ObjectiveSettings, kind: OnCollapse) -> Actions:
    """What was done in a run so far, less what was done to settings that were given anew.

    Args:
        state: Of the watch, from a checkpoint.
        given: Objective as it is set to now.
        kind: What to ask for from now on.

    Raises:
        ValueError: None of ours is in such a state.
    """
    actions = Actions.from_state(state["actions"], kind)
    for name, value in _changeable(given).items():
        if value != state["given"][name]:
            actions.forget(name)
    return actions


def asleep(state: Mapping[str, Any], given: ObjectiveSettings, kind: OnCollapse) -> dict[str, Any]:
    """The state of a watch that is off for a part of the run: what it did is not undone by that."""
    actions = actions_of(state, given, kind).state()
    return {**state, "window": None, "actions": actions, "given": _changeable(given)}


def _changeable(objective: ObjectiveSettings) -> dict[str, float]:
    return {name: getattr(objective, name) for name in CHANGED}
