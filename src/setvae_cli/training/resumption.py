"""A run that goes on: its checkpoint, what changes, and where in its epoch it continues."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from setvae_cli.data.datamodule import SetDataModule
from setvae_cli.encoders.classifier import Model
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.opening import open_encoder
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.numbers import count
from setvae_cli.runs import metrics_log
from setvae_cli.runs.checkpoint import HEADER, STATE, CheckpointContent, Header
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import rebuild
from setvae_cli.runs.resume import Chosen, choose, set_aside
from setvae_cli.runs.settings_file import read_settings, write_settings
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.settings.wording import explain
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary
from setvae_cli.training.changes import Changes, check_data, compare
from setvae_cli.training.collapse import CollapseWatch, actions_of
from setvae_cli.training.header import lasting_settings
from setvae_cli.training.keeper import adopt
from setvae_cli.training.places import as_typed, check_there, from_here, is_place
from setvae_cli.training.position import Position, counted
from setvae_cli.training.scalars import LogState
from setvae_cli.training.selection import Selection

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Resumption:
    """A verified checkpoint and the settings that a run goes on with.

    Attributes:
        chosen: The checkpoint, and those that were refused.
        saved: Settings that it was written with.
        settings: Settings from now on.
        changes: How they differ.
        places: Where its data and folders lie, as `settings.yaml` keeps it.
    """

    chosen: Chosen
    saved: TrainSettings
    settings: TrainSettings
    changes: Changes
    places: Mapping[str, Any]

    @property
    def run(self) -> RunFolder:
        """The run."""
        return self.chosen.run

    @property
    def path(self) -> Path:
        """The checkpoint's file, where it lies now."""
        return self.chosen.content.path

    @property
    def header(self) -> Header:
        """What it says about itself."""
        return self.chosen.content.header

    @property
    def step(self) -> int:
        """Optimizer steps done."""
        return self.chosen.content.step

    @property
    def saved_position(self) -> Position:
        """The micro-batch that came next when it was saved."""
        return Position(self.header.next_epoch or 0, self.header.next_batch or 0)

    @property
    def place(self) -> str:
        """Where in its epoch it was saved, such as "epoch 4, batch 212 of 438"."""
        position, batches = self.saved_position, self.chosen.content.payload[STATE].get("batches")
        if not position.batch:
            return f"epoch {position.epoch} done"
        most = f" of {count(batches)}" if batches else ""
        return f"epoch {position.epoch + 1}, batch {count(position.batch)}{most}"

    @property
    def logs(self) -> LogState:
        """Where its logs stood."""
        return LogState(**self.chosen.content.payload[STATE]["logs"])

    def check(self, store: Store) -> None:
        """Make sure that the data are the same.

        Raises:
            InputError: They are not.
        """
        check_data(self.header, store, self.settings.data)

    def position(self, data: SetDataModule) -> Position:
        """Where to go on; where batches are cut anew, the step that holds the next subject."""
        saved, after = self.saved_position, self.settings.loader
        if not self.changes.cuts or not saved.batch:
            return saved
        world = self.saved.run.devices * self.saved.run.num_nodes
        before = data.subjects_before(self.saved.loader, saved.epoch, saved.batch, world=world)
        ends = data.train_dataloader().ends(saved.epoch)
        done = int(np.searchsorted(ends, before, side="right"))
        return Position(saved.epoch, done - done % after.gradient_accumulation_steps)

    def payload(self, position: Position) -> dict[str, Any]:
        """All of the checkpoint, with the trainer's counters at a position."""
        payload = dict(self.chosen.content.payload)
        place = {"next_epoch": position.epoch, "next_batch": position.batch}
        payload[HEADER] = {**payload[HEADER], **place}
        payload["loops"] = counted(payload["loops"], position)
        return payload

    def take_over(self, settings: TrainSettings) -> RunFolder:
        """Make the run's folder ready to go on in; what does not fit any more is set aside."""
        run = RunFolder(self.run.path, settings.run.log_dir)
        aside = set_aside(self.chosen)
        if aside is not None:
            names = ", ".join(sorted(path.name for path in aside.iterdir()))
            _log.warning("set aside in %s: %s", os.path.relpath(aside, run.path), names)
        adopt(run, self.path)
        write_settings(run.settings, {**lasting_settings(settings), **self.places})
        return run


def prepare(path: Path, given: Mapping[str, Any]) -> Resumption:
    """Find the checkpoint to go on from, and the settings to go on with.

    Args:
        path: A run's folder, or one of its checkpoints.
        given: Flat settings that replace the run's own.

    Raises:
        InputError: There is nothing to go on from.
        SettingsError: What is given would change the model, its data or the seed.
    """
    chosen = choose(path)
    content = chosen.content
    # Refuses what does not fit together.
    encoder = _restated(content, given)
    loaded = rebuild(content.header, content.weights(), content.path, encoder)
    typed = _places(chosen.run)
    places = from_here(chosen.run, typed)
    saved = type(loaded.settings).from_flat({**places, **content.header.settings})
    settings = _replaced(saved, given)
    changes = compare(saved, settings)
    check_there(settings.data)
    _check_watch(content, loaded.model, settings)
    return Resumption(chosen, saved, settings, changes, as_typed(chosen.run, typed, given))


def _restated(content: CheckpointContent, given: Mapping[str, Any]) -> SequenceEncoder | None:
    """The encoder of another package that a run goes on with, whose code runs only when named.

    Raises:
        InputError: It is needed and not named.
        SettingsError: It cannot be opened, or none is needed.
    """
    named, header = given.get("encoder"), content.header
    if header.foreign is None:
        if named is not None:
            what = "the run has no encoder of another package"
            raise SettingsError(what, where="--encoder", mend="leave it out")
        return None
    if named is None:
        raise InputError(
            f"needs the encoder {header.foreign:.80}, code of another package",
            where=str(content.path),
            mend="name it again with --encoder",
        )
    codes = len(Vocabulary.from_plain(header.vocabulary).codes)
    return open_encoder(named, codes=codes, pool=header.settings.get("pool"))


def _replaced(saved: TrainSettings, given: Mapping[str, Any]) -> TrainSettings:
    """Settings with others in their stead.

    Raises:
        SettingsError: They do not go together.
    """
    try:
        return type(saved).from_flat({**saved.to_flat(), **given})
    except ValidationError as error:
        fields = saved.fields()
        origins = {name: fields[name].option for name in given if name in fields}
        raise explain(error, fields, origins, {}) from error


def _check_watch(content: CheckpointContent, model: Model, settings: TrainSettings) -> None:
    state = content.payload[STATE].get("watch")
    try:
        if state is not None and isinstance(model, SeqSetVAE):
            CollapseWatch(settings, content.header, model).load(state)
    except ValueError as error:
        raise InputError(
            str(error), where=str(content.path), mend="take an earlier checkpoint, or train again"
        ) from error


def is_complete(resumption: Resumption, planned: int, patience: int) -> bool:
    """Whether nothing is left to do: trained to the end, named, and measured."""
    ended = (
        resumption.step >= planned
        or _selection(resumption, patience).exhausted
        or was_stopped(resumption)
    )
    finals = list(resumption.run.checkpoints.glob(f"final_step={resumption.step}_*"))
    return ended and bool(finals) and _is_measured(resumption)


def _selection(resumption: Resumption, patience: int) -> Selection:
    states = resumption.chosen.content.payload["callbacks"]
    return Selection.from_state({**states["Boundary"], "patience": patience})


def was_stopped(resumption: Resumption) -> bool:
    """Whether a collapse ended it, and is to end it still."""
    watched = resumption.chosen.content.payload[STATE].get("watch")
    settings = resumption.settings
    kind = settings.monitor.on_collapse
    return watched is not None and actions_of(watched, settings.objective, kind).stops


def _is_measured(resumption: Resumption) -> bool:
    path = resumption.run.metrics
    if not path.exists():
        return False
    records = metrics_log.read(path).records
    tested = (one for one in records if any(tag.startswith("test_") for tag in one))
    return any(one["step"] >= resumption.step for one in tested)


def _places(run: RunFolder) -> dict[str, Any]:
    """Paths of a run, which its checkpoints do not hold."""
    fields = FinetuneSettings.fields()
    settings = read_settings(run.settings)
    return {name: value for name, value in settings.items() if name in fields and is_place(name)}
