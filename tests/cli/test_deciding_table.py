"""The table that decides fits 80 columns, and its marks are what its legend says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.reports.compared import shares

from setvae_cli.cli.deciding_table import table
from setvae_cli.evaluation.paired import Interval


@pytest.mark.parametrize("folds", [None, 5])
@pytest.mark.parametrize("of", [(1.0,), (0.01, 0.05, 0.1, 0.5, 1.0)])
def test_every_line_fits_and_no_interval_is_broken(folds: int | None, of: tuple[float]) -> None:
    lines = table(shares(of, folds=folds))
    assert all(len(line) <= 80 for line in lines)
    assert all(line.count("[") == line.count("]") for line in lines)
    assert lines == [line.rstrip() for line in lines]
    assert len([line for line in lines if " % (" in line]) == (len(of) if len(of) > 1 else 0)


def test_a_mark_is_where_a_difference_excludes_0_and_its_legend_below() -> None:
    lines = table(shares())
    methods = lines[1 : lines.index("")]
    marked = [line.split("0.")[0].strip() for line in methods if line.endswith("*")]
    assert marked == ["trees on summaries", "fine-tuned", "ensemble of 3", "fine-tuned + trees"]
    assert "* the difference excludes 0" in lines


def test_columns_stand_apart_where_an_interval_reaches_1() -> None:
    one = shares(folds=None)
    far = Interval(0.9, 0.4, 1.0)
    gain = Interval(-1.0, -1.0, -0.9999)
    rows = [replace(row, auroc=far, auprc=far, auroc_gain=gain) for row in one.decisions[0].rows]
    line = table(replace(one, decisions=(replace(one.decisions[0], rows=tuple(rows)),)))[1]
    assert line == (
        "trees on summaries   0.900 [.40, 1.0] 0.900 [.40, 1.0] -1.000 [-1.00, -1.00] *"
    )


def test_folds_are_counted_where_there_are_any() -> None:
    counted = [line for line in table(shares((0.05, 1.0))) if line.endswith(" 4/5")]
    assert [line.split(" %")[0] for line in counted] == ["5", "100"]
    assert not any("/" in line for line in table(shares((0.05, 1.0), folds=None)))
