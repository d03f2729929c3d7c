"""Names of curves: what ours are called, and what the original's logs call the same things.

train_<word>_step   train_<word>_epoch   val_<word>        those of a step and an epoch stay apart
legacy/<tag>        a KL that was computed back from a weighted one
"""

from __future__ import annotations

import re

LOG_FORMAT = "setvae/log_format"
BOOKKEEPING = frozenset({LOG_FORMAT, "hp_metric", "epoch", "planned_steps", "planned_epochs"})
RATIO = "val_active_ratio@"
WORDS = frozenset(
    {
        "loss", "recon", "kl", "beta_kl", "kl_obj", "pred", "beta", "recon_weight", "pred_weight",
        "forecast", "masked", "coles", "recall_1", "recall_5", "recall_20",
        "auc", "auprc", "accuracy", "grad_norm", "variance", "active_units",
    }
)  # fmt: skip
_ALIASES = {"class_loss": "pred", "auroc": "auc", "acc": "accuracy"}
_LEARNING_RATE = re.compile(r"lr-\w+(?:/pg1)?")
_STAGED = re.compile(r"(train|val)_(\w+?)(_step|_epoch)?")


def canonical(tag: str) -> str:
    """The name that we write for a curve; a tag that is none of ours stays as it is.

    >>> canonical("val_auroc"), canonical("train_class_loss_epoch"), canonical("train_loss")
    ('val_auc', 'train_pred_epoch', 'train_loss_step')
    """
    if tag == "grad_norm":
        return "train_grad_norm_step"
    if _LEARNING_RATE.fullmatch(tag):
        return "lr"
    match = _STAGED.fullmatch(tag)
    word = _ALIASES.get(match[2], match[2]) if match else ""
    if match is None or word not in WORDS:
        return tag
    suffix = match[3] or ("_step" if match[1] == "train" else "")
    if match[1] == "val" and suffix == "_epoch":
        suffix = ""
    return f"{match[1]}_{word}{suffix}"


def is_known(tag: str) -> bool:
    """Whether a canonical tag is one of the curves that are judged and drawn."""
    match = _STAGED.fullmatch(tag)
    return match is not None and match[2] in WORDS
