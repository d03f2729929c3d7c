"""Stops a run whose numbers are no longer finite, naming the step it began at."""

from __future__ import annotations

import torch
from torch import Tensor

from setvae_cli.errors import NumericalError

_NEVER = 2**62


class FiniteWatch:
    """Looks at numbers of each step; on a GPU without waiting for them.

    On a CPU a number is checked when it is seen. Elsewhere the first bad step is kept on the
    device, and `check` reads it: call it before anything is logged or saved.

    Args:
        what: Name of the number, for the error.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._first: Tensor | None = None

    def see(self, number: Tensor, step: int) -> None:
        """Look at a scalar.

        Args:
            number: The scalar, without gradient.
            step: The optimizer step it belongs to, from 1.

        Raises:
            NumericalError: It is not finite (on a CPU).
        """
        if number.device.type == "cpu":
            if not torch.isfinite(number):
                raise self._error(step)
            return
        if self._first is None:
            self._first = torch.full((), _NEVER, dtype=torch.int64, device=number.device)
        now = torch.where(torch.isfinite(number), _NEVER, step)
        self._first = torch.minimum(self._first, now)

    def check(self) -> None:
        """Read what was kept on the device.

        Raises:
            NumericalError: A scalar seen so far was not finite.
        """
        if self._first is not None and (first := int(self._first)) != _NEVER:
            raise self._error(first)

    def _error(self, step: int) -> NumericalError:
        return NumericalError(
            f"the {self._what} is not finite at step {step}",
            mend="lower --lr, or find the operation with --detect-anomaly",
        )
