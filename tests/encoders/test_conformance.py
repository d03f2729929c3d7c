"""The conformance suite passes for every adapter, and catches encoders that break its rules."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from setvae_cli.encoders.callable import CallableEncoder
from setvae_cli.encoders.lifestream import LifestreamEncoder
from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.testing.conformance import (
    RULES,
    Broken,
    check_encoder,
    gradients_reach_every_unfrozen_parameter,
    maker,
)
from setvae_cli.testing.own_encoder import own_encoder
from setvae_cli.testing.subjects import batch_of, made_up, subjects_of
from tests.encoders.broken import BROKEN, Sound
from tests.encoders.lifestream import gru, transformer
from tests.models import KINDS, make_batch, make_model

POOLS = [
    ("embedding", "history"),
    *(
        pytest.param(pool, of, marks=() if together else pytest.mark.slow)
        for row, pool in enumerate(("last", "mean", "attention"))
        for column, of in enumerate(("history", "latents", "latents-logvar"))
        for together in [row == column]
    ),
]
FOREIGN: dict[str, Callable[[], Any]] = {
    **{
        f"{build.__name__} {'reduced' if reduced else pool}": lambda b=build, r=reduced, p=pool: (
            LifestreamEncoder(b(reduced=r), p)
        )
        for build in (gru, transformer)
        for reduced, pool in (
            (True, None),
            (False, "last"),
            (False, "mean"),
            (False, "attention"),
        )
    },
    "callable": lambda: CallableEncoder(lambda x: x.value.sum(1, keepdim=True), 1),
    "module as a callable": lambda: CallableEncoder(Sound(), 5),
}


@pytest.mark.parametrize(("pool", "of"), POOLS)
def test_a_model_of_setvae_keeps_the_rules_however_it_is_pooled(pool: Any, of: Any) -> None:
    check_encoder(
        lambda: SetvaeEncoder(make_model("base"), pool, of), made_up(len(KINDS)), codes=len(KINDS)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["original", "bottleneck", "levels", "bidirectional"])
@pytest.mark.parametrize(("pool", "of"), [("embedding", "history"), ("mean", "latents")])
def test_other_architectures_keep_the_rules(name: str, pool: Any, of: Any) -> None:
    check_encoder(lambda: SetvaeEncoder(make_model(name), pool, of), made_up(len(KINDS)))


@pytest.mark.parametrize("name", FOREIGN)
def test_encoders_of_others_keep_the_rules(name: str) -> None:
    torch.manual_seed(0)
    check_encoder(FOREIGN[name])


@pytest.mark.parametrize(
    ("rule", "broken", "told"),
    [(rule, each, told) for rule, those in BROKEN.items() for each, told in those],
)
def test_a_broken_encoder_is_caught_by_the_test_of_its_rule(
    rule: str, broken: Any, told: str
) -> None:
    torch.manual_seed(0)
    check = next(each for each in RULES if each.__name__ == rule)
    check(maker(Sound), made_up(16))
    with pytest.raises(Broken, match=told):
        check(maker(broken), made_up(16))


def test_every_rule_is_broken_by_some_encoder() -> None:
    assert set(BROKEN) == {rule.__name__ for rule in RULES}


def test_all_broken_rules_are_told_at_once() -> None:
    with pytest.raises(Broken) as raised:
        check_encoder(BROKEN["padding_does_not_matter"][1][0]())
    assert "padding leaks in" in str(raised.value)


def test_a_frozen_parameter_needs_no_gradient() -> None:
    encoder, subjects = own_encoder(16), made_up(16)
    assert any(not each.requires_grad for each in encoder.parameters())
    gradients_reach_every_unfrozen_parameter(maker(encoder), subjects)
    for parameter in encoder.model.decoder.parameters():
        parameter.requires_grad_(True)
    with pytest.raises(Broken, match=r"no gradient reaches model\.decoder"):
        gradients_reach_every_unfrozen_parameter(maker(encoder), subjects)


def test_subjects_taken_out_of_a_batch_make_it_again() -> None:
    batch = make_batch([[1, 4, 2], [3], [2, 2]])
    again = batch_of(subjects_of(batch))
    for name in ("keys", "values", "value_mask", "set_sizes", "positions", "sets_per_subject"):
        assert torch.equal(getattr(batch, name), getattr(again, name))


@pytest.mark.slow
def test_others_run_the_suite_on_their_encoder_by_name(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "import torch\n"
        "class Good(torch.nn.Module):\n"
        "    embedding_size = 3\n"
        "    def __init__(self, codes):\n"
        "        super().__init__()\n"
        "        self.table = torch.nn.EmbeddingBag(codes + 1, 3, mode='sum', padding_idx=0)\n"
        "    def forward(self, x):\n"
        "        return self.table(x.code)\n"
        "class Bad(Good):\n"
        "    def forward(self, x):\n"
        "        return torch.nn.functional.dropout(super().forward(x))\n"
    )

    def run(name: str) -> subprocess.CompletedProcess[str]:
        plugin = ["-p", "setvae_cli.testing.plugin", "-p", "no:cacheprovider"]
        about = ["--pyargs", "setvae_cli.testing", "--encoder", f"theirs:{name}"]
        command = [sys.executable, "-m", "pytest", "-q", *plugin, *about]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("Good").returncode == 0
    bad = run("Bad")
    assert bad.returncode == 1
    assert "draw noise and dropout while self.training only" in bad.stdout
