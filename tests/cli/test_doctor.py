"""`setvae doctor` from the outside: exit codes, one finding a line, nothing private in it."""

from __future__ import annotations

import json
import platform
import re
import shutil
from pathlib import Path

import pytest
from tests.checkpoints import flip, write_checkpoint, write_run

from setvae_cli.cli.doctor import named


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("outputs")).path


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_run, tmp_path / "outputs" / "seqsetvae" / "version_0"))


def test_a_machine_is_described_in_sections_that_fit_eighty_columns(setvae) -> None:
    done = setvae("doctor")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("Versions", "Devices", "System")] == [
        "Versions",
        "Devices",
        "System",
    ]
    assert max(map(len, lines)) <= 80
    assert re.search(r"^core dumps +off +ok$", done.stdout, re.MULTILINE)
    assert re.search(r"^umask +0077, .* +ok$", done.stdout, re.MULTILINE)
    assert re.fullmatch(r"nothing is wrong, (no warnings|1 warning|\d+ warnings)", lines[-1])
    assert "\x1b" not in done.stdout + done.stderr


def test_json_holds_every_finding_with_its_state(here) -> None:
    found = json.loads(here("doctor", "--json").stdout)
    assert found["path"] is None
    assert {one["state"] for one in found["findings"]} <= {"ok", "warn", "wrong"}
    assert {"section", "name", "value", "state", "mend"} == set(found["findings"][0])
    assert all(one["mend"] for one in found["findings"] if one["state"] != "ok")


def test_a_warning_leaves_the_exit_code_at_0_and_something_wrong_makes_it_1(here) -> None:
    warned = here("doctor", RANK="1", MASTER_ADDR="node17")
    assert warned.returncode == 0
    assert re.search(r"^launcher +RANK, MASTER_ADDR are set +warn$", warned.stdout, re.MULTILINE)
    assert "node17" not in warned.stdout
    wrong = here("doctor", SETVAE_SEDE="7")
    assert wrong.returncode == 1
    assert "-> did you mean SETVAE_SEED?" in wrong.stdout
    assert wrong.stdout.splitlines()[-1].startswith("1 thing is wrong, ")


def test_neither_the_machine_nor_its_owner_nor_a_folder_is_named(here, tmp_path: Path) -> None:
    text = here("doctor", HOME=str(tmp_path), USER="somebody", SETVAE_OUTPUT_DIR=f"{tmp_path}/o")
    for private in (str(tmp_path), platform.node() or "\0", "somebody"):
        assert private not in text.stdout


def test_a_home_folder_is_written_as_people_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/usr")
    assert named(str(tmp_path / "runs" / "a.ckpt")) == "~/runs/a.ckpt"
    assert named("runs/a.ckpt") == "runs/a.ckpt"


def test_a_whole_run_is_ok_and_a_damaged_one_is_not(here, run: Path) -> None:
    done = here("doctor", "outputs/seqsetvae/version_0")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "nothing is wrong, no warnings")
    flip(run / "checkpoints" / "last.ckpt", 5000)
    done = here("doctor", "outputs/seqsetvae/version_0")
    assert done.returncode == 1
    line = r"^last +last\.ckpt is damaged: a checksum does not match +wrong$"
    assert re.search(line, done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("nowhere", r"nowhere: no such file .*; check the path"),
        ("outputs", r"outputs: is no store and no run; name a run in it, such as .*version_0"),
        ("notes.txt", r"notes\.txt: is nothing that setvae wrote; name a store, .*"),
        ("page.ckpt", r"page\.ckpt: is no checkpoint; .*"),
        (".", r"\.: is no store and no run; .*"),
        ("/", r"/: is no store and no run; .*"),
        ("/dev/zero", r"/dev/zero: is no regular file .*"),
    ],
)
def test_a_path_to_nothing_of_ours_ends_with_one_line_and_exit_code_2(
    here, run: Path, tmp_path: Path, path: str, line: str
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "page.ckpt").write_text("<html></html>")
    done = here("doctor", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae doctor: error: {line}\n", done.stderr), done.stderr


def test_a_name_in_a_file_cannot_write_on_the_terminal(here, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a.ckpt", tasks=["death\x1b[2J\nok", "ward"])
    done = here("doctor", "a.ckpt")
    assert (done.returncode, "\x1b" in done.stdout) == (0, False)
    assert "death?[2J ok, ward" in done.stdout
