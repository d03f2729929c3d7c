"""Encoders by name, and weights of others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from setvae_cli.encoders.callable import CallableEncoder
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.lifestream import LifestreamEncoder
from setvae_cli.encoders.opening import adapt, load_weights, open_encoder
from setvae_cli.encoders.weights import match
from setvae_cli.errors import InputError, SettingsError
from tests.encoders.lifestream import gru

GRU = "tests.encoders.lifestream:gru"
SIMPLE = (
    "import torch\n"
    "class Door(torch.nn.Module):\n"
    "    embedding_size = 2\n"
    "    def encode(self, batch):\n"
    "        return torch.zeros(batch.plan.subjects, 2)\n"
    "door = Door()\n"
    "def total(x):\n"
    "    return x.value.sum(1, keepdim=True)\n"
    "total.embedding_size = 1\n"
    "number = 3\n"
    "def fails():\n"
    "    raise ValueError('no weights\\nsecond line')\n"
    "def leaves():\n"
    "    raise SystemExit(2)\n"
    "class Sizeless(torch.nn.Module):\n"
    "    pass\n"
    "class Kept(torch.nn.Linear):\n"
    "    embedding_size = 2\n"
    "kept = Kept(1, 2)\n"
    "def the_same():\n"
    "    return kept\n"
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules, where a person stands."""
    (tmp_path / "modules_here.py").write_text(SIMPLE)
    (tmp_path / "broken_here.py").write_text("import no_such_package_anywhere\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*os.sys.path])
    monkeypatch.delitem(os.sys.modules, "modules_here", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (GRU, LifestreamEncoder),
        ("modules_here:door", nn.Module),
        ("modules_here:Door", nn.Module),
        ("modules_here:total", CallableEncoder),
    ],
)
def test_modules_factories_and_callables_open(here: Path, name: str, kind: type) -> None:
    encoder = open_encoder(name, codes=8)
    assert isinstance(encoder, kind)
    assert isinstance(encoder, SequenceEncoder)
    assert isinstance(encoder, nn.Module)
    assert not encoder.training


def test_a_factory_is_told_how_many_codes_there_are() -> None:
    encoder = open_encoder(GRU, codes=5)
    assert isinstance(encoder, LifestreamEncoder)
    assert encoder.encoder.trx_encoder.table.num_embeddings == 6


def test_first_weights_are_a_function_of_the_seed_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    same, again, other = (open_encoder(GRU, codes=5, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    for name, tensor in same.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    assert any(not torch.equal(t, other.state_dict()[n]) for n, t in same.state_dict().items())


@pytest.mark.parametrize("name", ["modules_here:kept", "modules_here:the_same"])
def test_weights_of_a_file_and_of_training_stay_out_of_the_module_that_was_named(
    here: Path, name: str
) -> None:
    torch.save({"weight": torch.ones(2, 1), "bias": torch.ones(2)}, here / "w.pt")
    first = open_encoder(name, codes=8).state_dict()
    trained = open_encoder(name, codes=8, checkpoint=here / "w.pt")
    again = open_encoder(name, codes=8).state_dict()
    assert torch.equal(trained.state_dict()["encoder.weight"], torch.ones(2, 1))
    assert not torch.equal(first["encoder.weight"], torch.ones(2, 1))
    assert all(torch.equal(weight, again[each]) for each, weight in first.items())


def test_first_weights_of_a_module_are_a_function_of_its_code(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_encoder("modules_here:kept", codes=8, seed=1).state_dict()
    monkeypatch.delitem(os.sys.modules, "modules_here")  # as in a process that goes on
    torch.rand(3)
    other = open_encoder("modules_here:kept", codes=8, seed=2).state_dict()
    assert all(torch.equal(weight, other[each]) for each, weight in one.items())


def test_a_class_from_python_is_refused_in_one_sentence() -> None:
    class Sized(nn.Linear):
        embedding_size = 2

    with pytest.raises(SettingsError, match="is a class, expected an encoder that it makes; call"):
        adapt(Sized)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("modules_here", "'modules_here' is no module:attribute; write it as"),
        ("modules_here:", "no module:attribute"),
        ("no_such_module_here:x", "importing no_such_module_here failed: ModuleNotFoundError"),
        ("broken_here:x", "No module named 'no_such_package_anywhere'"),
        ("modules_here:gone", "modules_here has no attribute gone; name a torch module"),
        ("modules_here:number", "its embedding_size is none, expected a positive whole number"),
        ("modules_here:Sizeless", "its embedding_size is none"),
        ("modules_here:leaves", "making it failed: SystemExit: 2; name"),
        ("modules_here:fails", "making it failed: ValueError: no weights; name"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(here: Path, name: str, told: str) -> None:
    with pytest.raises(SettingsError, match="--encoder") as raised:
        open_encoder(name, codes=8)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("prefix", ["", "module.", "seq_encoder.", "_seq_encoder."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_are_found_under_known_prefixes(tmp_path: Path, prefix: str, wrapped: bool) -> None:
    torch.manual_seed(1)
    state = {f"{prefix}{name}": tensor for name, tensor in gru(8).state_dict().items()}
    torch.save({"state_dict": state, "epoch": 3} if wrapped else state, tmp_path / "w.pt")
    encoder = open_encoder(GRU, codes=8, checkpoint=tmp_path / "w.pt")
    assert isinstance(encoder, LifestreamEncoder)
    loaded = encoder.encoder.state_dict()
    assert all(torch.equal(state[f"{prefix}{name}"], tensor) for name, tensor in loaded.items())


def test_less_than_a_full_match_is_refused_and_counted(tmp_path: Path) -> None:
    state = gru(8).state_dict()
    state.pop("seq_encoder.start")
    state["trx_encoder.table.weight"] = torch.zeros(3, 6)
    torch.save(state, tmp_path / "w.pt")
    told = (
        r"w\.pt: does not fit the encoder: 9 weights loaded, 1 missing \(seq_encoder\.start\), "
        r"1 mismatched \(trx_encoder\.table\.weight\)"
    )
    with pytest.raises(InputError, match=told):
        open_encoder(GRU, codes=8, checkpoint=tmp_path / "w.pt")
    module = gru(8)
    found = load_weights(module, tmp_path / "w.pt", allow_partial=True)
    assert (found.missing, found.whole) == (("seq_encoder.start",), False)
    assert torch.equal(module.state_dict()["seq_encoder.rnn.weight_hh_l0"], state[
        "seq_encoder.rnn.weight_hh_l0"])  # fmt: skip


def test_a_file_of_nothing_that_fits_is_refused_even_in_part(tmp_path: Path) -> None:
    torch.save({"other": torch.zeros(2)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="0 weights loaded, 11 missing"):
        load_weights(gru(8), tmp_path / "w.pt", allow_partial=True)


class _Runs:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return os.mkdir, ("made_by_a_checkpoint",)


def test_code_in_weights_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": _Runs()}, tmp_path / "w.pt")
    with pytest.raises(InputError, match="refused: it contains code"):
        load_weights(gru(8), tmp_path / "w.pt")
    assert not (tmp_path / "made_by_a_checkpoint").exists()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 cut short"])
def test_a_file_that_holds_no_weights_is_told_in_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.pt"):
        load_weights(gru(8), tmp_path / "w.pt")


def test_a_callable_has_no_weights_to_load(here: Path) -> None:
    torch.save({"a": torch.zeros(1)}, here / "w.pt")
    with pytest.raises(SettingsError, match="has no weights to load"):
        open_encoder("modules_here:total", codes=8, checkpoint=here / "w.pt")


def test_the_longest_match_wins() -> None:
    own = {"a": torch.zeros(2), "b": torch.zeros(3)}
    given = {"a": torch.ones(2), "encoder.a": torch.ones(2), "encoder.b": torch.ones(3)}
    found = match(own, given)
    assert (found.prefix, found.whole) == ("encoder.", True)
