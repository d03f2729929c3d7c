"""Puts a command's settings together: option > environment > file > preset > default.

Between preset and default stands what the objective of a training run brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import COMMANDS, CommandSettings, TrainSettings
from setvae_cli.settings.fields import FlatField
from setvae_cli.settings.presets import PRESETS, objective_defaults
from setvae_cli.settings.wording import explain

PREFIX = "SETVAE_"
C = TypeVar("C", bound=CommandSettings)


@dataclass(frozen=True)
class Given:
    """A value with the place it came from, as the person wrote it."""

    value: Any
    origin: str


@dataclass(frozen=True)
class Merged(Generic[C]):
    """The settings of one command, and where each value that is not a default came from."""

    settings: C
    origins: Mapping[str, str]

    def as_yaml(self) -> str:
        """The settings as a configuration file; comments say where values came from."""
        lines, section = [f"# setvae {self.settings.command}"], None
        for name, value in self.settings.to_flat().items():
            field, origin = self.settings.fields()[name], self.origins.get(name)
            if field.hidden and origin is None:
                continue
            if field.section != section:
                section = field.section
                lines.append(f"\n# {section}")
            lines.append(f"{name}: {_yaml(value)}" + (f"  # {origin}" if origin else ""))
        return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    """One plain value on one line."""
    import yaml

    text: str = yaml.safe_dump(value, default_flow_style=True, width=float("inf"))
    return text.removesuffix("...\n").strip()


def merge(
    command: type[C],
    *,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    config: Path | None = None,
) -> Merged[C]:
    """Merge every place where a setting can be given, and validate the result once.

    Args:
        command: The settings model of the command.
        options: Flat names and values given on the command line, absent where not given.
        environment: All environment variables; only those named SETVAE_* are read.
        config: The file of `--config`.

    Raises:
        SettingsError: A name is unknown or a value does not fit, with its place.
        InputError: The configuration file cannot be read.
    """
    given = _from_file(command, config) if config else {}
    given |= _from_environment(command, environment)
    for name, value in options.items():
        field = command.fields()[name]
        given[name] = Given(
            _plain(field, value), name.upper() if field.positional else field.option
        )
    given = _from_objective(command, given) | _from_preset(command, given) | given
    try:
        settings = command.from_flat({name: one.value for name, one in given.items()})
    except ValidationError as error:
        origins = {name: one.origin for name, one in given.items()}
        raise explain(error, command.fields(), origins, _given_texts(given)) from error
    return Merged(settings, {name: one.origin for name, one in given.items()})


def _given_texts(given: Mapping[str, Given]) -> dict[str, str]:
    """What the person wrote for each setting, short enough for one line of an error."""
    texts = {name: _text(one.value) for name, one in given.items()}
    return {name: text if len(text) <= 40 else text[:37] + "..." for name, text in texts.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "none" if value is None else str(value) or "nothing"


def nearest(name: str, known: Mapping[str, Any] | list[str]) -> str | None:
    """A mend that names the known name most like this one; None where none is."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {found[0]}?" if found else None


def _from_file(command: type[CommandSettings], path: Path) -> dict[str, Given]:
    from setvae_cli.settings.config_file import read_config

    found: dict[str, Given] = {}
    for name, value in read_config(path).items():
        key = name.replace("-", "_")
        if key not in command.fields():
            raise _unknown_key(command, key, path)
        if key in found:
            raise SettingsError(f"'{key}' stands there twice", where=str(path), mend="keep one")
        found[key] = Given(_plain(command.fields()[key], value), f"{path}: {name}")
    return found


def _unknown_key(command: type[CommandSettings], key: str, path: Path) -> SettingsError:
    owner = next((c.command for c in COMMANDS if key in c.fields()), None)
    if owner:
        return SettingsError(
            f"'{key}' is a setting of setvae {owner}, not of setvae {command.command}",
            where=str(path),
            mend="remove it from this file",
        )
    mend = nearest(key, command.fields()) or "remove it, or see --help for the options"
    return SettingsError(f"unknown key '{key}'", where=str(path), mend=mend)


def _from_environment(
    command: type[CommandSettings], environment: Mapping[str, str]
) -> dict[str, Given]:
    """Variables of this command; another command's are left alone, any other is an error."""
    known = {field.variable: field for c in COMMANDS for field in c.fields().values()}
    found: dict[str, Given] = {}
    for variable in sorted(name for name in environment if name.startswith(PREFIX)):
        if variable not in known and command.forgiving:
            continue
        if variable not in known:
            mend = nearest(variable, known) or f"unset it; settings are named {PREFIX}<OPTION>"
            raise SettingsError("unknown environment variable", where=variable, mend=mend)
        field = command.fields().get(known[variable].name)
        if field:
            found[field.name] = Given(_plain(field, environment[variable]), variable)
    return found


def _from_preset(command: type[CommandSettings], given: Mapping[str, Given]) -> dict[str, Given]:
    """The preset's values; an unknown preset is left to validation."""
    preset = given["preset"].value if "preset" in given else None
    values = PRESETS.get(preset, {}) if isinstance(preset, str) else {}  # type: ignore[call-overload]
    return {name: Given(value, f"preset {preset}") for name, value in values.items()}


def _from_objective(command: type[CommandSettings], given: Mapping[str, Given]) -> dict[str, Given]:
    """The defaults of a training run's objective; an unknown one is left to validation."""
    if command is not TrainSettings or "objective" not in given:
        return {}
    objective = str(given["objective"].value)
    values = objective_defaults(objective)
    if "max_elements_per_batch" in given:
        values.pop("batch_size", None)
    return {name: Given(value, f"objective {objective}") for name, value in values.items()}


def _plain(field: FlatField, value: Any) -> Any:
    """What was written, in the form that pydantic expects of this field.

    YAML reads `32` as a number and `yes` as a flag; pydantic would refuse the first where a word
    is due and take the second for 1.
    """
    if isinstance(value, list) and field.numbers:
        value = ",".join(map(str, value))
    if isinstance(value, str):
        if field.optional and value.strip().lower() in ("none", "null"):
            return None
        if field.repeated or field.length > 1:
            return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, bool) and not field.is_flag:
        return str(value).lower()
    if isinstance(value, int | float) and (field.choices or field.type is str):
        return str(value)
    return value
