"""Which checkpoint a run goes on from, and that nobody came between."""

import os
from pathlib import Path

import pytest
from tests.checkpoints import flip, write_checkpoint, write_run

from setvae_cli.errors import RunError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.resume import choose, set_aside


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return write_run(tmp_path / "outputs")


def test_the_furthest_that_verifies_is_chosen_and_what_does_not_is_set_aside(run):
    flip(run.last, run.last.stat().st_size // 2)
    chosen = choose(run.path)
    assert (chosen.content.path, chosen.content.step) == (run.previous, 30)
    assert [one.path for one in chosen.refused] == [run.last]
    aside = set_aside(chosen)
    assert [path.name for path in aside.iterdir()] == ["last.ckpt"]
    assert choose(run.path).refused == ()


def test_from_an_earlier_one_the_later_ones_are_set_aside(run):
    (best,) = run.best()
    chosen = choose(best.path)
    assert set(chosen.later) == {run.last, run.previous}
    aside = set_aside(chosen)
    assert {path.name for path in aside.iterdir()} == {
        "last.ckpt", "previous.ckpt", "metrics.jsonl"
    }  # fmt: skip
    assert choose(run.path).content.step == 20


@pytest.mark.parametrize("what", ["written", "replaced", "removed"])
def test_a_run_that_another_process_went_on_with_meanwhile_is_left_alone(run, what):
    chosen = choose(run.path)
    if what == "written":
        write_checkpoint(run.marked_path("interrupted", step=50, batch_size=4), step=50)
    elif what == "replaced":
        write_checkpoint(run.last, step=50)
    else:
        os.unlink(run.previous)
    there = set(run.path.rglob("*"))
    with pytest.raises(RunError, match="another process trained in the run meanwhile; resume it"):
        set_aside(chosen)
    assert set(run.path.rglob("*")) == there
