"""A plugin of pytest that says which encoder the conformance tests are about.

It is loaded by name (`-p setvae_cli.testing.plugin`) and never by itself, so that its options are
in nobody's way.
"""

from __future__ import annotations

import pytest

from setvae_cli.testing import CODES


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("setvae")
    group.addoption(
        "--encoder", metavar="module:attribute", help="The encoder, or a factory of one."
    )
    group.addoption(
        "--encoder-codes",
        type=int,
        default=CODES,
        metavar="N",
        help=f"Codes of the events it is shown (default {CODES}); padded ones count from 1.",
    )
