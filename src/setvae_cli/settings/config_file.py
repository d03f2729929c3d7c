"""Reads `--config FILE.yaml`: one flat mapping, and nothing that YAML can hide in one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from setvae_cli.errors import SettingsError
from setvae_cli.files import check_regular

MAX_BYTES = 1_000_000
MAX_DEPTH = 4
BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class _Refused(yaml.YAMLError):
    """Legal YAML that has no place in a configuration file."""


class _StrictLoader(yaml.SafeLoader):
    """Safe tags only; no aliases, no duplicate keys, no deep nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _Refused("it uses an anchor and alias; write the value out")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _Refused("it is nested too deeply; write one `key: value` a line")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _Refused(f"key '{key.value}' stands there twice; keep one")
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else "")
        return super().construct_mapping(node, deep)


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration file.

    Args:
        path: A YAML file of `key: value` lines, at most 1 MB of UTF-8.

    Returns:
        Keys and plain values, unchecked against any model; `~/` is the home folder.

    Raises:
        InputError: The file is missing or not a readable regular file.
        SettingsError: It is not a plain mapping in UTF-8 YAML.
    """
    text = _read_text(path)
    try:
        content = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a SafeLoader)
    except _Refused as error:
        what, _, mend = str(error).partition("; ")
        raise SettingsError(what, where=str(path), mend=mend) from error
    except yaml.constructor.ConstructorError as error:
        what = f"holds a tag or a key that is no plain value{_place(error)}"
        raise SettingsError(what, where=str(path), mend="write one `key: value` a line") from error
    except yaml.MarkedYAMLError as error:
        raise SettingsError(_sentence(error), where=str(path), mend="correct that line") from error
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError(
            "is not valid YAML", where=str(path), mend="save it as plain text"
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise SettingsError(
            "is not a list of settings", where=str(path), mend="write one `key: value` a line"
        )
    return {key: _at_home(value) for key, value in content.items()}


def without_home(value: Any) -> Any:
    """A setting as it may be kept: a path below the home folder, which names a person, as `~/`."""
    home = os.path.expanduser("~/")
    below = isinstance(value, str) and home != "/" and value.startswith(home)
    return f"~/{value.removeprefix(home)}" if below else value


def _at_home(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str) and value[:2] == "~/" else value


def _read_text(path: Path) -> str:
    check_regular(path, "configuration file")
    with path.open("rb") as file:
        raw = file.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise SettingsError(
            "is larger than 1 MB, which no configuration file is",
            where=str(path),
            mend="name the right file",
        )
    if raw.startswith(BYTE_ORDER_MARKS):
        raise SettingsError(
            "begins with a byte order mark", where=str(path), mend="save it as UTF-8 without one"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"is not UTF-8 (byte {error.start})", where=str(path), mend="save it as UTF-8"
        ) from error


def _sentence(error: yaml.MarkedYAMLError) -> str:
    return f"is not valid YAML: {error.problem or error.context or 'unreadable'}{_place(error)}"


def _place(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
