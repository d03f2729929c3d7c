"""Says in one line what pydantic found wrong with a setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from setvae_cli.errors import SettingsError
from setvae_cli.settings.fields import FlatField

EXPECTED = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "finite_number": "must be a finite number",
    "too_long": "takes {max_length} values",
    "too_short": "takes {min_length} values",
    "missing": "takes {length} values",
}
KINDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "string": "must be text",
    "path": "must be a path",
    "tuple": "must be a list",
}


def explain(
    error: ValidationError,
    fields: Mapping[str, FlatField],
    origins: Mapping[str, str],
    texts: Mapping[str, str],
) -> SettingsError:
    """The first finding of pydantic as one line of ours.

    Args:
        error: What validation raised.
        fields: The command's options by flat name.
        origins: Where each given value came from.
        texts: What was written there.
    """
    first = error.errors(include_url=False, include_input=False, include_context=True)[0]
    name = next((str(part) for part in reversed(first["loc"]) if part in fields), None)
    if first["type"] == "value_error" and not _is_leaf(first["loc"], fields):
        return _of_a_section(str(first["ctx"]["error"]), origins)
    if name is None:
        return SettingsError(first["msg"])
    what, mend = _finding(first["type"], dict(first.get("ctx", {})), fields[name])
    got = f", got {texts[name]}" if name in texts and first["type"] != "value_error" else ""
    return SettingsError(what + got, where=origins.get(name, fields[name].option), mend=mend)


def _is_leaf(loc: tuple[Any, ...], fields: Mapping[str, FlatField]) -> bool:
    """Whether a finding is about one field: (name,) or (section, name, ...)."""
    sections = {field.section for field in fields.values()}
    return bool(loc) and (loc[0] not in sections or len(loc) > 1)


def _of_a_section(message: str, origins: Mapping[str, str]) -> SettingsError:
    """Fields that do not fit together; the place is whatever the person gave of them."""
    words = message.replace(";", " ").replace(",", " ").split()
    named = [origin for name, origin in origins.items() if name in words]
    what, _, mend = message.partition("; ")
    return SettingsError(what, where=", ".join(named) or None, mend=mend or None)


def _finding(kind: str, context: dict[str, Any], field: FlatField) -> tuple[str, str | None]:
    if kind == "value_error":
        what, _, mend = str(context["error"]).partition("; ")
        return what, mend or None
    if kind == "literal_error":
        return f"must be one of {', '.join(field.choices)}", None
    if kind in EXPECTED:
        bounds = {key: f"{n:g}" for key, n in context.items() if isinstance(n, int | float)}
        return EXPECTED[kind].format(**{"length": field.length, **bounds}), None
    if kind == "int_from_float":
        return KINDS["int"], None
    return KINDS.get(kind.split("_")[0], "has the wrong type"), None
