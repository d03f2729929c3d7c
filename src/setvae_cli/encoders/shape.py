"""What came out of an encoder that others wrote, compared with what it said of itself."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from setvae_cli.errors import RunError


def size_of(encoder: Any, name: str) -> int:
    """The embedding size that an encoder states.

    Args:
        encoder: A module or a callable.
        name: What the person calls it, for errors.

    Raises:
        RunError: It states none, or one that is no positive whole number.
    """
    size = getattr(encoder, "embedding_size", None)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        got = "none" if size is None else f"{size!r:.40}"
        raise RunError(
            f"its embedding_size is {got}, expected a positive whole number",
            where=name,
            mend="give it an attribute embedding_size: the numbers of a subject's row",
        )
    return size


def check_rows(rows: Any, subjects: int, size: int, name: str) -> Tensor:
    """Make sure that an encoder gave one row a subject, of the size that it states.

    Raises:
        RunError: It gave something else.
    """
    expected = f"expected a tensor [{subjects}, {size}]"
    if not isinstance(rows, Tensor):
        raise RunError(
            f"gave a {type(rows).__name__}, {expected}",
            where=name,
            mend="return one row a subject",
        )
    if tuple(rows.shape) != (subjects, size):
        raise RunError(
            f"gave a tensor {list(rows.shape)}, {expected}",
            where=name,
            mend="return one row a subject, as wide as its embedding_size says",
        )
    return rows
