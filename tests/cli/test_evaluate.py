"""`setvae evaluate` from the outside: what it measures, writes, says and refuses."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests import tiny
from tests.reports.evaluation.made import findings, task
from tests.trained import model_for, write_trained

from setvae_cli.cli.evaluation_table import table
from setvae_cli.encoders.opening import open_encoder
from setvae_cli.evaluation.predict import predict
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import build_classifier, load_model
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store

WRITTEN = {
    "roc_and_precision.png",
    "reliability.png",
    "predictions.parquet",
    "metrics.json",
    "report.html",
}
RUN = "outputs/seqsetvae/version_0"
REPORT = Path(RUN, "report/evaluation")
FEW = ["--resamples", "20"]


def cohort(**changes: Any) -> tiny.TinySource:
    """Sixty subjects of three wards, the last one small; one in three dies."""
    labels = {f"s{i}": int(i % 3 == 0) for i in range(60)}
    source = tiny.cohort(60, parts=1, outcomes=tiny.outcomes(labels), **changes)
    (part,) = source.content
    ward = pa.array(["odd one" if i < 6 else "b" if i % 2 else "a" for i in range(60)])
    subjects = part.subjects.append_column("attribute.Ward", ward)
    return replace(source, content=[replace(part, subjects=subjects)])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was trained on a store beside it, named as a person would."""
    monkeypatch.chdir(tmp_path)
    tiny.write(cohort(), tmp_path / "store", split_fractions=(0.3, 0.2, 0.5))
    return write_trained(Path("outputs"), model_for(Store.open(tmp_path / "store")), "store")


def predictions() -> dict[str, list[Any]]:
    (folder,) = REPORT.parent.glob("evaluation*")
    found: dict[str, list[Any]] = pq.read_table(folder / "predictions.parquet").to_pydict()
    return found


@pytest.mark.slow
def test_a_checkpoint_alone_is_enough(here, run: RunFolder) -> None:
    done = here("evaluate", str(run.best_or_last()), *FEW)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in REPORT.iterdir()} == WRITTEN
    modes = {stat.S_IMODE(path.stat().st_mode) for path in REPORT.iterdir()}
    assert (modes, stat.S_IMODE(REPORT.stat().st_mode)) == ({0o600}, 0o700)
    assert done.stderr.splitlines()[:4] == [
        f"checkpoint  {run.best_or_last()}",
        "data        tiny, 5 codes",
        "split       test, 30 subjects",
        "labels      death",
    ]
    assert done.stdout.splitlines()[0] == "Evaluation  seqsetvae/version_0, test"
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "setvae evaluate outputs/seqsetvae/version_0 --by Ward" in done.stderr
    page = (REPORT / "report.html").read_text()
    assert "Content-Security-Policy" in page
    assert not re.search(r"\bs\d+\b", re.sub(r"base64,[^\"]*", "", page))  # ids are s0, s1, ...
    plain = json.loads((REPORT / "metrics.json").read_text())
    (task,) = plain["tasks"]
    assert {one["name"] for one in task["metrics"]} >= {"auroc", "brier", "ece", "slope"}
    store, loaded = Store.open("store"), load_model(run.best_or_last())
    found, rows = predictions(), store.split("test")
    assert found["row"] == rows.tolist()
    assert set(found["split"]) == {"test"}
    assert found["label.death"] == store.labels[rows, 0].tolist()
    logits = predict(loaded, store, rows).logits[:, 0]
    assert np.allclose(found["logit.death"], logits, atol=1e-5)
    assert np.allclose(found["probability.death"], 1 / (1 + np.exp(-logits)), atol=1e-5)
    assert "subject_id" not in found
    about = pq.read_schema(REPORT / "predictions.parquet").metadata
    assert about[b"checkpoint"].decode() == run.best_or_last().name
    assert about[b"data_digest"].decode() == store.digest


@pytest.mark.slow
def test_groups_are_measured_and_small_ones_are_not_shown(here, run: RunFolder) -> None:
    done = here("evaluate", RUN, "--split", "all", "--by", "Ward", *FEW, "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: the model was trained on subjects that it is measured on" in done.stderr
    found = json.loads(done.stdout)
    (by_ward,) = found["tasks"][0]["groups"]
    groups = {one["group"]: one for one in by_ward["groups"]}
    assert set(groups) == {"a", "b", "rare values"}
    assert (groups["rare values"]["subjects"], groups["rare values"]["auroc"]) == ("<10", None)
    assert {groups["a"]["subjects"], groups["b"]["subjects"]} == {"20+"}
    assert "odd one" not in done.stdout
    assert {groups["a"]["auroc"], groups["b"]["auroc"]} == {None}
    assert {Path(path).name for path in found["files"]} == WRITTEN  # no picture of nothing
    assert sorted(set(predictions()["split"])) == ["test", "train", "validation"]


def test_groups_of_long_names_fit_the_screen() -> None:
    found = findings(task(3000, wards=("a ward of a long name", "another one of them")))
    lines = [
        line if isinstance(line, str) else "".join(text for text, _ in line)
        for line in table(found, [Path("report.html")])
    ]
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("a ward of a ") for line in lines)


def test_a_store_without_labels_gets_predictions_alone(here, run: RunFolder) -> None:
    tiny.write(tiny.cohort(60, outcomes=None, parts=1), Path("other"))
    done = here("evaluate", RUN, "--data", "other")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "setvae evaluate: error: other: has no label death, which the model predicts: it has "
        "none; prepare it with labels, or have predictions alone with --split all"
    )
    assert not REPORT.exists()
    done = here("evaluate", RUN, "--data", "other", "--split", "all", "--json")
    assert done.returncode == 0, done.stderr
    assert "warning: the data have no label death: what needs it is absent" in done.stderr
    (folder,) = REPORT.parent.glob("evaluation_all_data-*")
    assert {path.name for path in folder.iterdir()} == WRITTEN
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    (task,) = json.loads(done.stdout)["tasks"]
    assert {(one["value"], one["reason"]) for one in task["metrics"]} == {
        (None, "no labelled subjects")
    }
    found = predictions()
    assert set(found["label.death"]) == {None}
    assert len(found["probability.death"]) == 60


def test_a_model_without_labels_is_refused_and_told_where_to_go(
    here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write(tiny.cohort(40, parts=1), tmp_path / "store")
    loaded = model_for(Store.open(tmp_path / "store"), tasks=False)
    write_trained(Path("outputs"), loaded, "store")
    done = here("evaluate")
    assert (done.returncode, done.stdout) == (2, "")
    assert "was trained without labels, so that it predicts nothing; give it a head with " in (
        done.stderr
    )
    assert "setvae finetune, or write its vectors with setvae embed" in done.stderr


@pytest.mark.slow
def test_the_threshold_of_validation_is_not_chosen_on_test(here, run: RunFolder) -> None:
    done = here("evaluate", RUN, "--threshold", "validation", *FEW, "--json")
    assert done.returncode == 0, done.stderr
    (task,) = json.loads(done.stdout)["tasks"]
    assert task["threshold_chosen"] == "validation"
    on_test = here("evaluate", RUN, "--split", "validation", "--threshold", "validation", *FEW)
    assert "warning: the threshold was chosen on subjects that it is measured on" in on_test.stderr


@pytest.mark.slow
def test_ids_stand_in_predictions_where_they_are_asked_for(here, run: RunFolder) -> None:
    assert here("evaluate", RUN, "--show-ids", "--save-dir", "there", *FEW).returncode == 0
    found = pq.read_table("there/predictions.parquet").to_pydict()
    ids = Store.open("store").rows["subject_id"].to_pylist()
    assert found["subject_id"] == [ids[row] for row in found["row"]]
    assert not REPORT.exists()


def test_a_page_of_somebody_else_is_not_overwritten(here, run: RunFolder) -> None:
    Path("there").mkdir()
    Path("there/report.html").write_text("precious")
    done = here("evaluate", RUN, "--save-dir", "there", *FEW)
    assert done.returncode == 2
    assert "there: holds report.html, and no whole report that it would be of" in done.stderr
    assert Path("there/report.html").read_text() == "precious"


@pytest.mark.slow
def test_another_split_or_checkpoint_has_a_folder_of_its_own(here, run: RunFolder) -> None:
    last = run.checkpoints / "collapsed_step=3_bs=4.ckpt"
    last.write_bytes(run.best_or_last().read_bytes())
    for given in ([RUN], [RUN, "--split", "validation"], [str(last), "--split", "all"]):
        assert here("evaluate", *given, *FEW).returncode == 0
    assert sorted(path.name for path in REPORT.parent.iterdir()) == [
        "evaluation", "evaluation_all_collapsed_step=3_bs=4", "evaluation_validation",
    ]  # fmt: skip


@pytest.mark.slow
def test_the_next_command_is_of_the_checkpoint_that_was_named(here, run: RunFolder) -> None:
    named = run.best_or_last()
    assert f"evaluate {RUN} --by Ward" in here("evaluate", str(named), *FEW).stderr
    other = run.checkpoints / "collapsed_step=3_bs=4.ckpt"
    other.write_bytes(named.read_bytes())
    assert f"evaluate {other} --by Ward" in here("evaluate", str(other), *FEW).stderr


@pytest.mark.slow
def test_pictures_of_groups_go_when_there_are_none(here, run: RunFolder) -> None:
    assert here("evaluate", RUN, "--by", "Ward", *FEW).returncode == 0
    (REPORT / "subgroups.png").write_bytes(b"of an earlier evaluation")
    assert here("evaluate", RUN, *FEW).returncode == 0
    assert {path.name for path in REPORT.iterdir()} == WRITTEN


@pytest.mark.slow
def test_two_evaluations_write_the_same_bytes(here, run: RunFolder) -> None:
    found = []
    for _ in "ab":
        assert here("evaluate", RUN, "--by", "Ward", *FEW).returncode == 0
        found.append({path.name: path.read_bytes() for path in REPORT.iterdir()})
    assert found[0] == found[1]


@pytest.mark.slow
def test_another_store_is_measured_and_the_difference_is_said(here, run: RunFolder) -> None:
    tiny.write(tiny.cohort(60, seed=1, parts=1), Path("other"))
    done = here("evaluate", RUN, "--data", "other", *FEW)
    assert done.returncode == 0, done.stderr
    assert "warning: these are not the data that the model was trained on" in done.stderr


@pytest.mark.slow
def test_several_tasks_and_classes_each_have_their_figures(
    here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = {
        "subject_id": [f"s{i}" for i in range(60)],
        "death": pa.array([int(i % 3 == 0) for i in range(60)], pa.int32()),
        "stage": pa.array([None if i == 5 else i % 4 for i in range(60)], pa.int32()),
    }
    labels = replace(tiny.outcomes({}), table=pa.table(content))
    tiny.write(tiny.cohort(60, parts=1, outcomes=labels), tmp_path / "store")
    write_trained(Path("outputs"), model_for(Store.open(tmp_path / "store")), "store")
    done = here("evaluate", "--split", "all", *FEW)
    assert done.returncode == 0, done.stderr
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if "/" not in line)
    assert "/report/evaluation_all/report.html\n" in done.stdout  # a path is not cut
    assert re.search(r"^label +stage: 59 labelled, 4 classes$", done.stdout, re.M), done.stdout
    found = predictions()
    chances = np.array([found[f"probability.stage.{number}"] for number in range(4)])
    assert np.allclose(chances.sum(0), 1)
    assert found["label.stage"].count(None) == 1
    done = here("evaluate", "--label", "stage", "--split", "all", *FEW, "--json")
    assert [task["task"] for task in json.loads(done.stdout)["tasks"]] == ["stage"]


REFUSED = [
    ([RUN, "--by", "Gender"], r"store: has no attribute Gender: there are Ward; name one .*"),
    ([RUN, "--label", "x"], r"--label: the model does not predict x: it predicts death; .*"),
    ([RUN, "--threshold", "1.5"], r"--threshold: must be a probability between 0 and 1, .*"),
]
ALSO_REFUSED = [
    (["nowhere.ckpt"], r"nowhere\.ckpt: no such file .*"),
    ([RUN, "--folds", "2", "--by", "Ward"], r"--by: is for the predictions of one checkpoint, .*"),
    ([RUN, "--folds", "2", "--fold", "1"], r"--fold: is given, and --folds measures all .*"),
    ([RUN, "--checkpoint", "b.ckpt"], r"--checkpoint: is given beside RUN_OR_CKPT; keep one"),
    ([RUN, "--threshold", "test"], r"--threshold: must be a probability between 0 and 1, .*"),
    ([RUN, "--threshold", "nan"], r"--threshold: must be a probability between 0 and 1, .*"),
    ([RUN, "--split", "none"], r"--split: .*"),
    ([RUN, "--resamples", "-1"], r"--resamples: must be at least 0, got -1"),
    ([RUN, "--data", "nowhere"], r"nowhere: no such file or folder; check the path"),
    ([RUN, "--save-dir", "notes.txt"], r"notes\.txt: a file stands where a folder .*"),
]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [*REFUSED, *(pytest.param(*one, marks=pytest.mark.slow) for one in ALSO_REFUSED)],
)
def test_what_cannot_be_measured_is_refused_in_one_line(
    here, run: RunFolder, arguments: list[str], line: str
) -> None:
    Path("notes.txt").write_text("x")
    done = here("evaluate", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae evaluate: error: {line}", done.stderr.splitlines()[-1]), (
        done.stderr
    )
    assert not REPORT.exists()


@pytest.mark.slow
def test_a_model_on_an_encoder_of_another_package_asks_for_its_code(here, run: RunFolder) -> None:
    Path("counts_here.py").write_text(
        "import torch\n"
        "class Counts(torch.nn.Module):\n"
        "    embedding_size = 1\n"
        "    def forward(self, x):\n"
        "        return x.seq_lens[:, None].float()\n"
    )
    name, store = "counts_here:Counts", Store.open("store")
    settings = FinetuneSettings.from_flat({"encoder": name})
    model = build_classifier(settings, open_encoder(name, codes=5), (2,), name).eval()
    loaded = model_for(store)
    header = loaded.header.model_dump()
    header |= {"command": "finetune", "foreign": name, "settings": settings.to_flat()}
    tuned = replace(loaded, model=model, settings=settings, header=Header.model_validate(header))
    best = str(write_trained(Path("theirs"), tuned, "store").best_or_last())
    refused = here("evaluate", best, "--data", "store")
    assert refused.returncode == 2
    assert f"needs the encoder {name}" in refused.stderr
    done = here("evaluate", best, "--data", "store", "--encoder", name, *FEW, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tasks"][0]["subjects"] == 30
    assert f"--encoder {name} --data store --by Ward" in done.stderr  # what comes next needs both
    beside = here("evaluate", RUN, "--encoder", name)
    assert "--encoder: is given beside a checkpoint that holds its own model" in beside.stderr
