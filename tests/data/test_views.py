"""Views end at a cut, targets lie behind it, and neither knows of the other."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import torch

from setvae_cli.data.batch import SetBatch
from setvae_cli.data.dataset import TIME_DRAW, SetDataset
from setvae_cli.data.sampler import BatchRequest, EpochSampler
from setvae_cli.data.targets import Gaussianiser
from setvae_cli.data.views import Cuts
from setvae_cli.store import writer
from setvae_cli.store.reader import Store
from setvae_cli.store.vocabulary import LEVELS, Vocabulary
from tests.tiny import TinySource, cohort, records, write

CUTS = Cuts(first=30.0, last=400.0, share=0.8, horizon=200.0)
ROWS = np.arange(40)


def store_of(folder: Path, source: TinySource) -> Store:
    """Forty subjects in several shards."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "SHARD_ELEMENTS", 150)
        write(source, folder)
    return Store.open(folder)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return store_of(tmp_path_factory.mktemp("data") / "store", cohort())


def request(rows: np.ndarray, *, epoch: int = 0, batch: int = 0) -> BatchRequest:
    return BatchRequest(rows, epoch, batch, np.arange(len(rows)), len(rows), (len(rows),))


def dataset(store: Store, cuts: Cuts = CUTS, **options: object) -> SetDataset:
    return SetDataset(store, store.vocabulary, ROWS, cuts=cuts, seed=5, **options)


def events(store: Store, row: int) -> list[tuple[float, int, float]]:
    """Minute, code and raw value of every event of a row, in order."""
    shard = store.shard(int(store.columns.shard[row]))
    inside, found = int(store.columns.row_in_shard[row]), []
    for one in range(shard.row_offsets[inside], shard.row_offsets[inside + 1]):
        for element in range(shard.set_offsets[one], shard.set_offsets[one + 1]):
            minute = float(shard.positions[one, 0])
            found.append((minute, int(shard.keys[element]), float(shard.values[element])))
    return found


def ends(batch: SetBatch) -> np.ndarray:
    """Minute of the last set of each subject."""
    last = batch.plan.subject_start + batch.sets_per_subject - 1
    return batch.positions[last, 0].numpy()


def rank_normal(vocabulary: Vocabulary, code: int, value: float) -> float | None:
    """The Gaussianised value, one event at a time."""
    kind = vocabulary.kinds[code]
    if np.isnan(value) or kind not in ("numeric", "binary"):
        return None
    if kind == "binary":
        return 1.0 if value > 0.5 else -1.0
    knots = [float(knot) for knot in vocabulary.quantiles[code]]
    equal = [level for knot, level in zip(knots, LEVELS, strict=True) if knot == value]
    if equal:
        rank = (equal[0] + equal[-1]) / 2
    elif value < knots[0] or value > knots[-1]:
        rank = LEVELS[0] if value < knots[0] else LEVELS[-1]
    else:
        after = next(i for i, knot in enumerate(knots) if knot > value)
        share = (value - knots[after - 1]) / (knots[after] - knots[after - 1])
        rank = LEVELS[after - 1] + share * (LEVELS[after] - LEVELS[after - 1])
    return NormalDist().inv_cdf(rank)


def test_ranks_of_values_become_normal_quantiles_as_one_by_one(store: Store) -> None:
    vocabulary = store.vocabulary
    all_events = [event for row in ROWS for event in events(store, int(row))]
    keys = np.array([code for _, code, _ in all_events], dtype=np.int32)
    values = np.array([value for _, _, value in all_events], dtype=np.float32)
    made, valued = Gaussianiser.between(vocabulary, vocabulary)(keys, values)
    for (_, code, value), normal, is_valued in zip(all_events, made, valued, strict=True):
        expected = rank_normal(vocabulary, code, value)
        assert is_valued == (expected is not None)
        assert normal == pytest.approx(0.0 if expected is None else expected, abs=1e-5)


def test_a_value_on_equal_quantiles_has_their_mean_rank(store: Store) -> None:
    lab = store.vocabulary.codes.index("lab")
    knots = np.repeat(np.float32([1, 2, 3]), (2, 13, 2))
    quantiles = [*store.vocabulary.quantiles]
    quantiles[lab] = knots
    vocabulary = replace(store.vocabulary, quantiles=tuple(quantiles))
    values = np.array([0.0, 1.0, 2.0, 2.5, 3.0, 9.0], dtype=np.float32)
    made, _ = Gaussianiser.between(vocabulary, vocabulary)(np.full(6, lab, np.int32), values)
    expected = [rank_normal(vocabulary, lab, float(value)) for value in values]
    np.testing.assert_allclose(made, expected, atol=1e-6)
    assert made[2] == pytest.approx(0, abs=1e-6)


def test_targets_are_those_of_one_subject_at_a_time(store: Store) -> None:
    batch = dataset(store).batch(request(ROWS))
    targets = batch.targets
    assert targets is not None
    whole = dataset(store).is_whole(0, 0, ROWS)
    assert 0 < whole.sum() < len(whole)
    found = {
        (subject, code): (statistics, valued)
        for subject, code, statistics, valued in zip(
            targets.pair_subject.tolist(),
            targets.pair_code.tolist(),
            targets.statistics.tolist(),
            targets.valued.tolist(),
            strict=True,
        )
    }
    assert len(found) == len(targets.pair_code)
    cut = cuts_seen(store, batch)
    expected: dict[tuple[int, int], list[float]] = {}
    for subject, row in enumerate(ROWS.tolist()):
        for minute, code, value in events(store, row):
            if cut[subject] < minute <= cut[subject] + CUTS.horizon and not whole[subject]:
                normal = rank_normal(store.vocabulary, code, value)
                expected.setdefault((subject, code), [])
                if normal is not None:
                    expected[subject, code].append(normal)
    assert found.keys() == expected.keys()
    for pair, values in expected.items():
        statistics, valued = found[pair]
        assert valued == bool(values)
        each = (np.mean(values), min(values), max(values)) if values else (0, 0, 0)
        assert statistics == pytest.approx(each, abs=1e-5)
    has = {subject for subject, _ in expected}
    assert targets.forecast.tolist() == [subject in has for subject in range(len(ROWS))]


def cuts_seen(store: Store, batch: SetBatch) -> np.ndarray:
    """The time of each subject's cut, infinite where it is whole."""
    data = dataset(store)
    times = data._uniform(request(ROWS), np.ones_like(ROWS), TIME_DRAW)
    first = np.array([events(store, row)[0][0] for row in ROWS.tolist()])
    cut = first + CUTS.first + times.astype(np.float64) * (CUTS.last - CUTS.first)
    seen, whole = ends(batch), data.is_whole(0, 0, ROWS)
    assert (seen[~whole] <= cut[~whole]).all()
    return np.where(whole, np.inf, cut)


def test_a_view_holds_every_set_up_to_the_cut_and_none_behind_it(store: Store) -> None:
    batch = dataset(store).batch(request(ROWS))
    cut = cuts_seen(store, batch)
    for subject, row in enumerate(ROWS.tolist()):
        minutes = sorted({minute for minute, _, _ in events(store, row)})
        expected = [minute for minute in minutes if minute <= cut[subject]]
        assert int(batch.sets_per_subject[subject]) == len(expected)


def test_events_behind_the_cut_change_nothing_of_the_view(tmp_path: Path) -> None:
    cuts = replace(CUTS, first=100.0, last=100.0, share=1.0)

    def source(change: float) -> TinySource:
        content = []
        for number in range(12):
            name = f"s{number}"
            early = [(name, 40.0 * i, "lab", 100.0 + 7 * i + number) for i in range(3)]
            late = [(name, 140.0 + 30 * i + change, "lab", 90.0 + change) for i in range(4)]
            content.append(records([*early, *late]))
        return TinySource(content)

    first, other = (store_of(tmp_path / str(c), source(c)) for c in (0.0, 5.0))
    rows = np.arange(12)
    batches = [
        SetDataset(store, first.vocabulary, rows, cuts=cuts, hide_rate=0.5).batch(request(rows))
        for store in (first, other)
    ]
    for field in fields(SetBatch):
        if field.name not in ("targets", "plan"):
            values = [getattr(batch, field.name) for batch in batches]
            assert isinstance(values[0], torch.Tensor) is False or torch.equal(*values)
    both = [batch.targets for batch in batches]
    assert not torch.equal(both[0].statistics, both[1].statistics)
    assert torch.equal(both[0].hidden_value, both[1].hidden_value)


def test_hidden_values_are_the_ones_that_left_sets_which_stayed(store: Store) -> None:
    hiding = dataset(store, hide_rate=0.9).batch(request(ROWS))
    seen = dataset(store).batch(request(ROWS))
    targets = hiding.targets
    assert len(targets.hidden_set) > 10

    def held(batch: SetBatch) -> dict[tuple[int, float], list[int]]:
        found: dict[tuple[int, float], list[int]] = {}
        subjects = batch.plan.set_subject[batch.plan.element_set].tolist()
        minutes = batch.positions[batch.plan.element_set, 0].tolist()
        for subject, minute, code in zip(subjects, minutes, batch.keys.tolist(), strict=True):
            found.setdefault((subject, minute), []).append(code)
        return found

    before, after = held(seen), held(hiding)
    kinds = store.vocabulary.kinds
    expected = []
    for place, codes in before.items():
        left = after.get(place)
        if left is not None:
            gone = [
                code for code in set(codes) for _ in range(codes.count(code) - left.count(code))
            ]
            expected += [(*place, c) for c in gone if kinds[c] in ("numeric", "binary")]
    subjects = hiding.plan.set_subject[targets.hidden_set].tolist()
    minutes = hiding.positions[targets.hidden_set, 0].tolist()
    found = list(zip(subjects, minutes, targets.hidden_code.tolist(), strict=True))
    assert sorted(found) == sorted(expected)


def test_a_longer_view_keeps_its_latest_sets(store: Store) -> None:
    cut = dataset(store, max_sequence_length=5).batch(request(ROWS))
    whole = dataset(store).batch(request(ROWS))
    assert (ends(cut) == ends(whole)).all()
    counts = np.bincount(cut.plan.set_subject[cut.plan.element_set])
    assert counts.max() <= 5 < np.bincount(whole.plan.set_subject[whole.plan.element_set]).max()
    assert torch.equal(cut.targets.statistics, whole.targets.statistics)


def test_a_label_belongs_to_the_whole_subject_and_steps_count_it_so(store: Store) -> None:
    data = dataset(store, tasks=("death",))
    sampler = EpochSampler(
        data.n_elements, data.labels >= 0, 8, 2, seed=0, counts=data.is_whole, rank=0, world=1
    )
    batches = [data.batch(one) for one in sampler]
    labelled = [int(batch.label_mask.sum()) for batch in batches]
    steps = [sum(labelled[i : i + 2]) for i in range(0, len(labelled), 2)]
    assert [batch.plan.step_labelled[0] for batch in batches[::2]] == steps
    assert 0 < sum(labelled) < len(ROWS)


def test_views_of_validation_are_a_function_of_seed_and_row(store: Store) -> None:
    views = dataset(store, hide_rate=0.3)
    fixed = SetDataset(store, store.vocabulary, ROWS, seed=5).fixed_views(views)
    first = fixed.batch(request(ROWS[:20]))
    other = fixed.batch(request(ROWS[10:30], epoch=3, batch=7))
    pair = [
        [
            (row, sets)
            for row, sets in zip(b.rows.tolist(), b.sets_per_subject.tolist(), strict=True)
            if 10 <= row < 20
        ]
        for b in (first, other)
    ]
    assert pair[0] == pair[1]
    assert not fixed.is_whole(0, 0, ROWS).any()


def test_a_batch_of_views_survives_a_pipe_and_another_precision(store: Store) -> None:
    batch = dataset(store, hide_rate=0.3).batch(request(ROWS))
    again = pickle.loads(pickle.dumps(batch)).double()
    assert again.targets.statistics.dtype == torch.float64
    assert torch.equal(again.targets.pair_code, batch.targets.pair_code)
    moved = batch.to("meta")
    assert moved.targets.hidden_value.is_meta
    copy = pickle.loads(pickle.dumps(dataset(store, hide_rate=0.3)))
    assert torch.equal(copy.batch(request(ROWS)).targets.statistics, batch.targets.statistics)


def test_nothing_is_forecast_of_a_view_of_which_the_model_knows_no_event(store: Store) -> None:
    counts = store.vocabulary.counts.copy()
    known = [store.vocabulary.codes.index(name) for name in ("note",)]
    counts[np.setdiff1d(np.arange(len(counts)), known)] = 0
    model = replace(store.vocabulary, counts=counts)
    cuts = replace(CUTS, last=200.0, share=1.0)
    data = SetDataset(store, model, ROWS, cuts=cuts, seed=5)
    asked = np.arange(len(data))
    batch, rows = data.batch(request(asked)), data.rows
    first = np.array([events(store, row)[0][0] for row in rows.tolist()])
    times = data._uniform(request(asked), np.ones_like(asked), TIME_DRAW).astype(np.float64)
    cut = first + cuts.first + times * (cuts.last - cuts.first)
    empty = []
    for subject, row in enumerate(rows.tolist()):
        empty.append(not any(m <= cut[subject] and c in known for m, c, _ in events(store, row)))
    assert any(empty)
    assert not (batch.targets.forecast.numpy() & np.array(empty)).any()
    assert set(batch.targets.pair_code.tolist()) <= set(known)
