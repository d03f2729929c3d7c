"""Groups of weights, their rates, and their average."""

import pytest
import torch
from torch import nn

from setvae_cli.errors import NumericalError
from setvae_cli.runs.model import build_untrained
from setvae_cli.training.averaging import averaged_copy, update_average
from setvae_cli.training.finite import FiniteWatch
from setvae_cli.training.optimizer import build_optimizer, set_rate, undecayed
from tests.encoders.lifestream import gru, transformer
from tests.models import ARCHITECTURES, make_model


@pytest.fixture
def model(settings, store):
    return build_untrained(
        settings(), store.vocabulary, classes=(2,), set_size_p99=3.0, time_scale=360.0
    )


def test_every_weight_is_in_exactly_one_group(model, settings):
    optimizer = build_optimizer(model, settings().optimizer, fused=True)
    grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters())


def test_norms_biases_and_embeddings_do_not_decay(model, settings):
    chosen = settings(weight_decay=0.1).optimizer
    decayed = {
        id(p)
        for group in build_optimizer(model, chosen, fused=True).param_groups
        if group["weight_decay"]
        for p in group["params"]
    }
    names = {name: id(p) in decayed for name, p in model.named_parameters()}
    assert not any(decays for name, decays in names.items() if name.endswith("bias"))
    assert not any(
        decays for name, decays in names.items() if name.startswith(("embed.", "time.place"))
    )
    assert any(names.values())
    assert not decayed & {id(p) for p in undecayed(model)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_in_models_of_setvae_only_what_is_called_weight_decays(name):
    model = make_model(name)
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    looked_up = {id(p) for table in tables for p in table.parameters()}
    still = {id(p) for p in undecayed(model)}
    for name, p in model.named_parameters():
        decays = name.endswith("weight") and p.ndim > 1 and id(p) not in looked_up
        assert (id(p) not in still) == decays, name


class Positions(nn.Module):
    """Parameters that others hold themselves, and a norm over two dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(5, 4))
        self.relative_bias = nn.Parameter(torch.zeros(5, 4))
        self.mixing = nn.Parameter(torch.zeros(4, 4))
        self.norm = nn.LayerNorm((3, 4))


def test_in_encoders_of_others_matrices_decay_whatever_they_are_called():
    model = nn.ModuleDict({"gru": gru(4), "transformer": transformer(4), "more": Positions()})
    still = {id(p) for p in undecayed(model)}
    decayed = {name for name, p in model.named_parameters() if id(p) not in still}
    layer = "transformer.seq_encoder.layers.layers.0"
    assert decayed == {
        "gru.seq_encoder.rnn.weight_ih_l0",
        "gru.seq_encoder.rnn.weight_hh_l0",
        f"{layer}.self_attn.in_proj_weight",
        f"{layer}.self_attn.out_proj.weight",
        f"{layer}.linear1.weight",
        f"{layer}.linear2.weight",
        "more.mixing",
    }


def test_the_set_encoder_learns_at_its_share_of_the_rate(model, settings):
    chosen = settings(
        lr=0.01, set_encoder_lr_ratio=0.1, scheduler="constant", lr_warmup=0
    ).optimizer
    optimizer = build_optimizer(model, chosen, fused=True)
    set_rate(optimizer, chosen, step=5, planned=10)
    encoder = {id(p) for p in model.set_encoder_parameters()}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            assert group["lr"] == pytest.approx(0.001 if id(parameter) in encoder else 0.01)


def test_the_average_is_the_weighted_sum_of_all_steps():
    model = nn.Linear(3, 1).double()
    average = averaged_copy(model)
    expected = model.weight.detach().clone()
    for step in range(1, 60):
        with torch.no_grad():
            model.weight += torch.randn(1, 3, dtype=torch.float64)
        update_average(list(average.parameters()), list(model.parameters()), step=step, decay=0.9)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.weight.detach()
    torch.testing.assert_close(average.weight, expected, rtol=1e-12, atol=0)
    assert not average.weight.requires_grad
    assert not average.training


NAN, ROWS = torch.tensor(float("nan")), torch.tensor([3, 14])


@pytest.mark.parametrize(
    ("loss", "norm", "which"),
    [(NAN, torch.tensor(1.0), "loss"), (torch.tensor(1.0), NAN, "gradient"), (NAN, None, "loss")],
)
def test_a_step_that_is_not_finite_is_an_error_with_its_number_and_rows(loss, norm, which):
    watch = FiniteWatch()
    watch.see(torch.tensor(1.0), ROWS)
    assert watch.judge(torch.tensor(2.0), 1)
    watch.see(loss, ROWS)
    with pytest.raises(
        NumericalError, match=rf"the {which} is not finite at step 2 \(rows 3, 14\)"
    ):
        watch.judge(norm, 2)


def test_steps_that_are_not_finite_are_skipped_as_often_as_allowed():
    watch = FiniteWatch(2)
    for step in (1, 2):
        watch.see(NAN, ROWS)
        assert not watch.judge(None, step)
    assert watch.skipped == 2
    watch.see(NAN, ROWS)
    with pytest.raises(NumericalError, match="at step 3 after 2 skipped steps"):
        watch.judge(None, 3)
