"""One settings model in, one Typer command out: options, help, spellings."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from setvae_cli.cli.output import Output
from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import CommandSettings
from setvae_cli.settings.fields import FlatField
from setvae_cli.settings.merge import merge

C = TypeVar("C", bound=CommandSettings)
OUTPUT = "Output"
TITLES = {
    None: "What",
    "source": "Source",
    "store": "Sets, splits, vocabulary",
    "fold": "Folds and shares of the labels",
    "comparison": "Comparison",
    "tuning": "Fine-tuning",
    "model": "Model",
    "objective": "Objective",
    "optimizer": "Optimizer",
    "encoding": "Vectors",
    "measure": "Measurement",
    "loader": "Batches",
    "monitor": "Posterior collapse",
    "run": "Run",
}


class PanelCommand(TyperCommand):
    """Help in plain sections, one a panel: rich's boxes cost more time than the help may take."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        panels: dict[str, list[tuple[str, str]]] = {}
        parameters = self.get_params(ctx)
        for parameter in sorted(parameters, key=lambda one: one.param_type_name != "argument"):
            record = parameter.get_help_record(ctx)
            if record:
                panel = getattr(parameter, "rich_help_panel", None) or OUTPUT
                name, told = record
                name = name.removesuffix(" <str>").removesuffix(" <list[str]>")
                panels.setdefault(panel, []).append((name, told))
        for title, rows in panels.items():
            with formatter.section(title):
                formatter.write_dl(rows)


def register(app: typer.Typer, model: type[C], body: Callable[..., None]) -> None:
    """Add a command whose options are the fields of a settings model.

    Args:
        app: Where the command is added, under the model's name.
        model: Its settings; a field's description is the help, its default the default.
        body: Called with the settings, the output, and by name its own keyword-only parameters.
    """
    extras = [p for p in _signature(body).parameters.values() if p.kind is p.KEYWORD_ONLY]
    names = {parameter.name for parameter in extras}
    current = {
        spelling.removeprefix("--"): field.current
        for field in model.fields().values()
        for spelling in (field.option, *field.spellings)
    }
    old_spellings: list[str] = []  # filled while parsing

    def command(**given: Any) -> None:
        output = Output(
            model.command, quiet=given["quiet"], json=given["json"], verbose=given["verbose"]
        )
        output.receive_logs()
        for spelling in dict.fromkeys(old_spellings):
            today = current.get(_modern(spelling), f"--{_modern(spelling)}")
            if today:
                output.warn(f"--{spelling} is an old spelling; write {today}")
        options = {name: given[name] for name in model.fields() if given[name] not in (None, [])}
        merged = merge(model, options=options, environment=os.environ, config=given["config"])
        if given["print_config"]:
            output.document(merged.as_yaml())
        else:
            try:
                body(merged.settings, output, **{name: given[name] for name in names})
            finally:
                output.end_progress()

    parameters = [*map(_parameter, model.fields().values()), *extras, *_common()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}

    def normalise(name: str) -> str:
        if "_" in name:
            old_spellings.append(name)
        return _modern(name)

    app.command(
        model.command,
        cls=PanelCommand,
        help=inspect.getdoc(body),
        context_settings={"token_normalize_func": normalise, "max_content_width": 80},
    )(command)


def check_workers(option: str, workers: int | None) -> None:
    """Refuse more processes than a machine can feed.

    Raises:
        SettingsError: They are more than four a usable core.
    """
    most = 4 * len(os.sched_getaffinity(0))
    if workers is not None and workers > most:
        raise SettingsError(
            f"{workers} workers are more than four a usable core ({most})",
            where=option,
            mend="use fewer, or leave it out",
        )


def _modern(name: str) -> str:
    return name.replace("_", "-")


def _signature(body: Callable[..., None]) -> inspect.Signature:
    return inspect.signature(body, eval_str=True)


def _parameter(field: FlatField) -> inspect.Parameter:
    """A field as a parameter that is None where it was not given; pydantic reads the text."""
    kind: Any = bool if field.is_flag else list[str] if field.repeated else str
    panel = TITLES.get(field.section, OUTPUT)
    if field.positional:
        told: Any = typer.Argument(
            metavar=field.name.upper(),
            help=field.info.description,
            show_default=False,
            rich_help_panel=panel,
        )
    else:
        told = typer.Option(
            *_spellings(field),
            help=_help(field),
            metavar=None if field.is_flag else field.word,
            show_default=False,
            hidden=field.hidden,
            rich_help_panel=panel,
        )
    annotation = Annotated[kind | None, told]
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _spellings(field: FlatField) -> tuple[str, ...]:
    if field.is_flag:
        return (f"{field.option}/--no-{field.option.removeprefix('--')}",)
    return (field.option, *field.spellings)


def _help(field: FlatField) -> str:
    text = field.info.description or ""
    default = field.info.default
    if default in (None, ()) or "default:" in text:
        return text
    return f"{text} [{_default(default)}]"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(_default, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _common() -> list[inspect.Parameter]:
    """Options of every command that are not settings."""

    def common(
        *,
        config: Annotated[
            Path | None,
            typer.Option(help="YAML file of settings; options and SETVAE_* win.", metavar="path"),
        ] = None,
        print_config: Annotated[
            bool, typer.Option("--print-config", help="Print the settings as YAML and stop.")
        ] = False,
        quiet: Annotated[bool, typer.Option("--quiet", help="Print the result only.")] = False,
        json: Annotated[
            bool, typer.Option("--json", help="Print the result as JSON on stdout.")
        ] = False,
        verbose: Annotated[
            bool, typer.Option("--verbose", help="Say more: settings in full, every validation.")
        ] = False,
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
    ) -> None: ...

    return list(_signature(common).parameters.values())
