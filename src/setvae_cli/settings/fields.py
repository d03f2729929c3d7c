"""Settings models seen flat: every option of a command, with what its pydantic field says of it."""

from __future__ import annotations

import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

WORDS: dict[object, str] = {int: "integer", float: "number", str: "text", Path: "path"}


@dataclass(frozen=True)
class FlatField:
    """One option, wherever it stands among a command's sections.

    Attributes:
        name: As written in YAML; `--batch-size` and `SETVAE_BATCH_SIZE` follow from it.
        section: The section that holds it; None for the command's own fields.
        info: The pydantic field.
        unlisted: Whether the command accepts it without saying so in its help.
    """

    name: str
    section: str | None
    info: FieldInfo
    unlisted: bool = False

    @property
    def option(self) -> str:
        """Its spelling on the command line."""
        return str(self._extra.get("option", "--" + self.name.replace("_", "-")))

    @property
    def variable(self) -> str:
        """Its spelling in the environment."""
        return "SETVAE_" + self.name.upper()

    @property
    def optional(self) -> bool:
        """Whether `none` is a value of it."""
        return type(None) in self._members

    @property
    def type(self) -> object:
        """Its type, None left aside."""
        (only,) = (member for member in self._members if member is not type(None))
        return only

    @property
    def choices(self) -> tuple[str, ...]:
        """Its words, when there are only some."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def is_flag(self) -> bool:
        """Whether it is on or off; one that may also be unset is a flag too."""
        return self.type is bool

    @property
    def repeated(self) -> bool:
        """Whether it may be given many times."""
        return get_origin(self.type) is tuple and get_args(self.type)[-1] is Ellipsis

    @property
    def numbers(self) -> bool:
        """Whether it is a list of numbers, which one mention may give with commas."""
        return self.repeated and get_args(self.type)[0] in (int, float)

    @property
    def length(self) -> int:
        """How many values one mention takes, written with commas when more than one."""
        fixed = get_origin(self.type) is tuple and not self.repeated
        return len(get_args(self.type)) if fixed else 1

    @property
    def word(self) -> str:
        """What a value of it is called in help and errors."""
        if self.choices:
            return "|".join(self.choices)
        if get_origin(self.type) is tuple:
            word = WORDS[get_args(self.type)[0]]
            return f"{word},..." if self.numbers else ",".join([word] * self.length)
        return WORDS.get(self.type, "text")

    @property
    def hidden(self) -> bool:
        """Whether help leaves it out."""
        return self.unlisted or bool(self._extra.get("hidden", False))

    @property
    def positional(self) -> bool:
        """Whether it is an argument, without a name on the command line."""
        return bool(self._extra.get("positional", False))

    @property
    def spellings(self) -> tuple[str, ...]:
        """Further option names, as the original had them."""
        return tuple(self._extra.get("spellings", ()))

    @property
    def current(self) -> str:
        """How it is written today; empty for what only the original had."""
        return str(self._extra.get("current", self.option))

    @property
    def _members(self) -> tuple[object, ...]:
        annotation = self.info.annotation
        union = get_origin(annotation) in (Union, types.UnionType)
        return get_args(annotation) if union else (annotation,)

    @property
    def _extra(self) -> dict[str, Any]:
        extra = self.info.json_schema_extra
        return dict(extra) if isinstance(extra, dict) else {}


def flat_fields(model: type[BaseModel]) -> dict[str, FlatField]:
    """Every option of a command, in the order of its sections.

    Raises:
        TypeError: Two sections use one name.
    """
    found: dict[str, FlatField] = {}
    for name, info in model.model_fields.items():
        kind = info.annotation
        section = name if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        own = kind.model_fields if section and kind else {name: info}
        for flat, inner in own.items():
            if flat in found:
                raise TypeError(f"two settings of {model.__name__} are called {flat}")
            found[flat] = FlatField(flat, section, inner)
    return found
