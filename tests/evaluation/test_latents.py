"""What a look at a model collects is what the model says, subject by subject."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tests import tiny
from tests.models import ARCHITECTURES
from tests.trained import model_for
from tests.training.stores import write_store

from setvae_cli.errors import InputError
from setvae_cli.evaluation.code_errors import CHAMFER, NO_VALUES
from setvae_cli.evaluation.collect import Asked, Origin, Pass, collect, first_task
from setvae_cli.evaluation.kept_sets import KeptSets
from setvae_cli.evaluation.latents import Latents
from setvae_cli.evaluation.severity import PREDICTED, TRUE, severity
from setvae_cli.losses.reconstruction import recon_by_set
from setvae_cli.runs.model import LoadedModel, build_untrained
from setvae_cli.settings.prepare import SourceSettings, StoreSettings
from setvae_cli.sources.recognise import open_source
from setvae_cli.store.precompute import precompute
from setvae_cli.store.reader import Store

ORIGIN = Origin("seqsetvae/version_0", "best.ckpt", 40, "2026-01-02")


@pytest.fixture(autouse=True)
def _without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Sixty stays of the five codes of tests/tiny.py: numeric, binary, category, presence."""
    folder = tmp_path_factory.mktemp("data")
    tiny.write(tiny.cohort(60), folder / "store", split_fractions=(0.5, 0.4, 0.1))
    return Store.open(folder / "store")


def look(loaded: LoadedModel, store: Store, **asked: Any) -> Latents:
    return collect(loaded, store, Asked(**asked), ORIGIN, progress=lambda doing, share: None)


def alone(loaded: LoadedModel, store: Store, row: int) -> tuple[Any, Any]:
    """A subject as the only one of its batch, and the model's output for it."""
    one = Pass(loaded, store)
    ((_, batch),) = one.batches(one.dataset(np.array([row])), 1)
    return batch, loaded.model(batch)


@pytest.mark.parametrize("architecture", ["base", "levels", "standard prior"])
def test_every_set_is_kept_as_the_model_sees_it_alone(store: Store, architecture: str) -> None:
    loaded = model_for(store, architecture)
    found = look(loaded, store, batch_size=7)
    rows = store.split("validation")
    assert found.subjects.row.tolist() == rows.tolist()
    for row in rows.tolist():
        batch, output = alone(loaded, store, row)
        here = found.sets.row == row
        assert found.sets.place[here].tolist() == list(range(batch.plan.sets))
        assert found.sets.size[here].tolist() == batch.set_sizes.tolist()
        np.testing.assert_allclose(found.sets.history[here], output.history, rtol=1e-4, atol=1e-5)
        recon = recon_by_set(loaded.model.decoder, output.decoded, output.elements, batch)
        np.testing.assert_allclose(found.sets.recon[here], recon, rtol=1e-4)
        pairs = zip(output.posteriors, output.priors, found.sets.levels, strict=True)
        for q, p, level in pairs:
            for array, expected in (
                (level.mean, q.mean),
                (level.variance, q.logvar.exp()),
                (level.prior_mean, p.mean),
                (level.prior_variance, p.logvar.exp()),
                (level.kl, q.kl(p)),
            ):
                assert array.dtype == np.float32
                np.testing.assert_allclose(array[here], expected, rtol=1e-3, atol=1e-5)


def test_the_measures_rest_on_the_sets_that_are_kept(store: Store) -> None:
    found = look(model_for(store), store)
    (level,), (measured,) = found.sets.levels, found.measures.levels
    assert measured.sets == found.sets_seen == len(found.sets.row)
    assert level.kl.sum(1).mean() == pytest.approx(measured.kl, rel=1e-5)
    assert level.variance.mean(0) == pytest.approx(measured.dimensions.plain_variance, rel=1e-4)
    assert measured.decoder_gap is not None
    assert found.mean_recon == pytest.approx(measured.decoder_gap.right, rel=1e-5)


def test_hours_count_from_admission_also_where_the_limit_cuts_the_first_sets(store: Store) -> None:
    whole, cut = (look(model_for(store, max_sequence_length=limit), store) for limit in (None, 6))
    assert len(cut.sets.row) < len(whole.sets.row)
    for row in whole.subjects.row.tolist():
        every, late = (x.sets.hours[x.sets.row == row] for x in (whole, cut))
        assert every[0] == 0
        assert late.tolist() == every[-len(late) :].tolist()


def test_risk_is_the_probability_of_the_positive_class(store: Store) -> None:
    loaded = model_for(store)
    found = look(loaded, store)
    for place, row in enumerate(found.subjects.row.tolist()):
        _, output = alone(loaded, store, row)
        assert found.subjects.risk[place] == pytest.approx(float(output.logits.sigmoid()), rel=1e-4)
        np.testing.assert_allclose(
            found.subjects.embedding[place], output.embedding[0], rtol=1e-3, atol=1e-5
        )
    assert found.subjects.label.tolist() == store.labels[found.subjects.row, 0].tolist()
    assert (found.task, found.subjects.severity_name) == ("death", PREDICTED)


def test_errors_of_a_code_are_means_over_its_values(store: Store) -> None:
    loaded = model_for(store)
    found, names = look(loaded, store).errors, store.vocabulary.codes
    kinds = dict(zip(found.code, found.kind, strict=True))  # note has no value
    assert kinds == {"age": "numeric", "flag": "binary", "lab": "numeric", "mode": "category"}
    assert sorted(found.count, reverse=True) == found.count.tolist()
    errors: dict[str, list[float]] = {name: [] for name in names}
    for row in store.split("validation").tolist():
        batch, output = alone(loaded, store, row)
        state, weight = output.decoded, loaded.model.decoder.heads.weight.view(len(names), 3, -1)
        bias = loaded.model.decoder.heads.bias.view(len(names), 3)
        for place, key in enumerate(batch.keys.tolist()):
            if batch.value_mask[place]:
                said = state[batch.plan.element_set[place]] @ weight[key, 1] + bias[key, 1]
                value = batch.values[place]
                if names[key] == "flag":
                    errors["flag"].append(float((said.sigmoid() - value).abs()))
                elif names[key] != "mode":
                    errors[names[key]].append(float((said - value).abs()))
    for code, count, error in zip(found.code, found.count, found.error, strict=True):
        if code != "mode":
            assert (count, error) == (len(errors[code]), pytest.approx(np.mean(errors[code]), 1e-4))
    mode = found.code.index("mode")
    assert 0 < found.error[mode] < 1
    assert found.nats[mode] > 0


def test_latents_that_are_not_finite_are_refused(store: Store) -> None:
    loaded = model_for(store)
    loaded.model.latents.posterior[0].weight.fill_(torch.inf)
    with pytest.raises(InputError, match=r"best.ckpt: the model gives latents that are not finite"):
        look(loaded, store)


def test_a_code_of_fewer_than_ten_subjects_has_no_mean_error(tmp_path: Path) -> None:
    tiny.write(tiny.cohort(20), tmp_path / "store")
    store = Store.open(tmp_path / "store")
    found = look(model_for(store), store, split="test").errors
    assert (found.code, found.reason) == ([], NO_VALUES)
    whole = look(model_for(store), store, split="train", batch_size=3).errors
    assert "age" in whole.code  # once a subject


def test_a_sample_of_sets_does_not_depend_on_batches(store: Store) -> None:
    loaded, samples = model_for(store), []
    whole = look(loaded, store).sets
    for size in (1, 5, 32):
        one = Pass(loaded, store)
        one.kept = KeptSets(1, most=20)
        for _, batch in one.batches(one.dataset(store.split("validation")), size):
            one.add(batch)
        samples.append(one.kept.finish())
        assert one.kept.seen == len(whole.row)
        assert one.kept.recon == pytest.approx(float(whole.recon.sum()), rel=1e-5)
    for sample in samples:
        assert len(sample.row) == 20
        assert sample.row.tolist() == samples[0].row.tolist()
        assert sample.place.tolist() == samples[0].place.tolist()
        np.testing.assert_allclose(sample.history, samples[0].history, rtol=1e-3, atol=1e-5)
    assert len(set(samples[0].row.tolist())) > 5


def test_how_many_sets_are_kept_follows_from_what_one_takes() -> None:
    assert KeptSets(224)._most == 200_000
    assert KeptSets(2816)._most == (1 << 29) // (4 * 2816)


def test_some_batches_are_a_random_choice_that_is_always_the_same(store: Store) -> None:
    loaded = model_for(store)
    first, again, other = (
        look(loaded, store, max_batches=2, batch_size=4, seed=seed).subjects.row
        for seed in (0, 0, 1)
    )
    rows = store.split("validation").tolist()
    assert first.tolist() == again.tolist() != other.tolist()
    assert len(first) == 8
    assert first.tolist() != rows[:8]
    assert set(first) <= set(rows)
    found = look(loaded, store, max_batches=2, batch_size=4)
    assert found.subjects_in_split == len(rows)


def test_series_are_of_the_subjects_asked_for_in_the_unit_of_the_source(store: Store) -> None:
    loaded, row = model_for(store), int(store.split("train")[3])
    (found,) = look(loaded, store, rows=(row,)).series
    assert found.row == row
    assert [one.code for one in found.series] == ["lab", "age"]  # numeric, most frequent first
    for one in found.series:
        std = store.vocabulary.std[store.vocabulary.codes.index(one.code)]
        assert (one.low < one.predicted).all()
        assert (one.predicted < one.high).all()
        # sigma is at least 0.1, and the band is 1.96 sigma to each side
        assert (one.high - one.low).min() >= 2 * 0.1959 * std
        assert one.hours.tolist() == sorted(one.hours.tolist())


def test_without_leave_no_values_are_drawn(store: Store) -> None:
    row = int(store.split("train")[3])
    found = look(model_for(store), store, rows=(row,), values=False)
    assert (found.series, found.shows_values) == ((), False)


def test_without_names_four_subjects_spread_over_the_risk_have_series(store: Store) -> None:
    found = look(model_for(store), store)
    risks = dict(zip(found.subjects.row.tolist(), found.subjects.risk.tolist(), strict=True))
    chosen = [risks[one.row] for one in found.series]
    assert len(set(chosen)) == 4
    assert max(chosen) > np.median(found.subjects.risk) > min(chosen)


def test_the_chamfer_decoder_gives_distances_and_no_errors_of_codes(store: Store) -> None:
    found = look(model_for(store, "original"), store)
    assert (found.recon_unit, found.errors.reason) == ("distance", CHAMFER)
    assert found.errors.code == []
    assert found.series == ()
    assert len(found.sets.levels) == 2
    assert (found.sets.recon >= 0).all()


def test_a_store_without_labels_has_subjects_without(tmp_path: Path) -> None:
    store = write_store(tmp_path, lambda split, number: "")
    found = look(model_for(store), store)
    assert (found.task, set(found.subjects.label.tolist())) == ("", {-1})
    assert np.isnan(found.subjects.risk).all()
    assert len(found.series) == 4


def test_a_model_with_labels_meets_a_store_without(tmp_path: Path, store: Store) -> None:
    tiny.write(tiny.cohort(60, outcomes=None), tmp_path / "unlabelled")
    found = look(model_for(store), Store.open(tmp_path / "unlabelled"))
    assert (found.task, set(found.subjects.label.tolist())) == ("death", {-1})
    assert np.isfinite(found.subjects.risk).all()


def test_a_model_without_labels_shows_those_of_the_store(store: Store) -> None:
    loaded = model_for(store, tasks=False)
    assert first_task(loaded, store) == "death"
    found = look(loaded, store)
    assert set(found.subjects.label.tolist()) == {0, 1}
    assert np.isnan(found.subjects.risk).all()


def test_several_classes_have_the_probability_of_the_most_probable(store: Store) -> None:
    loaded = model_for(store)
    classes = loaded.header.model_copy(update={"classes": (3,)})
    many = replace(loaded, header=classes, model=_with_classes(store))
    assert (look(many, store).subjects.risk >= 1 / 3).all()


def _with_classes(store: Store) -> Any:
    settings = model_for(store).settings.from_flat(ARCHITECTURES["base"])
    return build_untrained(
        settings, store.vocabulary, classes=(3,), set_size_p99=3.0, time_scale=100.0
    ).eval()


def test_codes_are_matched_by_name_and_too_few_are_refused(tmp_path: Path) -> None:
    own = write_store(tmp_path)
    tmp_path.joinpath("b").mkdir()
    other = write_store(tmp_path / "b", codes=("Temp", "HR", "SBP"))
    loaded = model_for(own)
    found = look(loaded, other)
    assert found.errors.code[0] in own.vocabulary.codes
    tmp_path.joinpath("c").mkdir()
    foreign = write_store(tmp_path / "c", codes=("pulse", "pressure", "Temp"))
    with pytest.raises(InputError, match=r"knows \d+ % of the events .* at least 80 %"):
        look(loaded, foreign)


def test_an_empty_split_and_rows_that_are_not_there_are_refused(
    tmp_path: Path, store: Store
) -> None:
    with pytest.raises(InputError, match=r"no row 60: rows are numbered from 0 to 59"):
        look(model_for(store), store, rows=(3, 60))
    tiny.write(tiny.cohort(40), tmp_path / "store", split_fractions=(0.8, 0.2, 0.0))
    halved = Store.open(tmp_path / "store")
    with pytest.raises(InputError, match="the test split is empty"):
        look(model_for(halved), halved, split="test")


@pytest.mark.parametrize("name", ["SOFA", "sofa", "attribute.SAPS-I", "saps_i"])
def test_a_score_among_the_attributes_is_the_severity(store: Store, name: str) -> None:
    scores = np.arange(len(store.rows), dtype=np.float64)
    scores[3] = -1  # not taken
    column = f"attribute.{name.removeprefix('attribute.')}"
    scored = Store.open(store.path)
    scored.rows = scored.rows.append_column(column, pa.array(scores))
    rows = np.array([2, 3, 9])
    found, said = severity(scored, rows, np.zeros(3, np.float32))
    assert said.lower().replace("-", "") in name.lower().replace("_", "").replace("-", "")
    assert (found[0], np.isnan(found[1]), found[2]) == (2, True, 9)


def test_the_truth_of_the_built_in_cohort_is_the_severity(tmp_path: Path) -> None:
    source = open_source(None, SourceSettings(subjects=40))
    precompute(source, StoreSettings(), tmp_path / "store", workers=1, sink=lambda _: None)
    store = Store.open(tmp_path / "store")
    rows = store.split("validation")
    found, said = severity(store, rows, np.zeros(len(rows), np.float32))
    truth = pq.read_table(tmp_path / "store/truth.parquet")
    known = dict(zip(truth["subject_id"].to_pylist(), truth["severity"].to_pylist(), strict=True))
    ids = store.rows["subject_id"].to_pylist()
    assert said == TRUE
    assert found == pytest.approx([known[ids[row]] for row in rows.tolist()], rel=1e-6)
