"""The sets of a pass that are kept for reports: all, or a uniform sample that memory can hold.

The sample is that of monitor/sample.py: the sets with the smallest hashes of row and place, so that
neither batches nor their order change who is in it.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.evaluation.latents import LevelLatents, SetLatents
from setvae_cli.monitor.residual import Residual
from setvae_cli.monitor.sample import sample_key
from setvae_cli.nn.gaussian import DiagGaussian
from setvae_cli.nn.seq_set_vae import Output

MOST_SETS, MOST_BYTES = 200_000, 1 << 29
SLACK = 1.25  # how far beyond the limit sets gather before those that leave are sorted out
COLUMNS = ("key", "row", "place", "hours", "size", "recon", "levels", "history")
MEAN, VARIANCE, PRIOR_MEAN, PRIOR_VARIANCE, KL = range(5)


class KeptSets:
    """Collects the sets of batches.

    Args:
        numbers: Numbers a set, float32: five a latent of each level, and the state of the history.
        most: Sets that are kept; default: as many as fit 512 MiB, at most 200 000.

    Attributes:
        seen: Sets so far.
        recon: Sum of their reconstruction.
    """

    def __init__(self, numbers: int, most: int | None = None) -> None:
        self._most = most or max(1, min(MOST_SETS, MOST_BYTES // (4 * numbers)))
        self._parts: list[tuple[Tensor, ...]] = []
        self._kept, self._below = 0, torch.inf
        self.seen, self.recon = 0, 0.0

    def add(self, batch: SetBatch, output: Output, recon: Tensor, hours: Tensor) -> None:
        """Add a batch.

        Args:
            batch: The batch.
            output: Of it, without noise.
            recon: Reconstruction of each set.
            hours: Of each set, since its subject's first.
        """
        plan = batch.plan
        row = batch.rows.index_select(0, plan.set_subject)
        place = torch.arange(plan.sets, device=row.device)
        place = place - plan.subject_start.index_select(0, plan.set_subject)
        key, self.seen = sample_key(row, place), self.seen + plan.sets
        pairs = zip(output.posteriors, output.priors, strict=True)
        self.recon += float(recon.double().sum())
        levels = torch.stack([_level(q, p) for q, p in pairs], 1)
        columns = (key, row, place, hours, batch.set_sizes, recon, levels, output.history)
        chosen = (key < self._below).nonzero()[:, 0]
        part = tuple(_plain(column.index_select(0, chosen)) for column in columns)
        self._parts.append(part)
        self._kept += len(chosen)
        if self._kept > SLACK * self._most:
            self._sort_out()

    def finish(self) -> SetLatents:
        """What was kept, ordered by row and place."""
        self._sort_out()
        column = dict(zip(COLUMNS, self._parts[0], strict=True))
        order = np.lexsort((column["place"].numpy(), column["row"].numpy()))
        found = {name: tensor.numpy()[order] for name, tensor in column.items()}
        return SetLatents(
            row=found["row"],
            place=found["place"].astype(np.int32),
            hours=found["hours"].astype(np.float32),
            size=found["size"].astype(np.int32),
            recon=found["recon"].astype(np.float32),
            levels=tuple(_named(found["levels"][:, i]) for i in range(found["levels"].shape[1])),
            history=found["history"],
        )

    def _sort_out(self) -> None:
        """Join what was added, and let go of the sets with the largest hashes."""
        joined = tuple(torch.cat(column) for column in zip(*self._parts, strict=True))
        if len(joined[0]) > self._most:
            order = torch.argsort(joined[0], stable=True)[: self._most]
            joined = tuple(column.index_select(0, order) for column in joined)
            self._below = float(joined[0][-1])
        self._parts, self._kept = [joined], len(joined[0])


def _level(q: DiagGaussian, p: DiagGaussian) -> Float[Tensor, "sets five latent"]:
    kl = Residual.of(q, p).kl().to(q.mean.dtype)
    return torch.stack([q.mean, q.logvar.exp(), p.mean, p.logvar.exp(), kl], 1)


def _named(numbers: NDArray[np.float32]) -> LevelLatents:
    return LevelLatents(
        mean=numbers[:, MEAN],
        variance=numbers[:, VARIANCE],
        prior_mean=numbers[:, PRIOR_MEAN],
        prior_variance=numbers[:, PRIOR_VARIANCE],
        kl=numbers[:, KL],
    )


def _plain(column: Tensor) -> Tensor:
    """On the CPU; measured numbers in float32, hashes and counts as they are."""
    column = column.detach().cpu()
    return column.float() if column.dtype.is_floating_point and column.dim() != 1 else column
