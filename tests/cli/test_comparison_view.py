"""What a person sees while a comparison goes on: job by job, and how long it takes."""

from __future__ import annotations

import re
import sys

import pytest
from tests.cli.test_output import PROGRESS, Clock, Terminal

from setvae_cli.cli.comparison_view import ComparisonView
from setvae_cli.cli.output import Output
from setvae_cli.training.compare.jobs import Job, Place
from setvae_cli.training.compare.run import JobStarted
from setvae_cli.training.compare.times import Left

FEW = Job("finetuned", Place(1, 2, 0.05))


def said(left: Left | None, since: float, capsys) -> str:
    """The tail of a line so many seconds behind the beginning of a job."""
    clock = Clock()
    view = ComparisonView(Output("finetune", clock=clock), clock)
    view(JobStarted(FEW, 12, 41, left))
    clock.now = since
    view(PROGRESS)
    return capsys.readouterr().err.splitlines()[-1].partition("%  ")[2]


def test_in_a_log_every_job_is_a_line(capsys) -> None:
    view = ComparisonView(Output("finetune", clock=Clock()))
    view(JobStarted(Job("summary_trees", Place(0, None, 1.0)), 1, 41))
    view(JobStarted(FEW, 12, 41, Left(100.0, 1400.0, bound=False)))
    assert capsys.readouterr().err.splitlines() == [
        "job 1 of 41: trees on summaries  0 %",
        "job 12 of 41: fine-tuning, fold 2 of repeat 1, 5 % of labels  27 %  about 25 min left",
    ]


@pytest.mark.parametrize(
    ("left", "since", "expected"),
    [
        (None, 61.0, "epoch 3/10"),
        (Left(100.0, 1400.0, bound=False), 100.0, "about 23 min left"),
        (Left(100.0, 1400.0, bound=True), 500.0, "up to 23 min left"),
        (Left(90.0, 0.0, bound=False), 61.0, "under 1 min left"),
        (Left(90.0, 0.0, bound=False), 91.0, "epoch 3/10"),
        (Left(0.0, 9000.0, bound=False), 61.0, "about 2.5 h left"),
    ],
)
def test_time_left_is_that_of_jobs_behind_and_of_what_this_one_has_left(
    left: Left | None, since: float, expected: str, capsys
) -> None:
    assert said(left, since, capsys) == expected


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_it_is_one_line_that_fits(columns: int, monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(columns))
    output = Output("finetune")
    view = ComparisonView(output)
    view(JobStarted(FEW, 312, 741, Left(100.0, 5000.0, bound=True)))
    view(PROGRESS)
    output.end_progress()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    lines = [line for line in re.split(r"[\r\n]", plain) if line.strip()]
    assert all(len(line.rstrip()) <= columns for line in lines)
    assert all("312 of 741: fine-tuning" in line for line in lines)
    assert any("up to 85 min left" in line for line in lines)
    assert any("repeat 1" in line for line in lines) == (columns == 120)
