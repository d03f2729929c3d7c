"""A checkpoint of the original is told from others and described from what stands in it."""

from __future__ import annotations

import argparse
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints import write_checkpoint

from setvae_cli.errors import InputError
from setvae_cli.runs.original import is_original, read_original

DIM, FF, CLASSES = 8, 12, 2


def weights() -> dict[str, torch.Tensor]:
    """Names and shapes as the scripts saved them, with numbers made by hand."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    found = {
        "setvae.setvae.embed.weight": drawn(DIM, 20),
        "setvae.setvae.encoder_layers.0.mab.fc_q.weight": drawn(DIM, DIM),
        "pos_embedding": drawn(1, 1000, DIM),
        "time_encoder.0.weight": drawn(DIM, 1),
        "decoder.out.weight": torch.full((DIM, DIM), 0.5),
        "cls_head.0.weight": drawn(DIM, DIM),
        "cls_head.3.weight": drawn(CLASSES, DIM),
        "some.buffer": torch.arange(3),
    }
    for layer in range(2):
        found[f"transformer.layers.{layer}.linear1.weight"] = drawn(FF, DIM)
        found[f"transformer.layers.{layer}.linear2.weight"] = drawn(DIM, FF)
    return found


def payload(**changes: Any) -> dict[str, Any]:
    """What the trainer of the original saved; groups of parameters share one tuple there."""
    betas = (0.9, 0.999)
    groups = [{"lr": 1e-4, "betas": betas}, {"lr": 1e-5, "betas": betas}]
    return {
        "epoch": 3,
        "global_step": 1840,
        "pytorch-lightning_version": "2.1.0",
        "state_dict": weights(),
        "optimizer_states": [{"state": {}, "param_groups": groups}],
        "hyper_parameters": {
            "latent_dim": 256,
            "lr": 1e-4,
            "freeze": True,
            "scheduler": "cosine",
            "pretrained_ckpt": "/home/somebody/outputs/best.ckpt",
            "classes": [0, 1],
            "bad": math.nan,
        },
        **changes,
    }


def write_original(path: Path, **changes: Any) -> Path:
    torch.save(payload(**changes), path)
    return path


def test_place_architecture_and_settings_are_told_without_paths(tmp_path: Path) -> None:
    found = read_original(write_original(tmp_path / "best.ckpt"))
    assert found is not None
    assert (found.epoch, found.step, found.lightning) == (3, 1840, "2.1.0")
    assert found.bytes == (tmp_path / "best.ckpt").stat().st_size
    assert found.architecture == {
        "transformer_layers": 2, "ff_dim": FF, "dim": DIM, "positions": 1000, "classes": CLASSES,
    }  # fmt: skip
    assert found.hyper_parameters == {
        "latent_dim": 256, "lr": 1e-4, "freeze": True, "scheduler": "cosine",
    }  # fmt: skip
    assert found.parameters == sum(one.numel() for one in weights().values())


def test_statistics_are_those_of_the_numbers(tmp_path: Path) -> None:
    state = weights()
    state["cls_head.3.weight"][0, 0] = math.nan
    found = read_original(write_original(tmp_path / "a.ckpt", state_dict=state))
    assert found is not None
    parts = {part.name: part for part in found.parts}
    decoder, classifier = parts["decoder"], parts["classifier"]
    assert (decoder.tensors, decoder.parameters) == (1, DIM * DIM)
    assert (decoder.mean, decoder.std, decoder.largest) == (0.5, 0.0, 0.5)
    numbers = torch.cat([state[f"cls_head.{i}.weight"].flatten() for i in (0, 3)]).double()
    finite = numbers[numbers.isfinite()]
    assert classifier.not_finite == 1
    assert classifier.mean == pytest.approx(float(finite.mean()))
    assert classifier.std == pytest.approx(float(finite.std(correction=0)))
    assert classifier.largest == pytest.approx(float(finite.abs().max()))
    assert parts["other"].parameters == 3


def test_weights_without_a_trainer_are_recognised_too(tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "weights.pt")
    found = read_original(tmp_path / "weights.pt")
    assert found is not None
    assert (found.epoch, found.step, found.lightning, found.hyper_parameters) == (
        None, None, "", {},
    )  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [["setvae.setvae.x"], ["setvae.x", "pos_embedding", "cls_head.0"]],
)
def test_a_sure_prefix_or_three_others_make_an_original(names: list[str]) -> None:
    assert is_original(names)


@pytest.mark.parametrize(
    "names",
    [[], ["decoder.weight", "pos_embedding"], ["model.setvae.setvae.x"], ["encoder.layers.0"]],
)
def test_a_model_of_others_is_none(names: list[str]) -> None:
    assert not is_original(names)


def test_what_is_no_original_is_none(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "ours.ckpt", "original")
    assert read_original(tmp_path / "ours.ckpt") is None
    for number, content in enumerate([{"state_dict": 3}, {"a": torch.ones(2)}, [1], 7]):
        torch.save(content, tmp_path / f"{number}.pt")
        assert read_original(tmp_path / f"{number}.pt") is None


class Command:
    """Runs a command of the shell when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {os.environ['MARK']}",)


@pytest.mark.parametrize("content", [Command(), argparse.Namespace(lr=1e-4)])
def test_code_in_it_is_refused_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any
) -> None:
    monkeypatch.setenv("MARK", str(tmp_path / "owned"))
    path = write_original(tmp_path / "bad.ckpt", hyper_parameters=content)
    with pytest.raises(InputError, match="refused: it contains code, or objects other than"):
        read_original(path)
    assert not (tmp_path / "owned").exists()


def test_weights_that_claim_more_than_their_file_are_refused(tmp_path: Path) -> None:
    state = weights() | {"decoder.out.weight": torch.zeros(1).expand(10**9)}
    with pytest.raises(InputError, match="claims to hold more than its file does"):
        read_original(write_original(tmp_path / "bomb.ckpt", state_dict=state))


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = write_original(tmp_path / "cut.ckpt")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cut short or damaged"):
        read_original(path)
