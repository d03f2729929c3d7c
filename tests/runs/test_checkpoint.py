"""Checkpoints hold no code, are written whole or not at all, and say what is wrong with them."""

import io
import math
import os
import pickle
import random
import resource
import zipfile
from pathlib import Path

import pytest
import torch
from tests.faults.children import run_child

from setvae_cli.errors import InputError, RunError
from setvae_cli.runs.checkpoint import FORMAT_VERSION, check_finite, is_intact, read, save


def payload(**header):
    plain = {
        "format_version": FORMAT_VERSION,
        "setvae_version": "0.1.0",
        "settings": {"batch_size": 4},
        "vocabulary": {"codes": ["HR"]},
        "data_digest": "0" * 64,
        "tasks": ["death"],
        "classes": [2],
        "set_size_p99": 30.0,
        "time_scale": 2880.0,
        "sets_per_subject": 70.0,
        "planned_steps": 100,
        "measured": {"val_auc": 0.8},
    }
    weight = torch.arange(64.0)
    return {
        "setvae": {**plain, **header},
        "state_dict": {"model.weight": weight, "averaged.weight": weight / 2},
        "epoch": 3,
        "global_step": 40,
    }


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    save(path, payload())
    return path


def test_a_checkpoint_comes_back_with_its_header_and_averaged_weights(checkpoint):
    content = read(checkpoint)
    assert (content.epoch, content.step) == (3, 40)
    assert content.header.tasks == ("death",)
    assert torch.equal(content.weights()["weight"], torch.arange(64.0) / 2)
    assert checkpoint.stat().st_mode & 0o077 == 0


def test_it_opens_with_weights_only(checkpoint):
    assert torch.load(checkpoint, weights_only=True)["epoch"] == 3


def test_what_tensors_share_is_written_for_each_of_them_and_no_more(tmp_path):
    pool = torch.arange(100_000.0)
    shared = {"a": pool[:4], "b": pool[:4], "c": (whole := torch.ones(4)), "d": whole}
    save(tmp_path / "x.ckpt", {**payload(), "shared": shared})
    found = read(tmp_path / "x.ckpt").payload["shared"]
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in shared.items()
    }
    assert len({tensor.untyped_storage().data_ptr() for tensor in found.values()}) == 4
    assert (tmp_path / "x.ckpt").stat().st_size < pool.nbytes / 10


@pytest.fixture
def weights():
    return {"model.weight": torch.ones(64 << 20)}  # 256 MB


def test_saving_takes_no_memory_beside_the_payload(tmp_path, weights):
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + weights["model.weight"].nbytes // 2

    def work():
        torch.set_num_threads(1)  # a forked child has none of its parent's others
        save(tmp_path / "x.ckpt", {**payload(), "state_dict": weights})

    ended = run_child(work, tmp_path / "stderr", limits={resource.RLIMIT_AS: most})
    assert (ended.code, ended.error) == (0, "")


def test_a_mapped_checkpoint_takes_no_memory(tmp_path, weights):
    save(tmp_path / "x.ckpt", {**payload(), "state_dict": weights})
    before = own_memory()
    content = read(tmp_path / "x.ckpt", mapped=True)
    check_finite(content.weights(), tmp_path)
    assert torch.equal(content.weights()["weight"], weights["model.weight"])
    assert own_memory() - before < weights["model.weight"].nbytes // 2


def own_memory():
    """Memory of this process that no file backs, bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) * 1024


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_are_finite_also_where_their_sum_is_not(tmp_path, value):
    check_finite({"w": torch.full((9,), 3e38)}, tmp_path)
    with pytest.raises(InputError, match="weight w is not finite"):
        check_finite({"v": torch.ones(3), "w": torch.tensor([1.0, value, 3e38])}, tmp_path)


@pytest.mark.parametrize("value", [os.PathLike, object(), {1.5: 2}, {"a": {2, 3}}, torch.float32])
def test_what_is_not_plain_is_never_written(tmp_path, value):
    with pytest.raises(TypeError, match="a checkpoint cannot hold"):
        save(tmp_path / "x.ckpt", {**payload(), "extra": value})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_leaves_the_old_checkpoint(checkpoint, monkeypatch, call):
    before = checkpoint.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"last\.ckpt: cannot be written: no space left on device"):
        save(checkpoint, payload(planned_steps=999))
    monkeypatch.undo()
    assert checkpoint.read_bytes() == before
    assert [path.name for path in checkpoint.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("mapped", [False, True])
def test_no_flipped_bit_goes_unnoticed(checkpoint, mapped):
    data, expected = checkpoint.read_bytes(), read(checkpoint).payload
    generator = random.Random(0)
    for _ in range(200):
        flipped = bytearray(data)
        flipped[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        checkpoint.write_bytes(bytes(flipped))
        try:
            found = read(checkpoint, mapped=mapped).payload
        except InputError:
            continue
        assert found["setvae"] == expected["setvae"]
        for name, tensor in expected["state_dict"].items():
            assert torch.equal(found["state_dict"][name], tensor)


def test_every_cut_is_noticed_and_the_newest_intact_sibling_is_named(checkpoint):
    previous = checkpoint.with_name("previous.ckpt")
    save(previous, payload())
    data = checkpoint.read_bytes()
    generator = random.Random(1)
    for _ in range(50):
        checkpoint.write_bytes(data[: generator.randrange(2, len(data))])
        assert not is_intact(checkpoint)
        with pytest.raises(InputError, match=r"cut short or damaged; .* is previous\.ckpt"):
            read(checkpoint)


class Evil:
    def __reduce__(self):
        return os.system, ("echo owned > owned",)


def test_a_checkpoint_with_code_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({**payload(), "evil": Evil()}, tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match="refused: it contains code"):
        read(tmp_path / "evil.ckpt")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        (b"<html></html>", "is no checkpoint"),
        (b"PAR1" + b"\0" * 100, "is no checkpoint"),
        (pickle.dumps({"a": 1}), "is no checkpoint"),
        (b"", "is empty"),
    ],
)
def test_a_file_of_another_kind_is_named_as_such(tmp_path, content, finding):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=finding):
        read(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "bomb.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(1_000_000))
    with pytest.raises(InputError, match="compressed archive"):
        read(path)


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "none.ckpt")


def test_a_foreign_checkpoint_has_no_header(tmp_path):
    buffer = io.BytesIO()
    torch.save({"state_dict": {}}, buffer)
    path = tmp_path / "foreign.ckpt"
    path.write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match="has no setvae header"):
        read(path)


def test_a_later_format_asks_for_a_newer_setvae(tmp_path):
    save(tmp_path / "x.ckpt", payload(format_version=99, something_new=1))
    with pytest.raises(InputError, match=r"has format 99, .*; install a newer setvae"):
        read(tmp_path / "x.ckpt")


def test_a_wrong_header_field_is_named(tmp_path):
    save(tmp_path / "x.ckpt", payload(planned_steps="many"))
    with pytest.raises(InputError, match="its header has a wrong planned_steps"):
        read(tmp_path / "x.ckpt")
