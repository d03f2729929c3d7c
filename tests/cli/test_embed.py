"""`setvae embed` from the outside: what it finds by itself, writes, says and refuses."""

from __future__ import annotations

import json
import shutil
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from tests import tiny
from tests.trained import model_for, write_trained

from setvae_cli.data.portion import split_rows
from setvae_cli.encoders.opening import open_encoder
from setvae_cli.evaluation.predict import predict
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.model import build_classifier, load_model
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.reader import Store

RUN = "outputs/seqsetvae/version_0"
CAUTION = "It holds subject ids and what tells of them: keep it as you keep the data."
THEIRS = (
    "import torch\n"
    "class Total(torch.nn.Module):\n"
    "    embedding_size = 2\n"
    "    def __init__(self, codes):\n"
    "        super().__init__()\n"
    "        self.table = torch.nn.EmbeddingBag(codes + 1, 2, mode='sum', padding_idx=0)\n"
    "    def forward(self, x):\n"
    "        return self.table(x.code)\n"
)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was trained on a store beside it, named as a person would."""
    monkeypatch.chdir(tmp_path)
    tiny.write(tiny.cohort(40), tmp_path / "store", split_fractions=(0.5, 0.3, 0.2))
    return write_trained(Path("outputs"), model_for(Store.open(tmp_path / "store")), "store")


def numbers(path: str = "embeddings.parquet") -> np.ndarray:
    table = pq.read_table(path)
    names = [name for name in table.column_names if name.startswith("e")]
    return np.stack([table[name].to_numpy() for name in names], 1)


def test_a_damaged_store_gives_no_vectors(here: Any, run: RunFolder) -> None:
    shard = Path("store/shards/00000.arrow")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0x10
    shard.write_bytes(content)
    done = here("embed", str(run.best_or_last()))
    assert done.returncode == 1
    assert "00000.arrow: was changed since it was written: its checksum differs" in done.stderr
    assert not Path("embeddings.parquet").exists()


def test_a_checkpoint_alone_is_enough(here: Any, run: RunFolder) -> None:
    best = run.best_or_last()
    done = here("embed", str(best))
    assert done.returncode == 0, done.stderr
    store = Store.open("store")
    table = pq.read_table("embeddings.parquet")
    assert table["subject_id"].equals(store.rows["subject_id"])
    assert table["split"].equals(store.rows["split"])
    expected = predict(load_model(best), store, np.arange(40)).embedding
    np.testing.assert_allclose(numbers(), expected, rtol=1e-5, atol=1e-6)
    assert stat.S_IMODE(Path("embeddings.parquet").stat().st_mode) == 0o600
    assert done.stderr.splitlines() == [
        f"checkpoint  {best}",
        "data        tiny, 5 codes",
        "split       all, 40 subjects",
        "",
        "",
        CAUTION,
        "",
        f"Next:  setvae evaluate {best}",
    ]
    lines = done.stdout.splitlines()
    assert lines[0] == "Embedded"
    assert lines[2:4] == [
        "subjects    40 (train 20, validation 12, test 8)",
        "dimensions  10, embedding",
    ]
    assert not any(f"s{i}" in (done.stdout + done.stderr).split() for i in range(40))


def test_the_file_says_what_its_numbers_come_from(here: Any, run: RunFolder) -> None:
    assert (
        here("embed", "--pool", "mean", "--pool-of", "latents", "--split", "test").returncode == 0
    )
    about = pq.read_schema("embeddings.parquet").metadata
    names = {key.decode().removeprefix("setvae.") for key in about}
    assert names == {
        "version", "pooling", "data_digest", "split", "checkpoint", "checkpoint_sha256"
    }  # fmt: skip
    assert about[b"setvae.pooling"] == b"mean of latents"
    assert about[b"setvae.checkpoint"].decode() == run.best_or_last().name
    assert about[b"setvae.split"] == b"test"
    assert numbers().shape == (8, 6)


def test_two_runs_give_equal_bytes_and_the_later_takes_the_place(here: Any, run: RunFolder) -> None:
    for name in ("a.parquet", "b.parquet", "b.parquet"):
        done = here("embed", "--out", name, "--with-labels", "--group-readable")
        assert done.returncode == 0, done.stderr
    assert Path("a.parquet").read_bytes() == Path("b.parquet").read_bytes()
    assert stat.S_IMODE(Path("a.parquet").stat().st_mode) == 0o640
    assert "label.death" in pq.read_schema("a.parquet").names


def test_data_without_labels_lead_to_no_evaluation(here: Any, run: RunFolder) -> None:
    tiny.write(tiny.cohort(20, parts=1, outcomes=None), Path("bare"))
    done = here("embed", "--data", "bare", "--out", "a.parquet", "--with-labels")
    assert done.returncode == 0, done.stderr
    assert "the data have no labels, so that none are written" in done.stderr
    assert "Next:" not in done.stderr


def test_json_is_the_result_alone(here: Any, run: RunFolder) -> None:
    done = here("embed", "--json", "--split", "validation")
    found = json.loads(done.stdout)
    assert {key: found[key] for key in ("file", "subjects", "dimensions", "splits")} == {
        "file": "embeddings.parquet",
        "subjects": 12,
        "dimensions": 10,
        "splits": {"validation": 12},
    }
    assert (found["without_events"], found["matched"]) == (0, 1.0)


def test_subjects_that_are_cut_are_counted(here: Any, tmp_path: Path) -> None:
    tiny.write(tiny.cohort(40), tmp_path / "store")
    store = Store.open("store")
    limit = int(np.sort(store.columns.n_elements)[-4])
    write_trained(Path("outputs"), model_for(store, max_sequence_length=limit), "store")
    longer = int((store.columns.n_elements > limit).sum())
    done = here("embed")
    assert f"cut         {longer} of 40 subjects, at the model's limit of elements" in done.stderr


def test_another_hospital_is_matched_by_the_names_of_its_codes(here: Any, run: RunFolder) -> None:
    events = [(f"t{i}", 10.0 * k, "lab", 90.0 + i) for i in range(20) for k in range(9)]
    events += [(f"t{i}", 95.0, "theirs", 1.0) for i in range(20)]
    source = tiny.TinySource([tiny.records(sorted(events))])
    tiny.write(source, Path("other"))
    done = here("embed", "--data", "other", "--out", "theirs/e.parquet")
    assert done.returncode == 0, done.stderr
    assert "matched     90.0 % of the events, by the names of their codes" in done.stderr
    assert "these are not the data that the model was trained on" in done.stderr
    assert numbers("theirs/e.parquet").shape == (20, 10)
    foreign = [(f"t{i}", 10.0 * k, "theirs", 1.0) for i in range(20) for k in range(9)]
    tiny.write(tiny.TinySource([tiny.records(sorted(foreign + events[:9]))]), Path("stranger"))
    refused = here("embed", "--data", "stranger")
    assert refused.returncode == 2
    assert "expected at least 80 %" in refused.stderr


def test_an_encoder_of_another_package_needs_no_checkpoint(here: Any, run: RunFolder) -> None:
    Path("total_here.py").write_text(THEIRS)
    weights = {"model.table.weight": torch.arange(12.0).view(6, 2)}
    torch.save(weights, "w.pt")
    named = ["--encoder", "total_here:Total", "--encoder-checkpoint", "w.pt"]
    done = here("embed", "--data", "store", *named)
    assert done.returncode == 0, done.stderr
    assert "Next" not in done.stderr
    store = Store.open("store")
    n_elements = store.columns.n_elements
    found = numbers()
    np.testing.assert_allclose(found[:, 1] - found[:, 0], n_elements)  # 1 an event
    about = pq.read_schema("embeddings.parquet").metadata
    assert about[b"setvae.encoder"] == b"total_here:Total"
    assert about[b"setvae.checkpoint"] == b"w.pt"


def test_a_checkpoint_on_an_encoder_of_another_package_asks_for_its_code(
    here: Any, run: RunFolder
) -> None:
    Path("total_here.py").write_text(THEIRS)
    store = Store.open("store")
    encoder = open_encoder("total_here:Total", codes=5)
    settings = FinetuneSettings.from_flat({"encoder": "total_here:Total"})
    loaded = model_for(store)
    header = loaded.header.model_dump() | {
        "command": "finetune", "foreign": "total_here:Total", "settings": settings.to_flat()
    }  # fmt: skip
    model = build_classifier(settings, encoder, (2,), "total_here:Total").eval()
    tuned = replace(loaded, model=model, settings=settings, header=Header.model_validate(header))
    folder = write_trained(Path("theirs"), tuned, "store")
    refused = here("embed", str(folder.best_or_last()), "--data", "store")
    assert refused.returncode == 2
    assert "needs the encoder total_here:Total" in refused.stderr
    named = ["--data", "store", "--encoder", "total_here:Total"]
    done = here("embed", str(folder.best_or_last()), *named)
    assert done.returncode == 0, done.stderr
    expected = predict(tuned, store, np.arange(40)).embedding
    np.testing.assert_allclose(numbers(), expected, rtol=1e-6)
    pooled = here("embed", str(folder.best_or_last()), *named, "--pool", "mean")
    assert "--pool: is for models of setvae, and this is another encoder" in pooled.stderr


def test_the_split_is_the_one_of_the_models_own_fold(here: Any, tmp_path: Path) -> None:
    tiny.write(tiny.cohort(40), tmp_path / "store")
    store = Store.open("store")
    write_trained(Path("outputs"), model_for(store, folds=4, fold=1), "store")
    assert here("embed", "--split", "test").returncode == 0
    table = pq.read_table("embeddings.parquet")
    settings = TrainSettings.from_flat({"folds": 4, "fold": 1})
    rows = split_rows(settings, store, "test")
    assert table["row"].to_pylist() == rows.tolist()
    assert set(table["split"].to_pylist()) == {"test"}
    assert rows.tolist() != store.split("test").tolist()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--checkpoint", RUN, RUN], "--checkpoint: is given beside RUN_OR_CKPT; keep one"),
        (["nowhere.ckpt"], "nowhere.ckpt: no such file"),
        (["--data", "nowhere"], "nowhere"),
        (["--out", "notes.txt"], "notes.txt: exists already and is no file of embeddings"),
        (["--out", "store"], "store: exists already and is no file of embeddings"),
        (["--out", "notes.txt/e.parquet"], "a file stands where a folder is needed"),
        (["--pool-of", "latents"], "needs pool last or mean"),
        (["--pool", "attention"], "attention"),
        (["--encoder-checkpoint", "w.pt"], "encoder_checkpoint needs encoder"),
        (["--encoder", "no_such_module_here:x", "--data", "store"], "ModuleNotFoundError"),
        (["--encoder", "no_colon", "--data", "store"], "no module:attribute"),
        (["--encoder", "json:loads"], "--encoder: knows of no data; name a store with --data"),
        ([RUN, "--encoder", "json:loads"], "beside a checkpoint that holds its own model"),
        (["--batch-size", "0"], "--batch-size"),
        (["--device", "cuda"], "there is no GPU here"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line_and_loses_nothing(
    here: Any, run: RunFolder, arguments: list[str], told: str
) -> None:
    if told == "there is no GPU here" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    Path("notes.txt").write_text("notes")
    before = sorted(map(str, Path().rglob("*")))
    done = here("embed", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert len([line for line in done.stderr.splitlines() if "error" in line]) == 1
    assert sorted(map(str, Path().rglob("*"))) == before
    assert Path("notes.txt").read_text() == "notes"


def test_an_empty_split_is_refused(here: Any, run: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree("store")
    tiny.write(tiny.cohort(40), tmp_path / "store", split_fractions=(0.5, 0.5, 0.0))
    done = here("embed", "--split", "test")
    assert done.returncode == 2
    assert "store: the test split is empty; name another with --split" in done.stderr
