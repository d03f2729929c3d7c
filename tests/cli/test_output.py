"""What the screen shows: layouts, the pace of plain lines, streams."""

import io
import logging
import re
import sys
from pathlib import Path

import pytest

from setvae_cli import numbers
from setvae_cli.cli.output import Output
from setvae_cli.cli.precompute import Preparation, store_table
from setvae_cli.cli.train import TrainingView, closing_table, progress_tail, validation_line
from setvae_cli.evaluation.measures import LevelPosterior, Metric
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.format import SplitCounts
from setvae_cli.store.precompute import PrepareProgress, Summary
from setvae_cli.training.records import Progress, Result, RunStarted, Stopped, Validated

RUN = "outputs/seqsetvae/version_0"
STARTED = RunStarted(RUN, "simulated, 41 codes", "base, latent 32", "2 cores, no GPU")
PROGRESS = Progress(3, 10, 62, 100, 10, 40, 12_400.0, 1.83, 0.81, 41.0)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that a test moves on."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def metric(name: str, value: float | None, **rest: object) -> Metric:
    low, high = (None, None) if value is None else (value - 0.04, value + 0.04)
    return Metric(name, "death", value, low, high, 150, **rest)  # type: ignore[arg-type]


def result(*metrics: Metric) -> Result:
    levels = (
        LevelPosterior(1, 8.13, 1.3, 58, 64, 9000, "healthy"),
        LevelPosterior(2, 12.0, 0.0, 4, 8, 9000, "collapsed"),
    )
    best = f"{RUN}/checkpoints/best_epoch=7.ckpt"
    return Result(
        RUN, best, "val_auc", "test", metrics, levels, (), 10, 400, 90.0, "10 epochs done"
    )


def test_the_closing_table_reads_as_designed() -> None:
    lines = closing_table(result(metric("auroc", 0.842), metric("auprc", 0.513)))
    assert lines == [
        "Result                          Posterior",
        "test AUROC  0.842 [0.80, 0.88]  level  KL nats  floor  active     verdict",
        "test AUPRC  0.513 [0.47, 0.55]    1      8.1     1.3   58 / 64    healthy",
        "                                  2     12.0     0.0    4 / 8     collapsed",
        "best        outputs/seqsetvae/version_0/checkpoints/best_epoch=7.ckpt",
    ]


def test_an_absent_metric_gives_its_reason_and_no_number() -> None:
    lines = closing_table(result(metric("auroc", None, reason="one class only")))
    assert lines[1].startswith("test AUROC  n/a (one class only)  level")


def test_several_tasks_are_named() -> None:
    second = Metric("auroc", "readmission", 0.7, None, None, 9)
    lines = closing_table(result(metric("auroc", 0.842), second))
    assert lines[1].startswith("test AUROC death        0.842 [0.80, 0.88]  level")
    assert lines[2].startswith("test AUROC readmission  0.700")


def test_progress_names_rate_loss_auc_and_time_left() -> None:
    assert progress_tail(PROGRESS) == "12 400 el/s  loss 1.83  AUC 0.81  0:41 left"


def test_a_validation_names_what_is_absent() -> None:
    line = validation_line(Validated(2, 1200, {"val_loss": 1.5}, {"val_auc": "one class"}, True))
    assert line == "validation, epoch 2, step 1 200:  loss 1.5  auc n/a  (best)"


def test_a_store_is_shown_with_its_splits_and_drops() -> None:
    counts = SplitCounts(
        subjects=28_001,
        groups=28_001,
        sets=4_100_000,
        elements=31_000_000,
        positive={"died": 0.102},
    )
    drops = {"duplicate": 9110, "empty value": 3201}
    summary = Summary(
        Path("store"), {"train": counts}, drops, {}, {"died": 2}, {}, 268_000_000, "x"
    )
    assert store_table(summary, "store written", "verified") == [
        "split  subjects   sets  elements  positive",
        "train    28 001  4.1 M    31.0 M    10.2 %",
        "dropped 12 311 rows: 9 110 duplicate, 3 201 empty value",
        "store written: store (268 MB, verified)",
    ]


def test_classes_of_a_label_given_as_texts_are_listed_with_their_numbers() -> None:
    counts = SplitCounts(subjects=9, groups=9, sets=9, elements=9, positive={"went": 0.7})
    names = {"went": ("dead", "home", "ward")}
    summary = Summary(Path("store"), {"train": counts}, {}, {}, {"went": 3}, names, 1000, "x")
    assert store_table(summary, "store written", "verified")[:3] == [
        "split  subjects  sets  elements  not class 0",
        "train         9     9         9       70.0 %",
        "went: 0 dead, 1 home, 2 ward",
    ]


def test_off_a_terminal_progress_is_one_plain_line_a_minute(capsys) -> None:
    clock = Clock()
    output = Output("train", clock=clock)
    for second in range(0, 181, 5):
        clock.now = float(second)
        output.progress("epoch 1/2", second / 200, "9 el/s")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"epoch 1/2  {share} %  9 el/s" for share in (30, 60, 90)]


def test_on_a_terminal_progress_fits_and_goes_away(monkeypatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    output = Output("train")
    view = TrainingView(TrainSettings(), output)
    for record in (STARTED, PROGRESS, Stopped("no better val_auc for 5 validations", early=True)):
        view(record)
    output.end_progress()
    text = stream.getvalue()
    assert "62 %" in text
    assert "0:41 left" in text
    assert "Stopped early: no better val_auc for 5 validations." in text
    assert "measuring on test" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2


def test_preparation_says_its_rate_and_time_left(capsys) -> None:
    clock = Clock()
    show = Preparation(Output("precompute", clock=clock), clock)
    show(PrepareProgress("reading", 0, 100, "subjects", 0))
    clock.now = 60.0
    show(PrepareProgress("reading", 40, 100, "subjects", 600_000))
    assert capsys.readouterr().err == "reading  40 %  10 000 rows/s  1:30 left\n"


def test_what_was_dropped_on_the_way_into_the_cache_is_said(capsys) -> None:
    show = Preparation(Output("train"))
    show(Summary(Path("store"), {}, {"conflicting duplicate": 3}, {}, {}, {}, 0, "digest"))
    assert capsys.readouterr().err == "dropped 3 rows: 3 conflicting duplicate\n\n"


@pytest.mark.parametrize("quiet", [False, True])
def test_the_result_is_on_stdout_and_all_else_on_stderr(capsys, quiet: bool) -> None:
    output = Output("train", quiet=quiet)
    output.say("about to")
    output.facts([("run", "x"), ("machine", "y")])
    output.warn("careful")
    output.result(["Result", "AUROC 0.8"], {"auroc": 0.8})
    output.next("setvae train")
    captured = capsys.readouterr()
    assert captured.out == "Result\nAUROC 0.8\n"
    said = "about to\nrun      x\nmachine  y\nsetvae train: warning: careful\n"
    said += "\n\nNext:  setvae train\n"
    assert captured.err == ("" if quiet else said)


def test_library_warnings_read_like_ours_and_information_needs_verbose(here, capsys) -> None:
    for verbose, expected in ((False, ""), (True, "details\n")):
        Output("train", verbose=verbose).receive_logs()
        logging.getLogger("setvae_cli.store").warning("%d codes never occur", 3)
        logging.getLogger("setvae_cli.store").info("details")
        warning = "setvae train: warning: 3 codes never occur\n"
        assert capsys.readouterr().err == warning + expected


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0:00"), (59.7, "1:00"), (3599, "59:59"), (86400, "24:00:00")]
)
def test_durations_read_as_a_clock(seconds: float, shown: str) -> None:
    assert numbers.clock(seconds) == shown


@pytest.mark.parametrize(
    ("octets", "shown"), [(12, "12 B"), (3_080_000, "3.08 MB"), (10**9, "1 GB")]
)
def test_sizes_have_units(octets: int, shown: str) -> None:
    assert numbers.size(octets) == shown


def test_a_warning_ends_its_lines_between_words_on_a_terminal(monkeypatch) -> None:
    screen = Terminal()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    words = "training ended no better than guessing the classes of the label"
    Output("train").warn(words)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue()).splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 40
    assert " ".join(" ".join(lines).split()) == f"setvae train: warning: {words}"
