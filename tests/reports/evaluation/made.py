"""An evaluation of a model that does not exist."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from setvae_cli.evaluation.attributes import Attribute
from setvae_cli.evaluation.findings import Findings, Provenance, TaskFindings, assess
from setvae_cli.evaluation.labelled import Labelled

SOURCE = Provenance(
    run="seqsetvae/version_0",
    checkpoint="best_epoch=12_step=12300_auc=0.8255_bs=4.ckpt",  # as training writes them
    step=12300,
    begun="2026-11-21",
    version="0.1.0",
    trained_on="a" * 64,
    data="a" * 64,
)


def findings(*tasks: TaskFindings, split: str = "test", notes: Sequence[str] = ()) -> Findings:
    subjects = max(task.subjects for task in tasks)
    return Findings(SOURCE, split, subjects, 0, 0.0, tasks, ("Ward",), tuple(notes), 50)


def task(
    size: int = 300,
    *,
    classes: int = 2,
    name: str = "death",
    wards: Sequence[str] = (),
    extreme: float = 1.0,
    seed: int = 0,
    names: Sequence[str] = (),
) -> TaskFindings:
    """Figures of random subjects.

    Args:
        size: Subjects.
        classes: Of the label.
        name: Of the label.
        wards: Groups of an attribute; subjects of the last one are ranked by chance.
        extreme: How many times logits are too far apart.
        seed: Of everything.
        names: Of the classes.
    """
    generator = np.random.default_rng(seed)
    logits = generator.normal(-0.8, 1.2, (size, 1 if classes == 2 else classes))
    padded = np.concatenate([np.zeros((size, 1)), logits], 1) if classes == 2 else 2 * logits
    odds = np.exp(padded) / np.exp(padded).sum(1, keepdims=True)
    labels = (generator.random((size, 1)) > odds.cumsum(1)).sum(1).clip(max=classes - 1)
    place = np.arange(size) % max(len(wards), 1)
    if wards:
        last = place == len(wards) - 1
        logits[last] = generator.permutation(logits[last])
    numbers, groups_of = labels.astype(np.int64), np.arange(size)
    of = Labelled(name, classes, extreme * logits, numbers, groups_of, tuple(names))
    groups = [Attribute("Ward", tuple(wards), place)] if wards else []
    return assess(of, groups, threshold=None, resamples=50, seed=0, progress=lambda *told: None)


def table(size: int = 3) -> pa.Table:
    return pa.table({"row": np.arange(size)})
