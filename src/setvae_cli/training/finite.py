"""Judges every step by its loss and gradient: one that is not finite is skipped or ends the run."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor

from setvae_cli.errors import NumericalError
from setvae_cli.training.ranks import agree, gather

SHOWN = 12

_log = logging.getLogger(__name__)


class FiniteWatch:
    """Judges steps; on a GPU without waiting for their numbers, unless steps may be skipped.

    Where numbers are read at once (on a CPU, or with skips allowed) a bad step is known before it
    changes a weight. Elsewhere numbers are kept, and `check` reads them: call it before anything
    is logged or saved.

    Args:
        allowed: Bad steps that may be skipped before the run ends.

    Attributes:
        skipped: Bad steps skipped so far.
    """

    def __init__(self, allowed: int = 0) -> None:
        self._allowed = allowed
        self.skipped = 0
        self._losses: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._unread: list[tuple[int, Tensor, list[Tensor]]] = []

    def see(self, loss: Tensor, rows: Tensor) -> None:
        """Look at a micro-batch.

        Args:
            loss: Its loss, without gradient.
            rows: Row numbers of its subjects.
        """
        self._losses.append(loss)
        self._rows.append(rows)

    def judge(self, norm: Tensor | None, step: int) -> bool:
        """Close a step.

        Args:
            norm: Norm of its gradient; None where a gradient scaler looks at it.
            step: Its number, from 1.

        Returns:
            Whether it may change the weights.

        Raises:
            NumericalError: It is not finite, and no more steps may be skipped.
        """
        losses, rows, self._losses, self._rows = self._losses, self._rows, [], []
        # A gradient that is not finite makes its norm so, and a loss the gradient in most cases.
        numbers = torch.stack([torch.stack(losses).sum(), *([] if norm is None else [norm])])
        if numbers.device.type != "cpu" and not self._allowed:
            self._unread.append((step, numbers, rows))
            return True
        found = numbers.tolist()
        bad = not all(map(math.isfinite, found))
        if norm is None:  # which all ranks share
            bad = bool(*agree(int(bad)))
        if not bad:
            return True
        self._skip(found, rows, step)
        return False

    def check(self) -> None:
        """Read what was kept.

        Raises:
            NumericalError: A number seen so far was not finite.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return
        everything = torch.stack([numbers for _, numbers, _ in unread]).tolist()
        judged = agree(*(int(not all(map(math.isfinite, found))) for found in everything))
        for (step, _, rows), found, bad in zip(unread, everything, judged, strict=True):
            if bad:
                raise _error(found, rows, step, self._allowed)

    def _skip(self, found: list[float], rows: list[Tensor], step: int) -> None:
        if self.skipped >= self._allowed:
            raise _error(found, rows, step, self._allowed)
        self.skipped += 1
        which, named = _blamed(found, rows)
        _log.warning(
            "step %d is skipped, its %s is not finite: %s (%d of %d)",
            step, which, named, self.skipped, self._allowed,
        )  # fmt: skip


def _error(found: list[float], rows: list[Tensor], step: int, allowed: int) -> NumericalError:
    which, named = _blamed(found, rows)
    before = f" after {allowed} skipped steps" if allowed else ""
    return NumericalError(
        f"the {which} is not finite at step {step}{before} ({named})",
        mend="lower --lr, skip such steps with --skip-bad-batches, or find the operation with "
        "--detect-anomaly",
    )


def _blamed(found: list[float], rows: list[Tensor]) -> tuple[str, str]:
    """What is not finite, and on which rows; all ranks ask together.

    Of a loss these are the rows of the ranks that saw it, of a gradient those of all.
    """
    mine = torch.cat(rows)
    good = math.isfinite(found[0])
    (lost,) = agree(int(not good))
    return "loss" if lost else "gradient", _named(gather(mine[:0] if lost and good else mine))


def _named(rows: Tensor) -> str:
    """Row numbers in rows.parquet, which name nobody."""
    numbers = rows.tolist()
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"rows {', '.join(map(str, numbers[:SHOWN]))}{more}"
