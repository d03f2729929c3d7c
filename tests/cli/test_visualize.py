"""`setvae visualize` from the outside: what it finds by itself, writes, says and refuses."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from tests import tiny
from tests.trained import model_for, write_trained
from tests.training.stores import write_store

from setvae_cli.cli.latent_table import table
from setvae_cli.evaluation.collect import Asked, Origin, collect
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import LoadedModel
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store

WRITTEN = {
    "posterior_collapse_analysis.png",
    "latent_space_umap.png",
    "reconstruction_errors.png",
    "latent_correlation.png",
    "time_series.png",
    "latents.parquet",
    "report.html",
}
RUN = "outputs/seqsetvae/version_0"
REPORT = f"{RUN}/report/latents"
FAST = ["--method", "pca"]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was trained on a store beside it, named as a person would."""
    monkeypatch.chdir(tmp_path)
    tiny.write(tiny.cohort(60), tmp_path / "store", split_fractions=(0.5, 0.4, 0.1))
    return write_trained(Path("outputs"), model_for(Store.open(tmp_path / "store")), "store")


def rows_of(folder: Path | str) -> dict[str, list[object]]:
    found: dict[str, list[object]] = pq.read_table(f"{folder}/latents.parquet").to_pydict()
    return found


@pytest.mark.slow
def test_a_checkpoint_alone_is_enough(here, run: RunFolder) -> None:
    done = here("visualize", str(run.best_or_last()), *FAST)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in Path(REPORT).iterdir()} == WRITTEN
    modes = {stat.S_IMODE(path.stat().st_mode) for path in Path(REPORT).iterdir()}
    assert (modes, stat.S_IMODE(Path(REPORT).stat().st_mode)) == ({0o600}, 0o700)
    assert "subject_id" not in rows_of(REPORT)
    said = done.stderr.splitlines()
    assert said[:3] == [
        f"checkpoint  {run.best_or_last()}",
        "data        tiny, 5 codes",
        "split       validation, 24 subjects",
    ]
    assert said[-1] == "Next:  setvae evaluate outputs/seqsetvae/version_0"
    assert done.stdout.splitlines()[0] == "Latents  seqsetvae/version_0, validation"
    assert re.search(
        r"^report +outputs/seqsetvae/version_0/report/latents/report.html", done.stdout, re.M
    )
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize("named", [[], [RUN], ["--checkpoint", RUN]])
def test_a_run_stands_for_its_best_checkpoint_and_nothing_for_the_latest_run(
    here, run: RunFolder, named: list[str]
) -> None:
    done = here("visualize", *named, *FAST, "--save-dir", "elsewhere")
    assert done.returncode == 0, done.stderr
    latest = "" if named else " (the latest)"
    assert done.stderr.splitlines()[:2] == [
        f"run         {RUN}{latest}",
        f"checkpoint  {run.best_or_last().name}",
    ]
    assert {path.name for path in Path("elsewhere").iterdir()} == WRITTEN
    assert not Path(REPORT).exists()


@pytest.mark.slow
def test_latents_have_a_row_a_set_and_ids_where_they_are_asked_for(here, run: RunFolder) -> None:
    store = Store.open("store")
    assert here("visualize", *FAST, "--show-ids").returncode == 0
    found = rows_of(REPORT)
    rows = store.split("validation")
    assert len(found["row"]) == int(store.columns.n_sets[rows].sum())
    assert set(found["row"]) == set(rows.tolist())
    ids = store.rows["subject_id"].to_pylist()
    assert found["subject_id"] == [ids[row] for row in found["row"]]


@pytest.mark.slow
def test_json_is_the_result_alone(here, run: RunFolder) -> None:
    done = here("visualize", *FAST, "--json", "--max-batches", "1", "--batch-size", "8")
    found = json.loads(done.stdout)
    assert (found["subjects"], found["subjects_in_split"], found["step"]) == (8, 24, 40)
    assert "split       validation, 8 of 24 subjects" in done.stderr
    assert {Path(path).name for path in found["files"]} == WRITTEN
    (level,), (verdict,) = found["levels"], found["verdicts"]
    assert 0 <= level["active"] <= level["latent"] == 6
    assert verdict["state"] in ("collapsed", "partial", "healthy")
    assert found["reconstruction_unit"] == "nats"


def said_of(loaded: LoadedModel, store: Store, **asked: Any) -> str:
    """The table, without drawing anything."""
    origin = Origin("seqsetvae/version_0", "best.ckpt", 40, "")
    found = collect(loaded, store, Asked(**asked), origin, progress=lambda doing, share: None)
    lines = [
        line if isinstance(line, str) else "".join(text for text, _ in line)
        for line in table(found, [Path("report/report.html")])
    ]
    assert max(map(len, lines)) <= 80
    return "\n".join(lines)


def test_a_look_at_too_few_sets_is_not_judged(run: RunFolder) -> None:
    store = Store.open("store")
    said = said_of(model_for(store), store, max_batches=1, batch_size=2)
    assert re.search(r"not judged: \d+ sets are too few, a verdict needs 60", said)


def test_a_collapsed_model_is_called_so(run: RunFolder) -> None:
    loaded = model_for(Store.open("store"), prior="standard")
    with torch.no_grad():
        for layer in loaded.model.latents.posterior:
            layer.weight.zero_()
            layer.bias.zero_()
    said = said_of(loaded, Store.open("store"))
    assert re.search(r"0 / 6 +<= 0\.00 nat +-?0\.00  collapsed$", said, re.M), said
    assert re.search(r"^level 1 +collapsed: active < 2 %, information < 0\.1 nat", said, re.M), said
    assert "-> lower --max-beta" in said


def test_the_chamfer_decoder_is_measured_in_distances(run: RunFolder) -> None:
    store = Store.open("store")
    said = said_of(model_for(store, "original"), store)
    assert "a set, a distance (chamfer decoder)" in said
    assert "n/a (the chamfer decoder makes whole sets of elements" in said


@pytest.mark.slow
def test_another_store_is_looked_at_and_the_difference_is_said(here, run: RunFolder) -> None:
    tiny.write(tiny.cohort(60, seed=1), Path("other"))
    done = here("visualize", RUN, "--data", "other", *FAST)
    assert done.returncode == 0, done.stderr
    assert "warning: these are not the data that the model was trained on: the statistics" in (
        done.stderr
    )


@pytest.mark.slow
def test_a_store_without_labels_is_looked_at(here, run: RunFolder) -> None:
    tiny.write(tiny.cohort(60, outcomes=None), Path("other"))
    done = here("visualize", RUN, "--data", "other", *FAST)
    assert done.returncode == 0, done.stderr
    (folder,) = Path(REPORT).parent.iterdir()
    assert folder.name.startswith("latents_data-")
    assert set(rows_of(folder)["label"]) <= {None, -1}


@pytest.mark.slow
def test_old_spellings_are_accepted_with_one_warning_each(here, run: RunFolder) -> None:
    done = here(
        "visualize", "--checkpoint", RUN, "--data_dir", "store", "--save_dir", "old",
        "--max_batches", "20", "--batch_size", "32", "--sample_idx", "3", *FAST,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("is an old spelling; write --") == 5
    assert "--data_dir is an old spelling; write --data\n" in done.stderr


@pytest.mark.slow
def test_the_built_in_cohort_is_found_again(here, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source(None, SourceSettings(subjects=60))
    precompute(source, StoreSettings(), tmp_path / "store", workers=1, sink=lambda _: None)
    loaded = model_for(Store.open(tmp_path / "store"), subjects=60)
    write_trained(Path("outputs"), loaded, None)
    done = here("visualize", *FAST, "--json")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert json.loads(done.stdout)["severity"] == "true severity"
    assert list(Path("outputs/.cache").iterdir())


@pytest.mark.slow
def test_a_run_is_found_from_elsewhere(here, run: RunFolder, tmp_path: Path, monkeypatch) -> None:
    tmp_path.joinpath("away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    done = here("visualize", str(tmp_path / RUN), *FAST)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / REPORT / "report.html").is_file()


def original(path: str) -> None:
    weights = {"setvae.setvae.a": torch.ones(2, 3), "cls_head.weight": torch.ones(2, 4)}
    about = {"epoch": 3, "global_step": 1840, "hyper_parameters": {"latent_dim": 256}}
    torch.save({"state_dict": weights, **about}, path)


@pytest.mark.parametrize("json_wanted", [[], ["--json"]])
def test_a_checkpoint_of_the_original_is_described(
    here, tmp_path: Path, monkeypatch, json_wanted: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    original("old.ckpt")
    done = here("visualize", "old.ckpt", *json_wanted)
    assert done.returncode == 0, done.stderr
    assert "described and not executed" in done.stderr
    if json_wanted:
        found = json.loads(done.stdout)
        assert (found["step"], found["parameters"]) == (1840, 14)
    else:
        assert done.stdout.splitlines()[0] == "Original SeqSetVAE checkpoint"
        assert "place             epoch 3, step 1 840" in done.stdout
        assert "hyper-parameters  latent_dim 256" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["old.ckpt"]


def test_under_80_percent_of_known_events_are_refused(here, run: RunFolder, tmp_path: Path) -> None:
    tmp_path.joinpath("b").mkdir()
    write_store(tmp_path / "b")
    done = here("visualize", RUN, "--data", "b/store", *FAST)
    assert done.returncode == 2
    assert re.search(
        r"error: b/store: the model knows 0 % of the events of this store, expected at least 80 %",
        done.stderr,
    ), done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nowhere.ckpt"], r"nowhere\.ckpt: no such file .*"),
        (["notes.txt"], r"notes\.txt: is no checkpoint; .*"),
        (["store"], r"store: is a store; name a run here, and the store with --data"),
        (["--output-dir", "elsewhere"], r"elsewhere: holds no run; .*"),
        ([RUN, "--checkpoint", "b.ckpt"], r"--checkpoint: is given beside RUN_OR_CKPT; keep one"),
        ([RUN, "--max-batches", "0"], r"--max-batches: must be at least 1, got 0"),
        ([RUN, "--batch-size", "0"], r"--batch-size: must be at least 1, got 0"),
        ([RUN, "--split", "none"], r"--split: .*"),
        ([RUN, "--data", "nowhere"], r"nowhere: no such file or folder; check the path"),
        ([RUN, "--sample-idx", "60"], r"store: there is no row 60: .* from 0 to 59; .*"),
        ([RUN, "--sample-idx", "x"], r"--sample-idx: .*"),
        ([RUN, "--data", "store", "--set-window", "5"], r"--set-window: is for raw input, .*"),
        (["moved.ckpt"], r"moved\.ckpt: lies in no run, .*; name them with --data"),
        ([RUN, "--save-dir", "notes.txt"], r"notes\.txt: a file stands where a folder .*"),
        ([RUN, "--device", "cuda"], r"--device cuda: there is no GPU here; .*"),
    ],
)
def test_what_cannot_be_looked_at_is_refused_in_one_line(
    here, run: RunFolder, arguments: list[str], line: str
) -> None:
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    Path("notes.txt").write_text("x")
    Path("moved.ckpt").write_bytes(run.best_or_last().read_bytes())
    done = here("visualize", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(f"setvae visualize: error: {line}", done.stderr.splitlines()[-1]), (
        done.stderr
    )
    assert not Path(REPORT).exists()


@pytest.mark.slow
def test_a_moved_store_is_one_line_and_named_again(here, run: RunFolder) -> None:
    Path("store").rename("moved")
    done = here("visualize")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "setvae visualize: error: store: the data of the run are not there any more; "
        "name them with --data"
    )
    again = here("visualize", "--data", "moved", *FAST)
    assert again.returncode == 0, again.stderr
    assert "warning" not in again.stderr


def test_an_empty_split_is_one_line(here, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.write(tiny.cohort(40), tmp_path / "store", split_fractions=(0.8, 0.2, 0.0))
    write_trained(Path("outputs"), model_for(Store.open("store")), "store")
    done = here("visualize", "--split", "test")
    assert done.returncode == 2
    assert "error: store: the test split is empty; name another with --split" in done.stderr
