"""What a resume changes: settings that differ, whether the course stays exact, what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from setvae_cli.errors import InputError, SettingsError
from setvae_cli.runs.checkpoint import Header
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import Vocabulary, shown_code
from setvae_cli.training.header import STARTING
from setvae_cli.training.places import is_place

SHOWN = 3
COURSE = ("seed", "objective")
FIXED_SECTIONS = ("model", "source", "store", "fold", "tuning")
# What the order of subjects and the cut into batches are functions of, beside the seed.
CUTS = (
    "batch_size",
    "max_elements_per_batch",
    "gradient_accumulation_steps",
    "batching",
    "devices",
    "num_nodes",
)
EVENTS = (
    "max_sequence_length",
    "truncate",
    "forecast_cut",
    "forecast_cut_share",
    "forecast_horizon",
)
ARITHMETIC = ("precision", "device", "threads", "compile_model", "strategy")


@dataclass(frozen=True)
class Changes:
    """How the settings of a resumed run differ from those it was saved with.

    Attributes:
        listed: Name, value before, value from now on.
        cuts: Whether batches are cut anew.
        inexact: Why the course is not exactly the one that was saved; empty: it is.
    """

    listed: tuple[tuple[str, Any, Any], ...]
    cuts: bool
    inexact: tuple[str, ...]


def compare(saved: TrainSettings, wanted: TrainSettings) -> Changes:
    """What changes, and what that does.

    Args:
        saved: Settings that the checkpoint was written with.
        wanted: Settings to go on with.

    Raises:
        SettingsError: The model, its data or the seed would change.
    """
    before, after = saved.to_flat(), wanted.to_flat()
    listed = [
        (name, before[name], after[name])
        for name in before
        if before[name] != after[name] and name not in STARTING and not is_place(name)
    ]
    for name, old, new in listed:
        _refuse_fixed(name, old, new, saved)
    names = [name for name, _, _ in listed]
    cuts = [name for name in CUTS if name in names]
    inexact = [
        *(f"{name} cuts batches anew" for name in cuts),
        *(f"{name} changes which events are seen" for name in EVENTS if name in names),
        *(f"{name} changes the arithmetic" for name in ARITHMETIC if name in names),
    ]
    return Changes(tuple(listed), bool(cuts), tuple(inexact))


def _refuse_fixed(name: str, old: Any, new: Any, settings: TrainSettings) -> None:
    field = settings.fields()[name]
    averaging = name == "weight_averaging" and not (old and new)
    if name not in COURSE and field.section not in FIXED_SECTIONS and not averaging:
        return
    whose = f"the {field.section}" if field.section in FIXED_SECTIONS else "the course"
    raise SettingsError(
        f"is {_shown(new)}, and the run was trained with {_shown(old)}: {whose} of a run is fixed",
        where=field.option,
        mend="leave it out, or train a run of its own",
    )


def check_data(header: Header, store: Store, where: str | None) -> None:
    """Make sure that the store is the one that the run was trained on.

    Args:
        header: Of the checkpoint.
        store: What `--data` names now.
        where: How the person named it.

    Raises:
        InputError: Its codes, their statistics or its events differ; names some of them.
    """
    if store.digest == header.data_digest:
        return
    trained = Vocabulary.from_plain(header.vocabulary)
    what = difference(trained, store.vocabulary)
    raise InputError(
        f"is not the data that the run was trained on: {what}",
        where=where or "the built-in cohort",
        mend="name the same data with --data, or train a run of its own",
    )


def difference(trained: Vocabulary, found: Vocabulary) -> str:
    """In one clause how the codes of other data differ from those of a model, or that they do not.

    Args:
        trained: Of the model.
        found: Of the data.
    """
    missing = sorted(set(trained.codes) - set(found.codes))
    added = sorted(set(found.codes) - set(trained.codes))
    if missing or added:
        parts = [f"{len(missing)} codes are missing ({_some(missing)})"] if missing else []
        parts += [f"{len(added)} codes are new ({_some(added)})"] if added else []
        return ", ".join(parts)
    if trained.codes != found.codes:
        return "its codes are in another order"
    if trained.digest() != found.digest():
        return "the statistics of its codes differ"
    return "its codes are the same, its events or splits differ"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(shown_code, names[:SHOWN])) + more


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
