"""`setvae export`: a trained model to one file for sharing."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from setvae_cli import numbers
from setvae_cli.cli import options
from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import shown
from setvae_cli.errors import SettingsError
from setvae_cli.files import check_free
from setvae_cli.settings.command import ExportSettings

if TYPE_CHECKING:
    from setvae_cli.runs.model import LoadedModel

INSIDE = "weights, settings, names and statistics of codes, names of labels, validation metrics"
LEFT_OUT = "optimizer state, place in the run, paths, ids, events"
CAUTION = (
    "Weights, and what is computed with them, can give away records of the training data; "
    "statistics of a rare code nearly are its values. Share the file as you would share the data."
)
KEY_WIDTH, WIDTH = 12, 80


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, ExportSettings, run)


def run(settings: ExportSettings, output: Output) -> None:
    """Write a trained model to one safetensors file, for sharing.

    It holds the weights that validation saw and all that their inputs and outputs mean. It holds
    no optimizer state, so that no run can go on from it, and no path or id.
    """
    if settings.run_or_ckpt and settings.checkpoint:
        raise SettingsError("is given beside RUN_OR_CKPT", where="--checkpoint", mend="keep one")
    check_free(settings.out, "file")
    given = settings.run_or_ckpt or settings.checkpoint
    path = named_checkpoint(given, settings.output_dir, output)

    from setvae_cli.runs.checkpoint import read
    from setvae_cli.runs.export import export

    facts = describe(settings.out, export(read(path, mapped=True), settings.out))
    output.result(table(facts), facts)
    output.say()
    for line in textwrap.wrap(CAUTION, WIDTH):
        output.say(line)
    output.next(f"setvae doctor {shown(settings.out)}")


def describe(path: Path, loaded: LoadedModel) -> dict[str, Any]:
    """What was written, as plain values."""
    weights = loaded.model.state_dict().values()
    return {
        "file": shown(path),
        "bytes": path.stat().st_size,
        "parameters": sum(one.numel() for one in loaded.model.parameters()),
        "tensors": len(weights),
        "preset": loaded.settings.model.preset,
        "codes": len(loaded.vocabulary.codes),
        "tasks": list(loaded.header.tasks),
        "measured": loaded.header.measured,
        "data_digest": loaded.header.data_digest,
        "inside": INSIDE,
        "left_out": LEFT_OUT,
    }


def table(facts: dict[str, Any]) -> list[str]:
    """The same as aligned lines."""
    tasks = ", ".join(facts["tasks"]) or "no label"
    rows = [
        ("file", facts["file"]),
        ("size", numbers.size(facts["bytes"])),
        ("model", f"{facts['preset']}, {numbers.count(facts['codes'])} codes, {tasks}"),
        ("parameters", f"{numbers.count(facts['parameters'])} in {facts['tensors']} tensors"),
        ("inside", facts["inside"]),
        ("left out", facts["left_out"]),
    ]
    return ["Exported", *(line for name, value in rows for line in _row(name, value))]


def _row(name: str, value: str) -> list[str]:
    return textwrap.wrap(
        value,
        WIDTH,
        initial_indent=f"{name:<{KEY_WIDTH}}",
        subsequent_indent=" " * KEY_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )
