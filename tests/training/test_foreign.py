"""An encoder of others sees the codes that it knows, and starts from the weights it was given."""

from __future__ import annotations

import pytest
import torch

import setvae_cli
from setvae_cli.encoders.lifestream import LifestreamEncoder
from setvae_cli.encoders.opening import open_encoder
from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.beginning import begin
from setvae_cli.training.header import settings_without_paths
from setvae_cli.training.starting import check_given, counts, told
from tests.encoders.lifestream import gru
from tests.models import make_batch
from tests.tiny import TinySource, outcomes, records, write
from tests.trained import model_for
from tests.training.tuned import WithNorm, settings_in

ENCODER = "tests.training.tuned:WithNorm"
NOTES = ["one of them"] + ["ward A"] * 18 + ["ward B"] * 17 + ["ward C"] * 24


@pytest.fixture(scope="module")
def notes(tmp_path_factory) -> Store:
    """Sixty subjects whose text attribute is an event too; ward B is rare in some folds."""
    ids = [f"s{i}" for i in range(len(NOTES))]
    events = [(name, 0.0, "pulse", 60.0 + i) for i, name in enumerate(ids)]
    events += [(name, 0.0, f"note={note}", None) for name, note in zip(ids, NOTES, strict=True)]
    labels = outcomes({name: i % 2 for i, name in enumerate(ids)})
    source = TinySource([records(events, attribute__note=NOTES)], labels)
    folder = tmp_path_factory.mktemp("notes") / "store"
    return Store.open(write(source, folder).path)


def known_in(store, folder, fold, **options):
    settings = settings_in(folder, None, folds=4, fold=fold, **options)
    return begin(settings, store, None, None).portion.vocabulary


def test_codes_have_one_number_in_every_fold_and_rare_texts_are_not_named(notes, tmp_path):
    folds = [known_in(notes, tmp_path, fold, encoder=ENCODER) for fold in range(4)]
    whole = notes.vocabulary.codes
    left_out = [[name for name in whole if name not in one.codes] for one in folds]
    assert len({tuple(names) for names in left_out}) > 1
    for known, names in zip(folds, left_out, strict=True):
        assert "note=one of them" in names
        assert len(known.codes) == len(whole)
        for name in set(whole) - set(names):
            assert known.codes.index(name) == whole.index(name)
        hidden = [whole.index(name) for name in names]
        assert (known.match(whole)[hidden] == -1).all()
        assert not known.counts[hidden].any()
    own = [len(known_in(notes, tmp_path, fold).codes) for fold in range(4)]
    assert own == [len(whole) - len(names) for names in left_out]


def own_encoder(store, **options):
    return SetvaeEncoder(model_for(store).model, **options)


def test_a_model_of_setvae_is_shown_codes_by_their_names(store, tmp_path):
    turned = store.vocabulary.take(torch.arange(len(store.vocabulary.codes)).flip(0).numpy())
    encoder = own_encoder(store, vocabulary=turned, pool="attention")
    found = begin(settings_in(tmp_path, None), store, None, encoder)
    assert found.portion.vocabulary.codes == store.vocabulary.codes[::-1]
    assert found.model.encoder.pool.query is not encoder.pool.query


def test_a_model_of_setvae_without_names_or_of_other_codes_is_refused(store, notes, tmp_path):
    settings = settings_in(tmp_path, None)
    with pytest.raises(SettingsError, match="SetvaeEncoder: knows no names of codes, so that"):
        setvae_cli.finetune(own_encoder(store), store, settings)
    other = own_encoder(store, vocabulary=store.vocabulary)
    with pytest.raises(InputError, match="knows 0 % of the events of this store, expected at leas"):
        setvae_cli.finetune(other, notes, settings)


def test_states_are_pooled_as_asked_and_a_checkpoint_knows_how(store, tmp_path):
    given = {"encoder": "tests.encoders.lifestream:gru", "pool": "attention"}
    found = begin(settings_in(tmp_path, None, **given), store, None, None)
    assert found.model.encoder.pool.over == "attention"
    weights = dict(found.model.named_parameters())
    assert weights["encoder.pool.query"].requires_grad
    kept = settings_without_paths(found.settings)
    again = open_encoder(given["encoder"], codes=16, pool=kept["pool"])
    assert "pool.query" in again.state_dict()


def test_pooling_is_refused_where_there_are_no_states(store, tmp_path):
    with pytest.raises(SettingsError, match="--pool: is for the states of --encoder, and a check"):
        check_given(FinetuneSettings.from_flat({"pool": "mean"}))
    settings = settings_in(tmp_path, None, pool="mean")
    with pytest.raises(SettingsError, match="--pool: is for states, and this encoder gives one"):
        setvae_cli.finetune(WithNorm(), store, settings)
    with pytest.raises(SettingsError, match="--pool: is for states, and this encoder gives one"):
        setvae_cli.finetune(gru(reduced=True), store, settings)
    with pytest.raises(SettingsError, match="--pool: is for states, and this encoder gives one"):
        LifestreamEncoder(gru(reduced=True), "last").encode(make_batch([[1, 2]]))


def test_weights_of_an_encoder_are_counted_as_those_of_a_checkpoint(store, tmp_path):
    state = WithNorm().state_dict()
    torch.save({**state, "head.weight": torch.ones(2)}, tmp_path / "w.pt")
    given = {"encoder": ENCODER, "encoder_checkpoint": tmp_path / "w.pt"}
    found = begin(settings_in(tmp_path, None, **given), store, None, None)
    assert torch.equal(found.model.encoder.map.weight, state["map.weight"])
    said = f"{len(state)} weights, 0 missing, 0 mismatched, 1 of the file unused (head.weight)"
    assert told(found.loaded) == said
    assert counts(found.loaded)["unused"] == 1
    state.pop("map.bias")
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"1 missing \(map.bias\); .* fits with --allow-partial"):
        begin(settings_in(tmp_path, None, **given), store, None, None)
    some = begin(settings_in(tmp_path, None, **given, allow_partial=True), store, None, None)
    assert some.loaded.missing == ("map.bias",)
