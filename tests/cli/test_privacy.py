"""No id, value, minute or text of a patient, and no name of a person or machine, leaves the data.

Every command runs on canaries, also where it fails; then all it said and every byte that it wrote
is searched, but for the data products: a store, and the cache of stores.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.cli import canaries

from setvae_cli.cli.app import COMMANDS

TINY = ["--preset", "tiny", "--device", "cpu", "--batch-size", "4"]
SHORT = [*TINY, "--max-epochs", "2", "--val-check-interval", "0.5", "--verbose"]
LABELS = ["--map", "label:death=death"]
RUN = "outputs/seqsetvae/version_0"


class Watched:
    """Runs commands in a home of its own, and keeps what they said."""

    def __init__(self, here: Callable[..., Any], home: Path) -> None:
        self.folder, self._here, self.said = home, here, ""
        self.inputs: set[Path] = set()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run one command, which ends with this code, and return all that it said."""
        done = self._here(*arguments)
        assert done.returncode == code, (arguments, done.stderr)
        assert canaries.hits((done.stdout + done.stderr).encode()) == [], arguments
        return done.stdout + done.stderr

    def leaks(self) -> list[str]:
        return canaries.leaks(self.folder, self.inputs)


@pytest.fixture
def watched(here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    home = tmp_path / canaries.USER
    home.joinpath("work").mkdir(parents=True)
    for name, value in {"HOME": str(home), "USER": canaries.USER, "LOGNAME": canaries.USER,
                        "HOSTNAME": f"{canaries.USER}-host"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(home / "work")
    canaries.write_table(home / "work/events.parquet")
    canaries.write_table(home / "work/named.parquet", text_ids=True)
    canaries.write_patients(home / "work/patients")
    run = Watched(here, home)
    run.inputs = set(home.rglob("*"))
    before = os.umask(0o077)  # what `main` begins with
    yield run
    os.umask(before)


def test_the_search_finds_what_it_is_for(watched: Watched) -> None:
    content = b"".join(path.read_bytes() for path in watched.inputs if path.is_file())
    found = " ".join(canaries.hits(content))
    assert str(canaries.FIRST_ID) in found
    assert canaries.GROUP in found
    assert canaries.hits(b"at 98765.43 minutes")
    assert canaries.hits(f"in {watched.folder}/x".encode())
    assert canaries.tensor_hits(np_bytes(canaries.VALUE, "<f4"))
    assert canaries.tensor_hits(np_bytes(canaries.MINUTE, "<f8"))
    assert not canaries.hits(b"epoch 3, loss 1.83, 1234 subjects, 987654 el/s")


def np_bytes(value: float, kind: str) -> bytes:
    import numpy as np

    return np.array([0.5, value], kind).tobytes()


@pytest.mark.slow
def test_a_whole_session_says_and_keeps_nothing_of_a_patient(watched: Watched) -> None:
    watched("precompute", "events.parquet", "--out", "store", *LABELS, "--workers", "1")
    watched("precompute", "store", "--verify", "--verbose")
    watched("precompute", "store", "--inspect", "--json")
    watched("train", "--data", "store", *SHORT)
    watched("train", "--data", "patients", *SHORT, "--json", "--num-workers", "1")
    named = ["named.parquet", *LABELS, "--map", "attribute:note=note"]
    watched("train", "--data", *named, *TINY, "--max-steps", "2")
    watched("benchmark-loader", "--data", "store", *TINY, "--num-batches", "4", "--verbose")
    for command, arguments in LATER.items():
        if command in COMMANDS:
            for each in arguments:
                watched(command, *each)
    assert watched.leaks() == []


FROZEN = ("--max-steps", "2", "--no-compare", "--freeze", "all", "--json")
LATER: dict[str, list[list[str]]] = {
    "finetune": [
        [RUN, "--max-steps", "2", "--no-compare", "--name", "tuned", "--verbose"],
        ["outputs/tuned/version_0", *FROZEN],
    ],
    "resume": [
        [RUN, "--max-epochs", "3", "--verbose"],
        ["outputs/seqsetvae/version_1", "--max-epochs", "3", "--json"],
    ],
    "export": [[RUN, "--out", "model.safetensors"]],
    "analyze-curves": [
        [RUN, "--verbose"],
        ["outputs", "--compare", "--save-dir", "compared", "--json"],
    ],
    "watch": [[RUN], ["outputs", "--json"]],
    "visualize": [
        [RUN, "--method", "pca", "--verbose"],
        ["outputs/seqsetvae/version_1", "--method", "pca", "--split", "train", "--json"],
        ["outputs/seqsetvae/version_2", "--method", "pca", "--sample-idx", "0,1,2"],
    ],
    "evaluate": [
        [RUN, "--verbose"],
        ["outputs/seqsetvae/version_1", "--split", "all", "--threshold", "0.3", "--json"],
        ["outputs/seqsetvae/version_2", "--split", "all", "--by", "note"],
    ],
    "embed": [
        [RUN, "--verbose", "--with-labels"],
        ["outputs/seqsetvae/version_1", "--split", "test", "--pool", "mean", "--json"],
    ],
    "doctor": [["store"], [RUN], ["outputs/seqsetvae/version_1", "--json"]],
}  # fmt: skip


@pytest.mark.slow
def test_absolute_paths_are_kept_without_the_home_folder(watched: Watched) -> None:
    home = watched.folder / "work"
    here = watched._here("train", "--data", str(home / "patients"), *TINY, "--max-steps", "2",
                         "--output-dir", str(home / "runs"))  # fmt: skip
    assert here.returncode == 0, here.stderr
    assert watched.leaks() == []
    assert (home / "runs/seqsetvae/version_0/settings.yaml").is_file()


def damaged(source: str, change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        path = (
            next((folder / source).rglob("*.parquet")) if source == "patients" else folder / source
        )
        pq.write_table(change(pq.read_table(path)), path)

    return write


def with_cells(name: str, cells: list[Any]) -> Callable[[pa.Table], pa.Table]:
    """A change that puts other cells at the start of a column."""

    def change(whole: pa.Table) -> pa.Table:
        column = [*cells, *whole[name].to_pylist()[len(cells) :]]
        return whole.set_column(whole.schema.get_field_index(name), name, pa.array(column))

    return change


def as_text(name: str, word: str) -> Callable[[pa.Table], pa.Table]:
    def change(whole: pa.Table) -> pa.Table:
        column = [*map(str, whole[name].to_pylist()[:-1]), word]
        return whole.set_column(whole.schema.get_field_index(name), name, pa.array(column))

    return change


def cut(whole: pa.Table) -> pa.Table:
    return whole.drop_columns(["minute"])


def rows_of_two_lengths(folder: Path) -> None:
    first, value = canaries.FIRST_ID, canaries.VALUE
    text = f"subject_id,minute,code,value\n{first},1,a,{value}\n{first},1,a,{value},{value}\n"
    folder.joinpath("cohort.csv").write_text(text)


FAILING: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "text value": (damaged("events.parquet", as_text("value", canaries.WORDS)), []),
    "text time": (damaged("events.parquet", as_text("minute", canaries.WORDS)), []),
    "infinite": (damaged("events.parquet", with_cells("value", [float("inf")] * 99)), []),
    "no label": (
        damaged("events.parquet", with_cells("death", [canaries.FIRST_ID])), [],
    ),
    "two labels": (damaged("events.parquet", with_cells("death", [0, 1, 0, 1])), []),
    "two groups": (damaged("events.parquet", with_cells("group_id", [canaries.GROUP])), []),
    "two splits": (damaged("events.parquet", with_cells("split", ["test"])), []),
    "other split": (damaged("events.parquet", with_cells("split", [canaries.WORDS])), []),
    "control": (damaged("events.parquet", with_cells("subject_id", [None] * 99)), []),
    "csv": (rows_of_two_lengths, ["cohort.csv"]),
    "patient": (damaged("patients", cut), ["patients"]),
    "patient's words": (damaged("patients", as_text("value", canaries.WORDS)), ["patients"]),
}  # fmt: skip


@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
@pytest.mark.parametrize("name", FAILING)
def test_what_fails_says_nothing_of_a_patient(
    watched: Watched, name: str, debug: list[str]
) -> None:
    damage, data = FAILING[name]
    damage(Path.cwd())
    watched.inputs |= set(Path.cwd().iterdir())
    named = data or ["events.parquet", *LABELS]
    said = watched("precompute", *named, "--out", "store", "--workers", "1", *debug, code=2)
    assert ("Traceback" in said) == bool(debug)
    assert watched.leaks() == []


@pytest.mark.slow
@pytest.mark.parametrize("debug", [[], ["--debug"]], ids=["plain", "debug"])
def test_a_training_that_fails_says_and_keeps_nothing_of_a_patient(
    watched: Watched, debug: list[str]
) -> None:
    said = watched("train", "--data", "patients", *SHORT, "--lr", "1e30", *debug, code=1)
    assert "not finite at step" in said
    assert watched.leaks() == []


@pytest.mark.slow
def test_everything_below_the_outputs_is_for_its_owner_alone(watched: Watched) -> None:
    watched("train", "--data", "patients", *SHORT)
    for path in [Path("outputs"), *Path("outputs").rglob("*")]:
        expected = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_no_core_is_dumped_and_new_files_are_for_their_owner_alone() -> None:
    program = (
        "import os, resource, sys; from setvae_cli.cli import app; sys.argv[1:] = ['--version'];"
        "app.main(); print(resource.getrlimit(resource.RLIMIT_CORE)[0], oct(os.umask(0)))"
    )
    shell = f'ulimit -c "$(ulimit -H -c)"; umask 0; exec "{sys.executable}" -c "{program}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "0 0o77", done.stderr


def test_a_traceback_holds_no_value_of_a_variable(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    from setvae_cli.store import precompute

    def break_down(*arguments: Any) -> None:
        events = canaries.events()
        raise RuntimeError(f"{len(events)} columns")

    monkeypatch.setattr(precompute, "_write", break_down)
    arguments = ["precompute", "events.parquet", "--out", "store", "--workers", "1"]
    said = watched(*arguments, "--debug", code=1)
    assert "Traceback" in said
    assert "in break_down" in said
    assert "a fault in setvae (RuntimeError at precompute.py:" in watched(*arguments, code=1)
    assert watched.leaks() == []
