"""A frozen part does not move, whatever else does, and learns when its stage comes."""

from __future__ import annotations

import pytest
import torch

from setvae_cli.errors import SettingsError
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import read
from setvae_cli.runs.model import build_classifier, build_untrained
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.settings.finetune import Frozen, TuningSettings
from setvae_cli.training.fit import fit
from setvae_cli.training.freezing import Freezing, encoder_parameters, warn_of_rest
from setvae_cli.training.part import Part
from setvae_cli.training.prepared import prepare_run
from setvae_cli.training.team import Team
from tests.training.resuming import first_run, ignore
from tests.training.tuned import WithNorm, checkpoint_of, settings_in

NEVER = Frozen((), "epochs")


@pytest.fixture
def model(store) -> SeqSetVAE:
    small = {"dim": 8, "heads": 2, "latent_dim": 4, "ff_dim": 8, "variable_dim": 4}
    settings = FinetuneSettings.from_flat(small)
    return build_untrained(
        settings, store.vocabulary, classes=(2,), set_size_p99=3.0, time_scale=360.0
    )


def learning(model: SeqSetVAE) -> set[str]:
    return {name.partition(".")[0] for name, w in model.named_parameters() if w.requires_grad}


def test_stages_begin_with_the_head_then_the_history_then_all(model):
    freezing = Freezing(model, Frozen((1, 2), "epochs"), keeps_elbo=True)
    freezing.apply(0, 0)
    assert learning(model) == {"head"}
    assert not model.head.embed.weight.requires_grad
    freezing.apply(0, 1)
    assert learning(model) == {"head", "history", "time", "past", "pooling", "variables"}
    freezing.apply(0, 2)
    assert all(weight.requires_grad for weight in model.parameters())


def test_frozen_parts_stay_in_evaluation_mode_also_after_train_woke_them(model):
    freezing = Freezing(model, Frozen((5,), "steps"), keeps_elbo=True)
    model.train()
    freezing.apply(4, 0)
    rests = (model.history, model.latents, model.embed, model.variables)
    assert not any(module.training for part in rests for module in part.modules())
    assert model.training
    assert model.head.classify.training
    freezing.apply(5, 0)
    assert all(module.training for part in rests for module in part.modules())


def test_what_only_the_elbo_reads_rests_where_it_is_not_in_the_loss(model):
    Freezing(model, NEVER, keeps_elbo=False).apply(0, 0)
    resting = {n.partition(".")[0] for n, w in model.named_parameters() if not w.requires_grad}
    assert resting == {"decoder", "past", "latents"}
    assert not any(w.requires_grad for w in model.latents.prior.parameters())
    assert all(w.requires_grad for w in model.latents.posterior.parameters())


def test_every_weight_is_of_the_encoder_or_of_the_head(model):
    encoder = {id(weight) for weight in encoder_parameters(model)}
    head = {id(weight) for weight in model.head.classify.parameters()}
    assert not encoder & head
    assert encoder | head == {id(weight) for weight in model.parameters()}


def test_the_parts_of_an_encoder_of_others_are_not_known():
    classifier = build_classifier(FinetuneSettings(), WithNorm(), (2,), "own")
    with pytest.raises(SettingsError, match="parts of an encoder of another package"):
        Freezing(classifier, Frozen((1, 2), "epochs"), keeps_elbo=False)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Frozen((), "epochs")),
        ({"freeze": "all"}, Frozen((), "always")),
        ({"freeze_encoder": True}, Frozen((), "always")),
        ({"freeze": "until:5"}, Frozen((5,), "epochs")),
        ({"freeze_epochs": 5}, Frozen((5,), "epochs")),
        ({"freeze": "until:500steps"}, Frozen((500,), "steps")),
        ({"freeze": "until:2", "unfreeze": "stages"}, Frozen((2, 4), "epochs")),
        ({"freeze": "until:10,30steps", "unfreeze": "stages"}, Frozen((10, 30), "steps")),
    ],
)
def test_freezing_may_be_said_in_the_words_of_the_original(options, expected):
    assert TuningSettings(**options).frozen == expected


@pytest.mark.parametrize(
    "options",
    [
        {"freeze": "all", "freeze_encoder": True},
        {"freeze": "until:2", "freeze_epochs": 2},
        {"freeze_encoder": True, "freeze_epochs": 2},
        {"freeze": "until:2,4"},
        {"unfreeze": "stages"},
        {"freeze": "until:5hours"},
    ],
)
def test_freezing_that_is_said_twice_or_half_is_refused(options):
    with pytest.raises(ValueError, match="freeze"):
        TuningSettings(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"freeze": "until:50"},
            "--freeze until:50: the encoder has none of the 2 epochs planned to learn in; "
            "lower the bound of 50 epochs, or raise --max-epochs",
        ),
        ({"freeze_epochs": 2}, "--freeze-epochs 2: the encoder has none of the 2 epochs"),
        (
            {"freeze": "until:1,99999steps", "unfreeze": "stages"},
            "--freeze until:1,99999steps: a part of the encoder has none of the 12 steps",
        ),
        ({"freeze": "until:1", "unfreeze": "stages"}, "a part of the encoder has none"),
        ({"freeze": "until:9steps", "max_steps": 9}, "of 9 steps, or raise --max-steps"),
        ({"freeze": "until:1"}, ""),
        ({"freeze": "all"}, ""),
        ({}, ""),
    ],
)
def test_unfreezing_that_never_fires_is_said_before_training(options, said, caplog):
    settings = FinetuneSettings.from_flat(options)
    warn_of_rest(settings, steps=settings.optimizer.max_steps or 12, epochs=2)
    assert said in caplog.text
    assert bool(said) == bool(caplog.records)


def test_a_run_says_that_its_encoder_will_never_learn(store, tmp_path, caplog):
    checkpoint = checkpoint_of(store, tmp_path / "trained")
    settings = settings_in(tmp_path / "tuned", checkpoint, freeze="until:50")
    prepare_run(settings, store, None, Team(Part()))
    assert "--freeze until:50: the encoder has none of the 2 epochs planned" in caplog.text


def test_the_share_of_the_encoder_that_rests_is_all_of_it_while_only_the_head_learns(model):
    freezing = Freezing(model, Frozen((1, 2), "epochs"), keeps_elbo=False)
    shares = []
    for epoch in range(3):
        freezing.apply(0, epoch)
        shares.append(freezing.share)
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert shares[2] == 0


@pytest.mark.parametrize("foreign", [False, True])
def test_a_frozen_encoder_is_equal_to_the_bit_after_training(store, tmp_path, foreign):
    options = {"freeze": "all", "weight_decay": 0.5, "lr": 0.1, "max_epochs": 1}
    encoder = WithNorm() if foreign else None
    checkpoint = None if foreign else checkpoint_of(store, tmp_path / "trained")
    settings = settings_in(tmp_path / "tuned", checkpoint, **options)
    fit(settings, store, ignore, encoder=encoder)
    state = read(first_run(settings).best()[0].path).payload["state_dict"]
    before = {f"encoder.{n}": w for n, w in encoder.state_dict().items()} if foreign else {}
    if not foreign:
        before = read(checkpoint).weights()
        before = {
            n: w for n, w in before.items() if not n.startswith(("head.residual", "head.out"))
        }
    for prefix in ("model.", "averaged."):
        for name, weight in before.items():
            assert torch.equal(state[prefix + name], weight), name
