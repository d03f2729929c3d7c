"""`setvae analyze-curves` from the outside: which runs, which files, what is refused."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path

import pytest
from tests.reports.logs import original, records, write_events

from setvae_cli.runs.metrics_log import MetricsLog

FILES = {
    "loss_curves.png",
    "performance_metrics.png",
    "training_dynamics.png",
    "collapse_analysis.txt",
    "curves.parquet",
    "report.html",
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of ours, as far as its curves go."""
    folder = tmp_path / "outputs" / "seqsetvae" / "version_0"
    folder.mkdir(parents=True)
    (folder / "settings.yaml").write_text("seed: 0\n")
    log = MetricsLog(folder / "metrics.jsonl")
    log.write({"step": 0, "epoch": 0, "setvae/log_format": 1})
    for step in range(10, 301, 10):
        loss = 5 + 200 / step
        log.write({"step": step, "epoch": 1, "seconds": step / 9, "train_loss_step": loss})
        log.write({"step": step, "epoch": 1, "seconds": step / 9, "val_kl": 0.01, "val_auc": 0.8})
    log.close()
    return folder


def test_without_a_name_the_latest_run_gets_its_report(here, run: Path) -> None:
    done = here("analyze-curves")
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == "run  outputs/seqsetvae/version_0 (the latest)"
    assert {path.name for path in (run / "report").iterdir()} == FILES
    assert {path.stat().st_mode & 0o777 for path in (run / "report").iterdir()} == {0o600}
    lines = done.stdout.splitlines()
    assert lines[0] == "Curves  seqsetvae/version_0"
    assert re.search(r"^posterior collapse +found +KL ends at 0.01 nats", done.stdout, re.M)
    assert re.search(r"^ +-> lower --max-beta", done.stdout, re.M)
    assert re.fullmatch(r"report +outputs/seqsetvae/version_0/report/report.html", lines[-1])
    assert max(map(len, lines)) <= 80


def test_the_page_opens_offline_and_is_closed_to_everything_else(here, run: Path) -> None:
    assert here("analyze-curves", "outputs").returncode == 0
    page = (run / "report" / "report.html").read_text()
    assert "default-src 'none'; img-src data:;" in page
    assert "<script" not in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert not re.search(r"https?://", page)
    words = re.sub(r"data:[^\"]*", "", page)
    for private in (str(run.parents[2]), str(Path.home()), platform.node() or "\0"):
        assert not re.search(rf"\b{re.escape(private)}\b", words)


def test_names_on_the_page_are_escaped(here, tmp_path: Path) -> None:
    write_events(tmp_path / "<script>alert(1)<", original(300))
    assert here("analyze-curves", "<script>alert(1)<", "--save-dir", "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page


@pytest.mark.slow
def test_versions_are_analysed_apart_and_compared_on_request(here, tmp_path: Path) -> None:
    for number in (0, 1):
        write_events(tmp_path / "logs" / f"version_{number}", original(300, kl=40 + number))
    apart = here("analyze-curves", "logs", "--save-dir", "apart", "--json", "--quiet")
    assert apart.returncode == 0, apart.stderr
    analyses = json.loads(apart.stdout)["analyses"]
    assert [each["runs"][0]["name"] for each in analyses] == ["logs/version_0", "logs/version_1"]
    assert {path.name for path in (tmp_path / "apart").iterdir()} == {
        "logs_version_0",
        "logs_version_1",
    }
    names = ["logs/version_0", "logs/version_1"]
    compared = here("analyze-curves", names[0], "--compare", names[1], "--json", "--quiet")
    (one,) = json.loads(compared.stdout)["analyses"]
    assert [each["name"] for each in one["runs"]] == names
    assert {path.name for path in (tmp_path / "logs" / "analysis").iterdir()} == FILES


def test_an_original_log_is_read_as_legacy_in_its_old_spelling(here, tmp_path: Path) -> None:
    write_events(tmp_path / "logs", original(300))
    done = here("analyze-curves", "--log_dir", "logs", "--save_dir", "out")
    assert done.returncode == 0, done.stderr
    assert "--log_dir is an old spelling; write LOG_DIR" in done.stderr
    assert "--save_dir is an old spelling; write --save-dir" in done.stderr
    assert "warning: logs: KL was logged times beta" in done.stderr
    assert "KL lies on its floor of free bits" in " ".join(done.stdout.split())
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


def test_a_damaged_event_file_is_read_as_far_as_it_goes_with_a_warning(
    here, tmp_path: Path
) -> None:
    path = write_events(tmp_path / "logs", original(300))
    data, (start, end) = bytearray(path.read_bytes()), records(path)[40]
    data[start + 30] ^= 4
    path.write_bytes(data)
    done = here("analyze-curves", "logs")
    assert done.returncode == 0
    assert f"{end - start} B of its event files are damaged" in done.stderr
    assert "node17" not in done.stdout + done.stderr


def test_a_record_that_is_still_being_written_is_no_matter(here, tmp_path: Path) -> None:
    path = write_events(tmp_path / "logs", original(300))
    path.write_bytes(path.read_bytes()[:-9])
    done = here("analyze-curves", "logs")
    assert (done.returncode, "damaged" in done.stderr) == (0, False)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere"], r"nowhere: no such folder; .*"),
        (["empty"], r"empty: holds no log: .*; name a run's folder, or .*"),
        (["other"], r"other: holds no curve of training or validation; its tags: speed; .*"),
        (["notes.txt"], r"notes\.txt: is a file, expected a folder with logs; .*"),
        ([], r"outputs: holds no run; name a folder of logs, .*"),
        (["logs", "--compare"], r"--compare: needs two runs or more; .*"),
        (["logs", "--log-dir", "logs"], r"--log-dir: is given beside LOG_DIR; keep one"),
        (["logs", "--save-dir", "notes.txt"], r"notes\.txt: a file stands where a folder .*"),
    ],
)
def test_what_cannot_be_analysed_is_refused_in_one_line(
    here, tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    write_events(tmp_path / "other", [(1, {"speed": 1.0})])
    write_events(tmp_path / "logs", original(100))
    done = here("analyze-curves", "--quiet", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae analyze-curves: error: {line}\n", done.stderr), done.stderr


def test_of_several_logs_one_without_curves_is_left_out_with_a_warning(
    here, tmp_path: Path
) -> None:
    write_events(tmp_path / "logs" / "a", [(1, {"speed": 1.0})])
    write_events(tmp_path / "logs" / "b", original(100))
    done = here("analyze-curves", "logs")
    assert done.returncode == 0
    assert re.search(r"warning: logs/a: holds no curve .*; left out", done.stderr)
    assert not (tmp_path / "logs" / "a" / "analysis").exists()
