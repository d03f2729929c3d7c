"""Functions that torch.compile calls instead of reading them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def uncompiled(function: F) -> F:
    """Keep torch.compile out of a function; `torch.compiler.disable` with its type."""
    return cast("F", torch.compiler.disable(function))
