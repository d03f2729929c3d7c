"""Accuracy and F1 under the tags of fine-tuning: `val_acc`, `val_f1`, with several labels each."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from setvae_cli.evaluation.sweep import Swept


def right(
    logits: Float[Tensor, "subjects outputs"],
    labels: Int[Tensor, "subjects tasks"],
    mask: Bool[Tensor, "subjects tasks"],
    classes: Sequence[int],
) -> Float[Tensor, "2"]:
    """Labels that were predicted right, and labels, over all tasks; nothing leaves the device."""
    correct = logits.new_zeros(())
    column = 0
    for task, count in enumerate(classes):
        width = 1 if count == 2 else count
        scores = logits[:, column : column + width]
        said = scores[:, 0] > 0 if width == 1 else scores.argmax(1)
        correct = correct + ((said == labels[:, task]) & mask[:, task]).sum()
        column += width
    return torch.stack([correct, mask[:, : len(classes)].sum().to(correct.dtype)])


def thresholded(
    swept: Swept, tasks: Sequence[str], classes: Sequence[int]
) -> tuple[dict[str, float], dict[str, str]]:
    """Accuracy and F1 of a pass over validation.

    Returns:
        Tag to value, and tag of an absent one to the reason. With several labels each has its own,
        beside the mean over those that have one.
    """
    scalars: dict[str, float] = {}
    absent: dict[str, str] = {}
    column = 0
    found: dict[str, list[float]] = {"val_acc": [], "val_f1": []}
    for number, (task, count) in enumerate(zip(tasks, classes, strict=True)):
        width = 1 if count == 2 else count
        real = swept.label_mask[:, number]
        scores = swept.logits[real, column : column + width]
        said = (scores[:, 0] > 0).astype(np.int64) if width == 1 else scores.argmax(axis=1)
        truth, suffix = swept.labels[real, number], f"_{task}" if len(tasks) > 1 else ""
        column += width
        if not len(truth):
            absent |= dict.fromkeys((f"val_acc{suffix}", f"val_f1{suffix}"), "no labelled subjects")
            continue
        measured = {
            "val_acc": (float(np.mean(said == truth)), ""),
            "val_f1": f1(said, truth, count),
        }
        for tag, (value, reason) in measured.items():
            if value is None:
                absent[f"{tag}{suffix}"] = reason
            else:
                scalars[f"{tag}{suffix}"] = value
                found[tag].append(value)
    means = {tag: float(np.mean(values)) for tag, values in found.items() if values}
    return {**scalars, **means}, absent


def f1(said: np.ndarray, truth: np.ndarray, classes: int) -> tuple[float | None, str]:
    """F1 of class 1, with more than two classes the mean over all; or None, and why.

    >>> f1(np.array([1, 1, 0, 0]), np.array([1, 0, 1, 0]), 2)
    (0.5, '')
    """
    asked = [1] if classes == 2 else range(classes)
    missing = [one for one in asked if not (truth == one).any()]
    if missing:
        return None, f"class {missing[0]} is not present"
    if classes == 2 and truth.all():
        return None, "only class 1 is present"
    each = [
        2 * ((said == one) & (truth == one)).sum() / ((said == one).sum() + (truth == one).sum())
        for one in asked
    ]
    return float(np.mean(each)), ""
