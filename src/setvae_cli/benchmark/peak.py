"""How many FLOPs a second this machine reaches in one large product."""

from __future__ import annotations

import torch

from setvae_cli.benchmark.clock import Visit, timed
from setvae_cli.training.machine import Machine

ROWS, INNER, COLUMNS = 4096, 1024, 1024
FLOPS = 2 * ROWS * INNER * COLUMNS
SECONDS = 0.1


class MatmulPeak:
    """A 4096 x 1024 by 1024 x 1024 product, in the precision that a machine computes in.

    Args:
        machine: Its device, threads and precision.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        with machine.autocast():
            one = torch.ones(1, 1, dtype=machine.dtype, device=machine.device)
            self.dtype = (one @ one).dtype
        generator = torch.Generator().manual_seed(0)

        def normal(rows: int, columns: int) -> torch.Tensor:
            return torch.randn(rows, columns, generator=generator).to(machine.device, self.dtype)

        self._a, self._b = normal(ROWS, INNER), normal(INNER, COLUMNS)
        self._out = normal(ROWS, COLUMNS)

    def visit(self) -> Visit:
        """Multiply for a moment."""
        with self._machine.computing():
            torch.mm(self._a, self._b, out=self._out)
            return timed(self._multiply, self._machine.device, least_seconds=SECONDS)

    def _multiply(self) -> tuple[int, int]:
        torch.mm(self._a, self._b, out=self._out)
        return 0, FLOPS
