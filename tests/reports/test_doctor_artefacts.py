"""Doctor finds what is damaged in a store, a run and a model, and nothing in whole ones."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
import torch

from setvae_cli.errors import InputError
from setvae_cli.reports.doctor.finding import Finding, Section
from setvae_cli.reports.doctor.model_file import examine_checkpoint, examine_exported
from setvae_cli.reports.doctor.recognise import recognise
from setvae_cli.reports.doctor.run import examine_run
from setvae_cli.reports.doctor.store import examine_store
from setvae_cli.runs.checkpoint import read, save
from setvae_cli.runs.export import export
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.lock import locked
from tests.checkpoints import flip, make_payload, make_settings, write_checkpoint, write_run
from tests.training.stores import write_store


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_store(tmp_path_factory.mktemp("store")).path


@pytest.fixture
def store(whole_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole_store, tmp_path / "store"))


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("outputs")).path


@pytest.fixture
def run(whole_run: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(whole_run, tmp_path / "version_0")))


def silent(doing: str, share: float) -> None:
    assert 0 <= share <= 1


def by_name(section: Section) -> dict[str, Finding]:
    return {finding.name: finding for finding in section.findings}


def not_ok(section: Section) -> dict[str, str]:
    return {one.name: one.state for one in section.findings if one.state != "ok"}


def test_each_artefact_is_recognised_by_what_is_in_it(store: Path, run: RunFolder) -> None:
    export(read(run.last), run.path / "renamed.bin")
    run.last.rename(run.path / "renamed")
    assert recognise(store) == "store"
    assert recognise(run.path) == "run"
    assert recognise(run.path / "renamed") == "checkpoint"
    assert recognise(run.path / "renamed.bin") == "exported"


@pytest.mark.parametrize("name", ["missing", "empty", "text.csv", "folder", "folder/none.ckpt"])
def test_what_is_not_there_or_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text.csv").write_text("a,b\n")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError):
        recognise(tmp_path / name)


def test_in_a_folder_of_runs_one_is_named(run: RunFolder) -> None:
    with pytest.raises(InputError, match=r"name a run in it, such as .*version_0"):
        recognise(run.path.parent)


def test_a_whole_store_has_nothing_wrong(store: Path) -> None:
    section = examine_store(store, silent)
    assert not_ok(section) == {}
    assert by_name(section)["tables"].value == "41 rows, 3 codes"


@pytest.mark.faults
@pytest.mark.parametrize("name", ["shards/00000.arrow", "rows.parquet", "vocabulary.parquet"])
def test_a_flipped_bit_anywhere_in_a_store_is_found(store: Path, name: str) -> None:
    generator, size = random.Random(0), (store / name).stat().st_size
    for _ in range(20):
        place, bit = generator.randrange(size), generator.randrange(8)
        flip(store / name, place, bit)
        section = examine_store(store, silent)
        assert not_ok(section) == {"checksums": "wrong"}
        assert by_name(section)["checksums"].value.endswith(f"differ: {name}")
        flip(store / name, place, bit)


def test_a_changed_or_missing_manifest_is_wrong(store: Path) -> None:
    file = store / "manifest.json"
    plain = json.loads(file.read_text())
    file.write_text(json.dumps(plain | {"digest": "0" * 64}))
    assert not_ok(examine_store(store, silent)) == {"manifest": "wrong"}
    del plain["checksum"]
    file.write_text(json.dumps(plain | {"digest": "0" * 64}))
    assert not_ok(examine_store(store, silent)) == {"manifest": "warn", "digest": "wrong"}
    file.unlink()
    assert not_ok(examine_store(store, silent)) == {"manifest": "wrong"}


def test_missing_foreign_and_unfinished_files_of_a_store_are_told_apart(store: Path) -> None:
    (store / "shards" / "00000.arrow").unlink()
    (store / "notes.txt").write_text("x")
    (store / ".tmp-1-2-3").write_text("x")
    section = examine_store(store, silent)
    expected = {"checksums": "wrong", "other files": "warn", "leftovers": "warn"}
    assert not_ok(section) == expected
    assert by_name(section)["other files"].value == "1 not of the store"


def test_a_whole_run_has_nothing_wrong_and_says_where_it_would_go_on(run: RunFolder) -> None:
    section = examine_run(run.path, silent)
    assert not_ok(section) == {}
    found = by_name(section)
    assert found["metrics"].value == "3 records up to step 40"
    assert found["event files"].value == "1 file, 5 records"
    assert found["last"].value == "step 40, epoch 2, batch 7"
    assert found["resume"].value == "would go on from last.ckpt"
    assert found["training"].value == "no process is at it"


def test_damaged_checkpoints_are_named_and_an_earlier_one_is_gone_on_from(run: RunFolder) -> None:
    flip(run.last, 5000)
    run.best()[0].path.write_bytes(run.previous.read_bytes()[:9000])
    section = examine_run(run.path, silent)
    assert not_ok(section) == {"last": "wrong", "best": "wrong"}
    found = by_name(section)
    assert found["last"].value == "last.ckpt is damaged: a checksum does not match"
    assert found["best"].value.endswith("is cut short or damaged")
    assert found["resume"].value == "would go on from previous.ckpt"


def test_a_weight_that_is_not_finite_is_wrong_although_every_byte_fits(run: RunFolder) -> None:
    payload = make_payload(write_checkpoint(run.last), make_settings())
    payload["state_dict"]["averaged.embed.rows"].view(-1)[0] = float("inf")
    save(run.last, payload)
    assert not_ok(examine_run(run.path, silent)) == {"last": "wrong"}
    assert "is not finite" in by_name(examine_run(run.path, silent))["last"].value


def test_a_run_without_any_whole_checkpoint_cannot_go_on(run: RunFolder) -> None:
    for path in run.all_checkpoints():
        path.write_bytes(b"PK\3\4 no more")
    found = by_name(examine_run(run.path, silent))
    assert (found["resume"].state, found["resume"].value) == (
        "wrong",
        "holds no checkpoint that verifies",
    )
    for path in run.all_checkpoints():
        path.unlink()
    assert by_name(examine_run(run.path, silent))["resume"].state == "warn"


def test_lost_ends_of_logs_are_counted(run: RunFolder) -> None:
    (events,) = run.path.glob("events.*")
    for path, tail in ((run.metrics, b'{"step":50,"tr'), (events, b"\x18\0\0\0")):
        path.write_bytes(path.read_bytes() + tail)
    (run.checkpoints / ".tmp-1-2-3").touch()
    section = examine_run(run.path, silent)
    assert not_ok(section) == {"metrics": "warn", "event files": "warn", "leftovers": "warn"}
    assert by_name(section)["metrics"].value.endswith("then 14 B unreadable")
    assert by_name(section)["event files"].value.endswith("and 4 B unreadable")


def test_what_a_process_is_writing_right_now_is_no_warning(run: RunFolder) -> None:
    run.metrics.write_bytes(run.metrics.read_bytes() + b'{"step":50,"tr')
    (run.checkpoints / ".tmp-1-2-3").touch()
    with locked(run):
        section = examine_run(run.path, silent)
    assert not_ok(section) == {}
    assert by_name(section)["training"].value == "a process is at it now"


@pytest.mark.parametrize("name", ["settings.yaml", "manifest.json", "metrics.jsonl"])
def test_a_changed_or_missing_file_of_a_run_is_told(run: RunFolder, name: str) -> None:
    flip(run.path / name, 9)
    assert set(not_ok(examine_run(run.path, silent))) == {name.partition(".")[0]}
    (run.path / name).unlink()
    assert name.partition(".")[0] in not_ok(examine_run(run.path, silent))


def test_event_files_are_found_where_the_run_put_them(tmp_path: Path) -> None:
    run = write_run(tmp_path / "outputs", log_dir=tmp_path / "logs")
    assert by_name(examine_run(run.path, silent))["event files"].value == "1 file, 5 records"


def test_a_whole_checkpoint_and_what_was_exported_of_it_are_ok(run: RunFolder) -> None:
    export(read(run.last), run.path / "model.safetensors")
    assert not_ok(examine_checkpoint(run.last)) == {}
    assert not_ok(examine_exported(run.path / "model.safetensors")) == {}
    assert "all finite" in by_name(examine_checkpoint(run.last))["model"].value


def test_damage_is_a_finding_and_what_is_not_ours_is_refused(run: RunFolder) -> None:
    model = run.path / "model.safetensors"
    export(read(run.last), model)
    flip(run.last, 5000)
    flip(model, model.stat().st_size - 9)
    assert not_ok(examine_checkpoint(run.last)) == {"checksums": "wrong"}
    assert not_ok(examine_exported(model)) == {"checksum": "wrong"}
    torch.save({"state_dict": {}}, run.last)
    with pytest.raises(InputError, match="has no setvae header"):
        examine_checkpoint(run.last)
    run.last.write_text("<html></html>")
    with pytest.raises(InputError, match="is no checkpoint"):
        examine_checkpoint(run.last)


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("echo owned > owned",)


def test_nothing_in_a_file_is_run(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.path)
    torch.save({"setvae": {}, "evil": Evil()}, run.last)
    with pytest.raises(InputError, match="refused: it contains code"):
        examine_checkpoint(run.last)
    assert by_name(examine_run(run.path, silent))["last"].state == "wrong"
    assert not (run.path / "owned").exists()


def test_a_checkpoint_of_the_original_is_described(tmp_path: Path) -> None:
    weights = {"setvae.setvae.a": torch.ones(2, 3), "cls_head.weight": torch.ones(4)}
    path = tmp_path / "old.ckpt"
    torch.save({"state_dict": weights, "global_step": 7}, path)
    found = {finding.name: finding for finding in examine_checkpoint(path).findings}
    assert (found["place"].value, found["use"].state) == ("step 7", "warn")
    assert found["model"].value == "10 parameters in 2 tensors, all finite"
    weights["cls_head.weight"][0] = torch.nan
    torch.save({"state_dict": weights}, path)
    found = {finding.name: finding for finding in examine_checkpoint(path).findings}
    assert (found["place"].value, found["model"].state) == ("not said", "wrong")
