"""A sentence under its head, broken between words at 80 columns."""

from __future__ import annotations

import textwrap

from setvae_cli.cli.output import KEY_STYLE, Line

WIDTH = 80


def wrapped(head: str, text: str) -> list[Line]:
    """Lines of a text; the first begins with the head, others are indented by its width."""
    width = WIDTH - len(head)
    found = textwrap.wrap(text, width, break_on_hyphens=False, break_long_words=False)
    first, *rest = found or [""]  # a path stays whole, so that it can be copied
    return [[(head, KEY_STYLE), (first, None)], *(" " * len(head) + line for line in rest)]
