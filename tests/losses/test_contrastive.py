"""The contrastive loss against a slow loop, by hand, and as properties."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.losses.contrastive import contrastive
from setvae_cli.losses.objective import LossTerms, Weights, loss_terms, total
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.objective import ObjectiveSettings
from tests.models import CLASSES, make_batch, make_model


def one_by_one(embedding: Tensor, subject: list[int], negatives: int, margin: float) -> float:
    """The equation, read aloud."""
    e = [row / row.norm() for row in embedding]
    n, total = len(e), 0.0
    for i in range(n):
        total += sum(
            float((e[i] - e[j]).norm()) ** 2 for j in range(i + 1, n) if subject[i] == subject[j]
        )
        others = sorted(float((e[i] - e[j]).norm()) for j in range(n) if subject[i] != subject[j])
        total += sum(max(0.0, margin - d) ** 2 for d in others[:negatives])
    return total


def at(*degrees: float) -> Tensor:
    """Points of the circle, of several lengths."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.arange(1, len(degrees) + 1, dtype=torch.float64)
    return torch.stack((angles.cos(), angles.sin()), 1) * lengths[:, None]


@settings(max_examples=50, deadline=None)
@given(
    subject=st.lists(st.integers(0, 4), min_size=1, max_size=12),
    negatives=st.integers(1, 6),
    margin=st.floats(0.1, 2.0),
    seed=st.integers(0, 1000),
)
def test_the_loss_is_the_equation_read_aloud(
    subject: list[int], negatives: int, margin: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(len(subject), 3, dtype=torch.float64, generator=generator)
    loss = contrastive(embedding, torch.tensor(subject), negatives=negatives, margin=margin)
    expected = one_by_one(embedding, subject, negatives, margin)
    assert float(loss) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_two_slices_at_a_right_angle_cost_two() -> None:
    assert float(contrastive(at(0, 90), torch.tensor([7, 7]))) == pytest.approx(2.0)


def test_two_subjects_at_sixty_degrees_and_margin_two_cost_one_each() -> None:
    # d = 1: each slice has the other as its negative, and pays (2 - 1)^2.
    assert float(contrastive(at(0, 60), torch.tensor([1, 2]), margin=2.0)) == pytest.approx(2.0)


def test_only_the_nearest_negatives_count() -> None:
    points, subject = at(0, 10, 20, 180), torch.tensor([0, 1, 2, 3])
    chord = [2 * math.sin(math.radians(angle) / 2) for angle in (10, 10, 10)]
    expected = sum((0.5 - d) ** 2 for d in chord)  # the fourth is farther than the margin from all
    assert float(contrastive(points, subject, negatives=1)) == pytest.approx(expected)


def test_negatives_beyond_the_margin_cost_nothing_and_carry_no_gradient() -> None:
    points = at(0, 90, 180).requires_grad_()
    loss = contrastive(points, torch.tensor([0, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0
    assert points.grad is not None
    assert not points.grad.any()


def test_slices_that_coincide_have_a_finite_gradient() -> None:
    points = at(30, 30, 30).requires_grad_()
    contrastive(points, torch.tensor([0, 0, 1])).backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_the_gradient_is_that_of_the_loss() -> None:
    points = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    subject = torch.tensor([0, 0, 1, 1, 2, 3])
    torch.autograd.gradcheck(lambda x: contrastive(x, subject, negatives=2, margin=1.5), (points,))


def test_a_descent_brings_slices_of_a_subject_together_and_others_apart() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(12, 4, dtype=torch.float64, generator=generator).requires_grad_()
    subject = torch.arange(4).repeat_interleave(3)
    optimizer = torch.optim.Adam([points], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        contrastive(points, subject).backward()
        optimizer.step()
    unit = torch.nn.functional.normalize(points.detach(), dim=1)
    distance = torch.cdist(unit, unit)
    same = subject[:, None] == subject
    assert distance[same].max() < 0.05
    assert distance[~same].min() > 0.4


def test_the_order_of_slices_and_their_lengths_do_not_matter() -> None:
    points = torch.randn(9, 5, dtype=torch.float64)
    subject = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3])
    order = torch.randperm(9)
    stretched = points[order] * torch.rand(9, 1, dtype=torch.float64).add(0.1)
    torch.testing.assert_close(contrastive(points, subject), contrastive(stretched, subject[order]))


def test_a_single_slice_and_a_batch_of_one_subject_have_no_negatives() -> None:
    assert float(contrastive(at(10), torch.tensor([4]))) == 0
    assert float(contrastive(at(10, 10), torch.tensor([4, 4]))) == pytest.approx(0, abs=1e-12)


def test_half_precision_embeddings_are_compared_in_full_precision() -> None:
    points = torch.randn(8, 4).bfloat16()
    subject = torch.arange(4).repeat_interleave(2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive(points, subject)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive(points.float(), subject))


def slices_of_two(seed: int = 1) -> SetBatch:
    """Three slices of row 0 and three of row 1, of a step of two subjects."""
    batch = make_batch([[2, 1], [3], [1, 2], [2], [1], [4, 1]], seed=seed)
    plan = replace(batch.plan, slices=3, step_subjects=2)
    return replace(
        batch,
        rows=torch.arange(2).repeat_interleave(3),
        label_mask=torch.zeros_like(batch.label_mask),
        plan=plan,
    )


def terms_of(model: SeqSetVAE, batch: SetBatch, objective: str) -> LossTerms:
    settings = ObjectiveSettings(objective=objective, coles_margin=1.5)
    output = model(batch, noise_seed=None)
    return loss_terms(model, output, batch, settings, classes=CLASSES)


NO_WARM_UP = Weights(1.0, 1.0, 1.0)


def test_coles_alone_is_the_loss_of_the_embeddings_a_slice_of_the_step() -> None:
    model, batch = make_model("base"), slices_of_two()
    terms = terms_of(model, batch, "coles")
    expected = contrastive(model(batch, None).embedding, batch.rows, margin=1.5)
    torch.testing.assert_close(terms.further["coles"].sum, expected)
    assert int(terms.further["coles"].count) == 6
    torch.testing.assert_close(total(terms, NO_WARM_UP, batch, 9.0), expected / 6)


def test_slices_beside_subjects_add_their_term_and_change_no_other() -> None:
    model, subjects, slices = make_model("base").train(), make_batch([[2], [3, 1]]), slices_of_two()
    for module in model.modules():
        module.training = module is model  # as in training, without its dropout
    plain = terms_of(model, subjects, "joint")
    both = terms_of(model, replace(subjects, slices=slices), "joint+coles")
    for name in ("recon", "kl", "kl_objective", "pred"):
        assert torch.equal(getattr(plain, name), getattr(both, name)), name
    alone = terms_of(model, slices, "coles").further["coles"].sum
    torch.testing.assert_close(both.further["coles"].sum, alone)
    more = total(both, NO_WARM_UP, subjects, 2.0) - total(plain, NO_WARM_UP, subjects, 2.0)
    torch.testing.assert_close(more, alone / 6)


def test_a_pass_over_subjects_has_no_contrastive_term_and_one_over_slices_no_other() -> None:
    model = make_model("base")
    assert terms_of(model, make_batch([[2], [3]]), "elbo+coles").further == {}
    terms = terms_of(model, slices_of_two(), "elbo+coles")
    assert set(terms.further) == {"coles"}
    assert float(terms.recon) == float(terms.kl.sum()) == 0
