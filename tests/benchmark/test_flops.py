"""The analytic work of a step against torch's own count of the products that ran."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.models import ARCHITECTURES, CLASSES, KINDS, make_batch, make_model, make_vocabulary
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from setvae_cli.benchmark.flops import Groups, Sizes, Work, padded_share, step_flops
from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.objective import loss_terms, total, weights_at
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings

STANDARD = {"prior": "standard", "decoder_context": "state"}
MANY = KINDS * 70  # more codes than the decoder makes at once
SUBJECTS = st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=5), min_size=1, max_size=4)


def ran(model: SeqSetVAE, batch: SetBatch) -> int:
    """FLOPs of the products of one step.

    torch does not count its fused attention on a CPU; its plain one is made of products that it
    counts, square where a causal mask would need a triangle only.
    """
    objective = ObjectiveSettings()
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        output = model.train()(batch, noise_seed=1)
        terms = loss_terms(model, output, batch, objective, classes=CLASSES, noise_seed=1)
        total(terms, weights_at(500, 1000, objective), batch, 3.0).backward()
    return int(counter.get_total_flops())


def masked(model: SeqSetVAE, batch: SetBatch) -> int:
    """What the square has beyond the triangle: 12 x pairs x dim a layer, backward included."""
    sizes = Sizes.of(batch).by_subject
    if not model.history.causal:
        return 0
    dim, layers = model.time.features.out_features, len(model.history.layers)
    return 12 * dim * layers * (sizes.pairs(causal=False) - sizes.pairs(causal=True))


def absent(model: SeqSetVAE, batch: SetBatch) -> int:
    """Values of codes that a set does not hold: made with the others, and read by no loss."""
    decoder = model.decoder
    if not isinstance(decoder, QueryDecoder) or decoder.codes > 512:
        return 0
    rows = batch.plan.sets * decoder.codes - batch.plan.elements
    return 6 * rows * decoder.heads.weight.shape[1] * 2


def unread(model: SeqSetVAE, batch: SetBatch) -> int:
    """The most that an implementation may do beyond: latents mapped again for learned priors.

    With sampled codes also the two numbers beside presence, which no loss reads.
    """
    sets, again = batch.plan.sets, absent(model, batch)
    if model.latents.prior is not None:
        again += sum(6 * sets * level.weight.numel() for level in model.latents.spread)
    if isinstance(model.decoder, QueryDecoder) and model.decoder.codes > 512:
        again += 6 * sets * 256 * model.decoder.heads.weight.shape[1] * 2
    return again


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_work_of_equal_sets_is_what_ran_without_the_causal_mask_and_absent_values(
    name: str,
) -> None:
    changes = {} if name == "bidirectional" else STANDARD
    model, batch = make_model(name, **changes), make_batch([[3] * 4] * 3)
    beyond = masked(model, batch) + absent(model, batch)
    assert step_flops(model, Sizes.of(batch)).total + beyond == ran(model, batch)


@pytest.mark.parametrize("name", ["base", "levels", "bottleneck"])
def test_a_learned_prior_adds_at_most_the_maps_of_its_latents(name: str) -> None:
    model, batch = make_model(name), make_batch([[3] * 4] * 3)
    beyond = ran(model, batch) - step_flops(model, Sizes.of(batch)).total - masked(model, batch)
    assert 0 <= beyond <= unread(model, batch)


def test_work_with_sampled_codes_and_given_embeddings_is_what_ran() -> None:
    generator = np.random.default_rng(0)
    vocabulary = make_vocabulary(MANY, generator.normal(size=(len(MANY), 6)).astype(np.float32))
    model = make_model("base", vocabulary=vocabulary, **STANDARD)
    batch = make_batch([[3] * 4] * 3, kinds=MANY)
    beyond = ran(model, batch) - step_flops(model, Sizes.of(batch)).total - masked(model, batch)
    assert 0 <= beyond <= unread(model, batch)
    assert step_flops(model, Sizes.of(batch)).once == 4 * len(MANY) * 6 * 8


@pytest.mark.parametrize("name", ["base", "original", "levels"])
def test_elements_that_are_alone_never_cost_more_than_what_ran(name: str) -> None:
    model, batch = make_model(name), make_batch([[1, 3, 1, 1], [1], [1, 2]])
    assert step_flops(model, Sizes.of(batch)).total <= ran(model, batch)


@given(subjects=SUBJECTS)
@settings(max_examples=25, deadline=None)
def test_work_of_a_batch_is_the_sum_of_its_subjects(subjects: list[list[int]]) -> None:
    for model in MODELS:
        whole = step_flops(model, sizes_of(subjects))
        alone = [step_flops(model, sizes_of([subject])) for subject in subjects]
        assert whole.products == sum(work.products for work in alone)
        assert whole.pairs == sum(work.pairs for work in alone)
        assert {whole.once} == {work.once for work in alone}


@given(subjects=SUBJECTS, more=st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_more_elements_are_more_work(subjects: list[list[int]], more: int) -> None:
    larger = [[size + more for size in subject] for subject in subjects]
    for model in MODELS[1:]:  # a bag sums elements without a product
        few, many = (step_flops(model, sizes_of(sizes)) for sizes in (subjects, larger))
        assert few.products < many.products
        assert few.pairs < many.pairs


def test_values_are_counted_for_elements_and_not_for_absent_codes() -> None:
    model = make_model("base", **STANDARD)
    two, three = (step_flops(model, sizes_of([[size]])) for size in (2, 3))
    hidden = model.decoder.heads.weight.shape[1]
    assert three.products - two.products == 6 * hidden * 2
    many, more = (step_flops(model, sizes_of([[size]])) for size in (1_000, 2_000))
    assert many.products == more.products  # whole products make each code once


def test_without_labels_the_head_costs_nothing() -> None:
    model, sizes = make_model("base"), sizes_of([[2, 3], [4]])
    with_head, without = (step_flops(model, sizes, predicting=on) for on in (True, False))
    assert without.products < with_head.products
    assert without.pairs < with_head.pairs


def test_one_more_element_in_plain_set_attention_costs_its_projections_and_its_pairs() -> None:
    """Per block 4 d d + 2 d f weights, and 2 d d more for the keys and values of the pool.

    The decoder has two numbers for its value.
    """
    model, levels, dim, ff_dim = make_model("levels"), 3, 8, 12
    five, six = (step_flops(model, sizes_of([[size]])) for size in (5, 6))
    weights = levels * (6 * dim * dim + 2 * dim * ff_dim) + 2 * model.decoder.heads.weight.shape[1]
    assert six.products - five.products == 6 * weights
    pooled = 1
    assert six.pairs - five.pairs == 12 * dim * levels * (6 * 6 - 5 * 5 + pooled)


def test_attention_of_one_key_has_no_pairs_and_a_causal_one_has_a_triangle() -> None:
    groups = Groups(np.array([1, 4, 1, 2]))
    assert groups.pairs(causal=False) == 16 + 4
    assert groups.pairs(causal=True) == 10 + 3
    assert (groups.items, groups.attending, groups.count) == (8, 6, 4)


def test_equal_sizes_waste_nothing_and_unequal_ones_do() -> None:
    model = make_model("levels")
    assert padded_share(model, make_batch([[3] * 4] * 3)) == 0
    sizes = [[7, 8, 8, 8, 8, 8, 8, 8]] * 2
    assert 0 < padded_share(model, make_batch(sizes)) < 0.15


def test_work_adds_up() -> None:
    work = Work(1, 2, 3) + Work(10, 20, 30)
    assert astuple(work) == (11, 22, 33)
    assert work.total == 66


def sizes_of(subjects: list[list[int]]) -> Sizes:
    by_set = Groups(np.array([size for subject in subjects for size in subject]))
    return Sizes(by_set, Groups(np.array([len(subject) for subject in subjects])))


MODELS = [make_model(name) for name in ("base", "original", "levels", "induced")]
