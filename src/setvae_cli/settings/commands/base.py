"""What every command's settings share: sections inside, one flat list of options outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar, Self

from setvae_cli.settings.base import Settings
from setvae_cli.settings.fields import FlatField, flat_fields


class CommandSettings(Settings):
    """Sections inside, one flat list of options outside (YAML, environment, command line).

    Attributes:
        command: Its name.
        listed: Sections of which help lists these options only; the others are accepted unseen.
        forgiving: Whether a SETVAE_* variable that is no setting is left for the command to name.
    """

    command: ClassVar[str]
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    forgiving: ClassVar[bool] = False

    @classmethod
    @cache
    def fields(cls) -> dict[str, FlatField]:
        """Every option of this command by its flat name."""
        return {
            name: replace(field, unlisted=name not in cls.listed.get(field.section or "", (name,)))
            for name, field in flat_fields(cls).items()
        }

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Self:
        """Build from flat names; what is missing keeps its default, and no preset is applied.

        Raises:
            pydantic.ValidationError: A value or a name does not fit.
        """
        nested: dict[str, Any] = {}
        for name, value in values.items():
            field = cls.fields().get(name)
            place = nested.setdefault(field.section, {}) if field and field.section else nested
            place[name] = value
        return cls.model_validate(nested)

    def to_flat(self) -> dict[str, Any]:
        """All values by flat name, as plain text, numbers, lists and None."""
        plain = self.model_dump(mode="json")
        return {
            name: plain[field.section][name] if field.section else plain[name]
            for name, field in self.fields().items()
        }
