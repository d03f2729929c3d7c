"""The table of contents of the command line.

Only the command that was asked for is loaded, and only when it runs does it import what is heavy.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Annotated

import typer

from setvae_cli.cli import failures

ABOUT = "Set variational autoencoders for irregular clinical data."
COMMANDS = {
    "train": "Train on a store, raw events, or the built-in cohort.",
    "precompute": "Prepare raw events once, as a store to train on.",
    "watch": "Watch a run, or all of a folder, in the terminal.",
    "resume": "Go on with a run from its newest good checkpoint.",
    "analyze-curves": "Draw and judge the curves of runs.",
    "visualize": "Draw the latents of a trained model, and judge them.",
    "evaluate": "Measure the predictions of a trained model.",
    "finetune": "Make a trained model a classifier, and compare it.",
    "embed": "Write a vector a subject, in a table that joins by id.",
    "export": "Write a trained model to one file for sharing.",
    "benchmark-loader": "Time the loader: how many workers suit this data.",
    "doctor": "Check this machine, or a store, a run, a checkpoint.",
}


def main() -> int:
    """Run the command line.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrongly asked, 128 and its number after a signal.
    """
    failures.harden()
    failures.catch_signals()
    return run(sys.argv[1:] or ["--help"])


def run(arguments: list[str]) -> int:
    """Run one command in this process, as it is.

    Args:
        arguments: What stands behind `setvae`.

    Returns:
        The exit code.
    """
    name = next((word for word in arguments if not word.startswith("-")), None)
    chosen = name if name in COMMANDS else None
    return failures.guard(
        f"setvae {chosen}" if chosen else "setvae",
        lambda: build(chosen)(args=arguments, prog_name="setvae", standalone_mode=False),
        debug="--debug" in arguments,
    )


def build(chosen: str | None) -> typer.Typer:
    """The whole command line, with one command loaded and the others by name only."""
    app = typer.Typer(
        help=ABOUT,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"max_content_width": 80},
    )
    app.callback()(_group)
    for name, about in COMMANDS.items():
        if name == chosen:
            import_module(f"setvae_cli.cli.{name.replace('-', '_')}").register(app)
        else:
            app.command(name, help=about)(_elsewhere)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"setvae {version('setvae-cli')}\n")
        raise typer.Exit


def _group(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and stop.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options before the command."""


def _elsewhere() -> None:
    """Stands for a command that this call does not load."""


if __name__ == "__main__":
    sys.exit(main())
