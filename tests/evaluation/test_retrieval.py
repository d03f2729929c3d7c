"""Recall at k against a slow loop, its bounds, and embeddings that say nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from setvae_cli.evaluation.retrieval import recall_at


def one_by_one(
    embedding: Tensor, subject: list[int], k: int, spans: list[tuple[int, int]] | None = None
) -> float:
    e = torch.nn.functional.normalize(embedding, dim=1)
    spans = spans or [(place, place + 1) for place in range(len(subject))]
    recalls = []
    for i, mine in enumerate(subject):
        sets = set(range(*spans[i]))
        others = [
            j for j in range(len(subject)) if subject[j] != mine or not sets & set(range(*spans[j]))
        ]
        same = sum(subject[j] == mine for j in others)
        nearest = sorted(others, key=lambda j: -float(e[i] @ e[j]))[:k]
        if same:
            recalls.append(sum(subject[j] == mine for j in nearest) / min(k, same))
    return sum(recalls) / len(recalls) if recalls else -1.0


@settings(max_examples=50, deadline=None)
@given(
    subject=st.lists(st.integers(0, 5), min_size=7, max_size=20),
    k=st.integers(1, 6),
    cells=st.integers(1, 200),
    seed=st.integers(0, 1000),
)
def test_recall_is_what_a_loop_finds_whatever_the_chunks(
    subject: list[int], k: int, cells: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(len(subject), 4, dtype=torch.float64, generator=generator)
    found = recall_at(embedding, torch.tensor(subject), [k], most_cells=cells)
    assert found[k] == pytest.approx(one_by_one(embedding, subject, k))
    begin = torch.randint(0, 6, (len(subject),), generator=generator)
    spans = torch.stack((begin, begin + 1 + begin.flip(0) % 3), 1)
    found = recall_at(embedding, torch.tensor(subject), [k], spans, most_cells=cells)
    expected = one_by_one(embedding, subject, k, [(a, b) for a, b in spans.tolist()])
    assert found.get(k, -1.0) == pytest.approx(expected)


def test_slices_that_share_a_set_with_their_own_are_not_what_is_found() -> None:
    subject = torch.tensor([0, 0, 0, 1])
    embedding = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])
    spans = torch.tensor([[0, 4], [1, 5], [5, 9], [0, 9]])
    assert recall_at(embedding, subject, [1])[1] == pytest.approx(2 / 3)
    assert recall_at(embedding, subject, [1], spans) == {1: 0.0}
    assert recall_at(embedding[:2], subject[:2], [1], spans[:2]) == {}


def test_subjects_that_stand_apart_are_found_whole_at_every_k() -> None:
    subject = torch.arange(6).repeat_interleave(5)
    embedding = torch.eye(6, dtype=torch.float64)[subject]
    assert recall_at(embedding, subject, [1, 4, 5]) == pytest.approx({1: 1.0, 4: 1.0, 5: 1.0})


@pytest.mark.parametrize("order", ["subject by subject", "mixed"])
def test_embeddings_that_are_all_equal_find_what_chance_finds(order: str) -> None:
    subject = torch.arange(8).repeat_interleave(5)
    if order == "mixed":
        subject = subject[torch.randperm(40)]
    embedding = torch.eye(3)[torch.zeros(40, dtype=torch.long)]
    found = recall_at(embedding, subject, [1, 10])
    assert found == pytest.approx({1: 4 / 39, 10: 10 / 39})


def test_a_slice_is_not_its_own_neighbour_and_lone_slices_are_not_asked() -> None:
    embedding = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.9, 0.1], [0.1, 0.9]])
    assert recall_at(embedding, torch.tensor([0, 0, 1, 2]), [1]) == {1: 0.0}


def test_recall_that_cannot_be_measured_is_absent() -> None:
    embedding = torch.randn(3, 2)
    assert recall_at(embedding, torch.tensor([0, 1, 2]), [1]) == {}
    assert set(recall_at(embedding, torch.tensor([0, 0, 2]), [1, 2, 3])) == {1, 2}
