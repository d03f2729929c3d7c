"""`setvae analyze-curves` from the outside: which runs, which files, what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
from pathlib import Path

import pytest
from tests.reports.logs import original, write_events
from tests.reports.monitored import collapsing, with_the_original_s_numbers, write_run

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
    assert {path.name for path in (run / "report/curves").iterdir()} == FILES
    assert {path.stat().st_mode & 0o777 for path in (run / "report/curves").iterdir()} == {0o600}
    lines = done.stdout.splitlines()
    assert lines[0] == "Curves  seqsetvae/version_0"
    assert re.search(r"^posterior collapse +found +KL ends at 0.01 nats", done.stdout, re.M)
    assert re.search(r"^ +-> lower --max-beta", done.stdout, re.M)
    assert re.fullmatch(r"report +outputs/seqsetvae/version_0/report/curves/report.html", lines[-1])
    assert max(map(len, lines)) <= 80


def test_the_page_opens_offline_and_is_closed_to_everything_else(here, run: Path) -> None:
    assert here("analyze-curves", "outputs").returncode == 0
    page = (run / "report/curves/report.html").read_text()
    assert "default-src 'none'; img-src data:;" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    assert page.count("<script") == 2
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert not re.search(r"https?://", page)
    words = re.sub(r"data:[^\"]*", "", page)
    for private in (str(run.parents[2]), str(Path.home()), platform.node() or "\0"):
        assert not re.search(rf"\b{re.escape(private)}\b", words)


def test_names_on_the_page_are_escaped(here, tmp_path: Path) -> None:
    write_events(tmp_path / "<script>alert(1)<", original(300))
    assert here("analyze-curves", "<script>alert(1)<", "--save-dir", "out").returncode == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<script") == 2
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


@pytest.mark.slow
def test_the_verdict_is_said_drawn_and_listed(here, tmp_path: Path) -> None:
    write_run(tmp_path / "run", [collapsing], action="lower-beta")
    done = here("analyze-curves", "run", "--save-dir", "out")
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "posterior collapse found level 1 collapsed since step 1 700 (active < 2 %" in said
    assert "-> lower --max-beta, or --beta-schedule cyclical, or --free-bits 0.25" in said
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"latent_use.png"}
    text = (tmp_path / "out" / "collapse_analysis.txt").read_text()
    assert "step 1 900: Changed: max_beta 0.3 -> 0.15 (--on-collapse lower-beta)." in text
    plain = json.loads(here("analyze-curves", "run", "--json", "--quiet").stdout)
    events = plain["analyses"][0]["runs"][0]["events"]
    assert [one.get("state", one.get("kind")) for one in events][-3:] == [
        "collapsed",
        "lower-beta",
        "lower-beta",
    ]


@pytest.mark.slow
def test_a_run_with_the_monitor_one_without_and_an_original_s_log_are_compared(
    here, tmp_path: Path
) -> None:
    write_run(tmp_path / "ours" / "version_0")
    write_run(tmp_path / "ours" / "version_1", monitored=False)
    points = with_the_original_s_numbers(original(1000, kl=40))
    write_events(tmp_path / "old" / "version_0", points)
    done = here("analyze-curves", "--compare", "ours", "old", "--save-dir", "out", "--quiet")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES | {"latent_use.png"}
    again = here("analyze-curves", "ours/version_1", "--save-dir", "out", "--quiet")
    assert again.returncode == 0, again.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES


@pytest.mark.slow
def test_of_several_logs_one_without_curves_is_left_out_with_a_warning(
    here, tmp_path: Path
) -> None:
    write_events(tmp_path / "logs" / "a", [(1, {"speed": 1.0})])
    write_events(tmp_path / "logs" / "b", original(100))
    done = here("analyze-curves", "logs")
    assert done.returncode == 0
    assert re.search(r"warning: logs/a: holds no curve .*; left out", done.stderr)
    assert not (tmp_path / "logs" / "a" / "analysis").exists()
