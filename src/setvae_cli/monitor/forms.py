"""Whether a state that a file brought is of the same form as one of ours: a file is never trusted.

>>> check_form({"sums": [1.0]}, {"sums": [2.0]})
>>> check_form({"sums": "many"}, {"sums": [2.0]})
Traceback (most recent call last):
ValueError: its sums are not those of this model
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def check_form(found: Any, expected: Any, name: str = "state") -> None:
    """Compare keys, lengths, types and shapes; tensors have to be finite.

    Args:
        found: What a file brought.
        expected: A state of the object that is to take it.
        name: What it is called in errors.

    Raises:
        ValueError: They differ.
    """
    if isinstance(expected, Tensor):
        same = _is_like(found, expected)
    elif isinstance(expected, Mapping):
        same = isinstance(found, Mapping) and found.keys() == expected.keys()
    elif isinstance(expected, list | tuple):
        same = isinstance(found, list | tuple) and len(found) == len(expected)
    elif isinstance(expected, float):
        same = type(found) in (float, int)
    else:
        same = type(found) is type(expected)
    if not same:
        raise ValueError(f"its {name} are not those of this model")
    for key, part in _parts(expected):
        check_form(found[key], part, key if isinstance(key, str) else name)


def _is_like(found: Any, expected: Tensor) -> bool:
    return (
        isinstance(found, Tensor)
        and found.shape == expected.shape
        and found.dtype == expected.dtype
        and bool(found.isfinite().all())
    )


def _parts(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []
