"""An exported model is the same model, without its training, and no damage goes unseen."""

import hashlib
import os
import random
import stat

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.checkpoints import make_payload, make_settings, write_checkpoint
from tests.models import ARCHITECTURES, make_batch

from setvae_cli.errors import InputError, RunError
from setvae_cli.runs.checkpoint import read, save
from setvae_cli.runs.export import export, load_exported, read_exported
from setvae_cli.runs.model import load_model


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "home_of_somebody"
    folder.mkdir()
    write_checkpoint(folder / "best.ckpt")
    return folder / "best.ckpt"


@pytest.fixture
def exported(checkpoint, tmp_path):
    export(read(checkpoint), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_exported_model_computes_the_same_bits(tmp_path, architecture):
    trained = write_checkpoint(tmp_path / "best.ckpt", architecture)
    export(read(tmp_path / "best.ckpt"), tmp_path / "model.safetensors")
    loaded = load_exported(tmp_path / "model.safetensors")
    batch = make_batch([[1, 4, 2], [3], [6, 1, 1]])
    expected, found = trained(batch), loaded.model(batch)
    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.embedding, expected.embedding)
    for mine, theirs in zip(found.posteriors, expected.posteriors, strict=True):
        assert torch.equal(mine.mean, theirs.mean)


def test_it_says_all_that_its_inputs_and_outputs_mean(checkpoint, exported):
    before, after = load_model(checkpoint), load_exported(exported)
    assert after.settings == before.settings
    assert after.vocabulary.digest() == before.vocabulary.digest()
    assert after.model.training is False
    for name in ("tasks", "classes", "set_size_p99", "time_scale", "data_digest", "measured"):
        assert getattr(after.header, name) == getattr(before.header, name)


def test_it_holds_no_optimizer_no_place_in_the_run_and_no_path(checkpoint, exported):
    content, bare = read(checkpoint), exported.read_bytes()
    for word in (b"optimizer_states", b"loops", b"moments", b"global_step", b"home_of_somebody"):
        assert word not in bare
    header = read_exported(exported).header
    assert (header.next_epoch, header.next_batch) == (None, None)
    assert load_file(exported).keys() == content.weights().keys()


def test_equal_checkpoints_give_equal_private_files(checkpoint, exported, tmp_path):
    export(read(checkpoint), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == exported.read_bytes()
    assert stat.S_IMODE(exported.stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".tmp-*"))


def test_its_digest_can_be_computed_by_anyone(exported):
    bare = exported.read_bytes()
    digest = bare[bare.index(b"sha256") :].split(b'\\"')[2]
    assert hashlib.sha256(bare.replace(digest, b"0" * 64)).hexdigest().encode() == digest


def test_nothing_is_overwritten(checkpoint, exported):
    before = exported.read_bytes()
    with pytest.raises(InputError, match=r"exists already and is never overwritten; name another"):
        export(read(checkpoint), exported)
    assert exported.read_bytes() == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_nothing(checkpoint, tmp_path, monkeypatch, call):
    content = read(checkpoint)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunError, match=r"cannot be written: no space left on device"):
        export(content, tmp_path / "new" / "model.safetensors")
    monkeypatch.undo()
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.faults
def test_every_flipped_bit_and_every_cut_is_refused(exported, tmp_path):
    data, damaged = exported.read_bytes(), tmp_path / "damaged.safetensors"
    generator, head = random.Random(0), int.from_bytes(data[:8], "little") + 8
    places = [generator.randrange(head) for _ in range(400)]
    for place in [*range(130), *places, *(generator.randrange(len(data)) for _ in range(400))]:
        flipped = bytearray(data)
        flipped[place] ^= 1 << generator.randrange(8)
        damaged.write_bytes(bytes(flipped))
        with pytest.raises(InputError, match=r"damaged"):
            read_exported(damaged)
    for _ in range(300):
        damaged.write_bytes(data[: generator.randrange(1, len(data))])
        with pytest.raises(InputError, match=r"damaged"):
            read_exported(damaged)
    damaged.write_bytes(data + b"\0")
    with pytest.raises(InputError, match=r"damaged"):
        read_exported(damaged)


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\0" * 7, b"\xff" * 200, b"<html>" * 40])
def test_what_is_no_exported_model_is_refused(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.safetensors: is (empty|no exported model)"):
        read_exported(tmp_path / "x.safetensors")


def test_safetensors_of_others_are_refused(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "x.safetensors", {"format": "pt"})
    with pytest.raises(InputError, match=r"is no exported model of setvae"):
        read_exported(tmp_path / "x.safetensors")


def test_a_later_format_is_refused(exported, monkeypatch):
    monkeypatch.setattr("setvae_cli.runs.export.FORMAT_VERSION", 0)
    with pytest.raises(InputError, match=r"has format 1, this setvae reads format 0"):
        read_exported(exported)


def test_settings_of_another_version_are_named_when_a_model_is_rebuilt(tmp_path):
    model = write_checkpoint(tmp_path / "a.ckpt")
    settings = make_settings()
    payload = make_payload(model, settings)
    payload["setvae"]["settings"]["warp"] = 9
    save(tmp_path / "a.ckpt", payload)
    with pytest.raises(InputError, match=r"not those of this setvae: warp; use setvae 0\.1\.0"):
        load_model(tmp_path / "a.ckpt")


def test_a_weight_that_is_not_finite_is_never_exported(tmp_path):
    model = write_checkpoint(tmp_path / "a.ckpt")
    payload = make_payload(model, make_settings())
    payload["state_dict"]["averaged.embed.rows"].view(-1)[0] = float("nan")
    save(tmp_path / "a.ckpt", payload)
    with pytest.raises(InputError, match=r"a\.ckpt: weight embed\.rows is not finite"):
        export(read(tmp_path / "a.ckpt"), tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
