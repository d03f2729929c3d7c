"""Draw the validation AUROC of runs over their epochs.

python examples/learning_curve.py outputs/physionet2012/version_* --out learning_curve.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import yaml

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from setvae_cli.runs.metrics_log import read


def validations(run: Path) -> tuple[list[float], list[float], float | None]:
    """Epochs, validation AUROC and the test AUROC of a run, from its metrics.jsonl."""
    records = read(run / "metrics.jsonl").records
    found = [(r["epoch"], r["val_auc"]) for r in records if "val_auc" in r]
    test = [r["test_auc"] for r in records if "test_auc" in r]
    return [e for e, _ in found], [auc for _, auc in found], test[-1] if test else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    figure, axes = plt.subplots(figsize=(6.4, 3.6), dpi=150)
    styles = ["-", "--", ":", "-."]
    for number, run in enumerate(given.runs):
        epochs, auc, test = validations(run)
        seed = yaml.safe_load((run / "settings.yaml").read_text())["seed"]
        name = f"{run.name}, seed {seed}"
        label = name if test is None else f"{name}: test {test:.3f}"
        style = styles[number % len(styles)]
        axes.plot(epochs, auc, style, color="black", marker="o", markersize=3, label=label)
    axes.set(xlabel="epoch", ylabel="validation AUROC")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(given.out)


if __name__ == "__main__":
    main()
