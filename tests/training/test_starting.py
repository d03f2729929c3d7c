"""Fine-tuning starts from all of a trained body, or says what is missing and starts not at all."""

from __future__ import annotations

import pytest
import torch

from setvae_cli.errors import InputError, RunError, SettingsError
from setvae_cli.runs.checkpoint import read, save
from setvae_cli.runs.export import export
from setvae_cli.runs.model import build_untrained
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.beginning import begin
from setvae_cli.training.starting import check_given, is_body, open_origin
from tests.tiny import cohort, outcomes, write
from tests.training.tuned import checkpoint_of, settings_in


@pytest.fixture
def checkpoint(store, tmp_path):
    return checkpoint_of(store, tmp_path / "trained")


def begun(path, store, tmp_path, **options):
    return begin(settings_in(tmp_path, path, **options), store, None, None)


def rewritten(path, tmp_path, change):
    payload = dict(read(path).payload)
    payload["state_dict"] = change(dict(payload["state_dict"]))
    save(tmp_path / "changed.ckpt", payload)
    return tmp_path / "changed.ckpt"


def test_the_body_is_that_of_the_checkpoint_and_the_head_is_new(checkpoint, store, tmp_path):
    found = begun(checkpoint, store, tmp_path)
    weights = read(checkpoint).weights()
    own = found.model.state_dict()
    for name, weight in own.items():
        if is_body(name):
            assert torch.equal(weight, weights[name]), name
    assert not any(name.startswith("head.classify") for name in weights)
    assert (found.loaded.missing, found.loaded.mismatched) == ((), ())


@pytest.mark.parametrize("prefix", ["model.", "averaged.", "module.", "encoder.", ""])
def test_weights_are_found_under_the_prefixes_of_other_wrappers(
    checkpoint, store, tmp_path, prefix
):
    def renamed(state):
        return {prefix + name.removeprefix("model."): weight for name, weight in state.items()}

    assert begun(rewritten(checkpoint, tmp_path, renamed), store, tmp_path).loaded.whole


def test_an_exported_model_is_as_good_as_its_checkpoint(checkpoint, store, tmp_path):
    export(read(checkpoint), tmp_path / "model.safetensors")
    assert begun(tmp_path / "model.safetensors", store, tmp_path).loaded.whole


def test_less_than_all_of_the_body_is_refused_unless_that_is_allowed(checkpoint, store, tmp_path):
    def cut(state):
        kept = {name: weight for name, weight in state.items() if ".history." not in name}
        kept["model.head.embed.bias"] = torch.zeros(3)
        return kept

    path = rewritten(checkpoint, tmp_path, cut)
    with pytest.raises(
        RunError, match=r"missing \(history\.\S+, history\.\S+, history\.\S+, \.\.\.\)"
    ):
        begun(path, store, tmp_path)
    found = begun(path, store, tmp_path, allow_partial=True).loaded
    assert found.mismatched == ("head.embed.bias",)
    assert found.missing
    assert all(name.startswith("history.") for name in found.missing)


def test_a_checkpoint_without_any_weight_of_the_body_is_refused_always(checkpoint, store, tmp_path):
    path = rewritten(checkpoint, tmp_path, lambda state: {"model.other": torch.ones(2)})
    with pytest.raises(RunError, match="0 weights loaded"):
        begun(path, store, tmp_path, allow_partial=True)


def test_a_checkpoint_of_the_original_is_refused_in_one_sentence(tmp_path):
    weights = {"setvae.setvae.embed.weight": torch.ones(2), "pos_embedding": torch.ones(2, 2)}
    torch.save({"state_dict": weights}, tmp_path / "original.ckpt")
    with pytest.raises(InputError, match="is a checkpoint of the original SeqSetVAE"):
        open_origin(tmp_path / "original.ckpt")


def test_codes_and_sizes_are_those_of_the_checkpoint(checkpoint, store, tmp_path):
    found = begun(checkpoint, store, tmp_path, input_dropout=0.25)
    header = read(checkpoint).header
    assert found.portion.vocabulary.to_plain() == header.vocabulary
    assert found.portion.shape.time_scale == header.time_scale
    assert found.settings.model.dim == header.settings["dim"]
    assert found.settings.model.input_dropout == 0.25
    assert found.settings.model.joined_dropout == header.settings["joined_dropout"]


@pytest.mark.parametrize("option", [{"dim": 16}, {"preset": "tiny"}, {"dropout": 0.2}])
def test_options_of_the_architecture_are_refused(option):
    with pytest.raises(SettingsError, match="is fixed in fine-tuning"):
        check_given(FinetuneSettings.from_flat(option))


def test_labels_and_classes_are_those_of_the_data(checkpoint, store, tmp_path):
    assert begun(checkpoint, store, tmp_path).tasks.names == ("death",)
    with pytest.raises(SettingsError, match="have no label 'sepsis'; its labels are death"):
        begun(checkpoint, store, tmp_path, label=["sepsis"])
    with pytest.raises(SettingsError, match="is 3, and death has 2 classes"):
        begun(checkpoint, store, tmp_path, n_classes=[3])


def test_labels_of_one_class_are_refused_with_what_fine_tuning_can_do(checkpoint, tmp_path):
    alike = cohort(20, outcomes=outcomes({f"s{i}": 0 for i in range(20)}))
    one = Store.open(write(alike, tmp_path / "alike").path)
    with pytest.raises(InputError, match=r"death has 1 class in training, .*; name another"):
        begun(checkpoint, one, tmp_path)


def test_without_hidden_layers_the_head_is_that_of_training(checkpoint, store, tmp_path):
    found = begun(checkpoint, store, tmp_path, head_hidden_dims=None)
    plain = build_untrained(
        found.settings,
        found.portion.vocabulary,
        classes=(2,),
        set_size_p99=found.portion.shape.set_size_p99,
        time_scale=found.portion.shape.time_scale,
    )
    assert found.model.head.residual.state_dict().keys() == plain.head.residual.state_dict().keys()
