"""A checkpoint that cannot be used stops every command that reads one, and nothing in it runs.

Numbers are those of the project's list of bad inputs.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.cli import bad_checkpoints as bad

from setvae_cli.cli import app

RUN = Path("outputs/seqsetvae/version_0")
READERS = {"resume": ["--max-steps", "9", "--max-epochs", "9"], "export": []}
CODE = r"refused: it contains code, or objects other than tensors and plain values; .*"
OTHER = r"is no checkpoint.*; .*"
CLAIMS = r"refused: it claims to hold more than its file does; fetch it again .*"
LARGER = r"holds another architecture: its settings describe more weights than it has; .*"
CUT = r"is cut short or damaged; the newest intact one beside it is \S+\.ckpt"
SUM = r"is (damaged: a checksum does not match|cut short or damaged); the newest intact one .*"
UNLIKE = r"holds another architecture: \d+ weights differ \([\w.]+, [\w.]+, [\w.]+\); .*"

REFUSED: dict[str, tuple[bad.Spoil, str]] = {
    "78 missing": (lambda run, good: ["nowhere.ckpt"], r"no such .*; check the path"),
    "78 folder": (lambda run, good: [str(run.parent)], r".*; .*"),
    "79 half": (bad.cut(0.5), CUT),
    "79 all but the end": (bad.cut(0.999), CUT),
    "79 empty": (bad.replaced(b""), r"is empty, 0 bytes \(checkpoint\); check how it was made"),
    "80 first weights": (bad.flipped(0.2), SUM),
    "80 middle": (bad.flipped(0.5), SUM),
    "81 html": (bad.replaced(b"<!DOCTYPE html><title>404</title>"), OTHER),
    "81 Parquet": (bad.replaced(b"PAR1" + bytes(99) + b"PAR1"), OTHER),
    "81 archive": (bad.archive(b"no pickle"), CODE),
    "81 number": (bad.archive(pickle.dumps(3, 2)), OTHER),
    "82 width": (bad.settings(dim=48), UNLIKE),
    "82 layers": (bad.settings(layers=7), UNLIKE),
    "83 fewer codes": (bad.changed(bad.fewer_codes), UNLIKE),
    "84 pickle": (bad.replaced(pickle.dumps(bad.Command())), OTHER),
    "84 in an archive": (bad.archive(pickle.dumps(bad.Command(), 2)), CODE),
    "84 tar": (bad.legacy_archive, OTHER),
    "84 stream": (bad.legacy_stream, OTHER),
    "84 script": (bad.script, r"(refused|is no checkpoint).*; .*"),
    "85 compressed": (
        bad.archive(bytes(1_000_000), compressed=True),
        r"is no checkpoint: it is a compressed archive; .*",
    ),
    "85 many entries": (bad.archive(pickle.dumps({}, 2), entries=20_000), OTHER),
    "85 size in the directory": (bad.lying_size, CUT),
    "85 shape beyond its storage": (bad.archive(bad.beyond_its_storage()), OTHER),
    "85 endless weight": (bad.with_endless_weight, CLAIMS),
    "85 lists of lists": (bad.with_lists_of_lists, CLAIMS),
    "85 sparse": (bad.holding(torch.eye(3).to_sparse()), CLAIMS),
    "85 endless model": (bad.settings(dim=1 << 20, heads=1), LARGER),
    "86 version": (
        bad.header(format_version=99, of_the_future=1),
        r"has format 99, this setvae reads up to \d+; install a newer setvae",
    ),
    "86 field": (bad.header(planned_steps="many"), r"its header has a wrong planned_steps; .*"),
    "86 setting": (bad.settings(of_the_future=1), r".*of_the_future.*; .*"),
    "87 no header": (bad.changed(lambda payload: payload.pop("setvae")), OTHER),
    "88 NaN": (bad.changed(bad.not_a_number), r"weight [\w.]+ is not finite; .*"),
} | {f"84 {name}": (bad.holding(thing), CODE) for name, thing in bad.FOREIGN.items()}  # fmt: skip


def prepare(name: str, subjects: int) -> list[str]:
    """A command that writes a store of the built-in cohort."""
    cohort = ["--source", "simulated", "--subjects", str(subjects)]
    return ["precompute", *cohort, "--out", name, "--workers", "1"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one short run in it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        steps = ["--preset", "tiny", "--max-steps", "6", "--device", "cpu", "--quiet"]
        assert app.run([*prepare("cohort", 40), "--quiet"]) == 0
        assert app.run(["train", "--data", "cohort", *steps]) == 0
    return folder


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of that run, to spoil."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return RUN


def state(folder: Path) -> dict[str, str]:
    """A digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


@pytest.mark.parametrize("command", ["resume", pytest.param("export", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_checkpoint_is_refused_in_one_line_and_changes_nothing(
    here, tmp_path: Path, run: Path, name: str, command: str
) -> None:
    spoil, line = REFUSED[name]
    named = spoil(run, run / "checkpoints/last.ckpt")
    before = state(tmp_path)
    done = here(command, *named, *READERS[command])
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    place = re.escape(named[0])
    assert re.fullmatch(f"setvae {command}: error: {place}: {line}\n", done.stderr), done.stderr
    assert state(tmp_path) == before
    assert not list(tmp_path.rglob(bad.OWNED))


def resumed(here, folder: Path, *arguments: str, code: int, line: str) -> None:
    """Resume, which is refused in one line and changes nothing."""
    before = state(folder)
    done = here("resume", *arguments)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    errors = [one for one in done.stderr.splitlines() if "error" in one]
    assert len(errors) == 1, done.stderr
    assert re.fullmatch(f"setvae resume: error: {line}", errors[0]), done.stderr
    assert state(folder) == before


def test_87_weights_alone_are_no_place_to_go_on_from(here, tmp_path: Path, run: Path) -> None:
    last = run / "checkpoints/last.ckpt"
    bad.changed(bad.without_optimizer)(run, last)
    line = rf"{last}: holds weights only: a run cannot go on from it; name a checkpoint that .*"
    resumed(here, tmp_path, str(last), code=2, line=line)
    assert here("export", str(last)).returncode == 0
    resumed(here, tmp_path, "model.safetensors", code=2, line=r"model\.safetensors: is no .*; .*")


FIXED = {
    "89 seed": (["--seed", "1"], r"--seed: is 1, and the run was trained with 0: .*; leave it .*"),
    "82 model": (["--dim", "96"], r"--dim: is 96, and the run was trained with \d+: .*; leave .*"),
    "83 data": (["--data", "other"], r"other: is not the data that the run was trained on: .*; .*"),
    "62 option": (["--seeed", "1"], r"unknown option --seeed; did you mean .*--seed.*"),
    "64 rate": (["--lr", "0"], r"--lr: must be above 0, got 0"),
    "67 both": (["--checkpoint", "x.ckpt"], r"--checkpoint: is given .*; keep one"),
}


@pytest.mark.parametrize("name", FIXED)
def test_what_a_resume_may_not_change_is_named(here, tmp_path: Path, run: Path, name: str) -> None:
    arguments, line = FIXED[name]
    if "other" in arguments:
        assert here(*prepare("other", 45)).returncode == 0
    resumed(here, tmp_path, str(run), *READERS["resume"], *arguments, code=2, line=line)


def test_90_a_run_that_is_done_says_that_nothing_is_to_do(here, tmp_path: Path, run: Path) -> None:
    before = state(tmp_path)
    done = here("resume", str(run))
    assert (done.returncode, "othing to do" in done.stdout) == (0, True), done.stderr
    assert state(tmp_path) == before


def test_91_a_run_that_another_process_writes_is_left_alone(
    here, tmp_path: Path, run: Path
) -> None:
    holder = "import sys; from pathlib import Path; from setvae_cli.runs.folder import RunFolder;"
    holder += "from setvae_cli.runs.lock import locked\nwith locked(RunFolder(Path(sys.argv[1]))):"
    holder += " print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(run)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        before = state(tmp_path)
        done = here("resume", str(run), *READERS["resume"])
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert done.stderr.splitlines()[-1] == (
            f"setvae resume: error: {run}: another process is training in this run; "
            "wait for it, or stop it"
        )
        assert state(tmp_path) == before
        process.communicate(b"")


def test_79_a_run_goes_on_from_the_newest_checkpoint_that_verifies(
    here, tmp_path: Path, run: Path
) -> None:
    for name in ("last.ckpt", "final_step=6_bs=4.ckpt"):
        bad.cut(0.5)(run, run / "checkpoints" / name)
    done = here("resume", str(run), *READERS["resume"])
    assert done.returncode == 0, done.stderr
    assert re.search(r"^refused +last\.ckpt is cut short or damaged$", done.stderr, re.MULTILINE)
    assert re.search(r"^checkpoint +\S+\.ckpt, verified, epoch \d", done.stderr, re.MULTILINE)


@pytest.mark.parametrize(
    ("name", "content"),
    [("settings.yaml", b""), ("settings.yaml", b"a: [1\n"), ("metrics.jsonl", b"\xff\x00")],
)
def test_a_damaged_file_of_a_run_is_named_or_mended(
    here, tmp_path: Path, run: Path, name: str, content: bytes
) -> None:
    run.joinpath(name).write_bytes(content)
    done = here("resume", str(run), *READERS["resume"])
    assert "Traceback" not in done.stderr
    assert "a fault in setvae" not in done.stderr
    if name == "metrics.jsonl":
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert re.search(rf"error: {run}/{name}: .*; .*\n", done.stderr), done.stderr
