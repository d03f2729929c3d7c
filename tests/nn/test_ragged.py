"""Ways to rectangles and back, and pools over segments, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck

from setvae_cli.data.batch import make_plan, rectangles
from setvae_cli.nn.attention import Attention
from setvae_cli.nn.jagged import Lengths, has_kernel, jagged_attention
from setvae_cli.nn.ragged import (
    from_rectangles,
    segment_softmax_pool,
    softmax_pool,
    to_rectangles,
)
from tests.models import make_batch

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=12)


def rows(count: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return made.requires_grad_()


@given(SIZES)
@settings(max_examples=40, deadline=None)
def test_rows_come_back_from_rectangles_with_their_own_gradient(sizes: list[int]) -> None:
    groups = rectangles(torch.tensor(sizes))
    x, weights = rows(sum(sizes), 3), rows(sum(sizes), 3, seed=1).detach()
    back = from_rectangles(to_rectangles(x, groups), groups)
    (back * weights).sum().backward()
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(x.grad, weights)


def test_padded_cells_neither_give_nor_take_a_gradient() -> None:
    groups = rectangles(torch.tensor([4, 5, 5, 5, 5, 5, 5, 5]))
    (bucket,) = groups.buckets
    assert bucket.mask is not None
    x = rows(39, 2)
    (part,) = to_rectangles(x, groups)
    part.retain_grad()
    from_rectangles([part], groups).sum().backward()
    assert part.grad is not None
    torch.testing.assert_close(part.grad.any(-1), bucket.mask)
    torch.testing.assert_close(x.grad, torch.ones_like(x))


@given(SIZES)
@settings(max_examples=25, deadline=None)
def test_a_softmax_pool_is_the_weighted_mean_of_each_group(sizes: list[int]) -> None:
    scores, x = rows(sum(sizes), 2), rows(sum(sizes), 3, seed=1)
    expected = torch.stack(
        [s.softmax(0).T @ v for s, v in zip(scores.split(sizes), x.split(sizes), strict=True)]
    )
    packed = softmax_pool(scores, x, rectangles(torch.tensor(sizes)))
    segment = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    each = x[:, None, :].expand(-1, 2, -1)
    scattered = segment_softmax_pool(scores, each, segment, len(sizes))
    torch.testing.assert_close(packed, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(scattered, expected, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 500.0])
def test_the_gradient_of_a_segment_pool_is_that_of_its_formula(scale: float) -> None:
    segment = torch.tensor([2, 0, 2, 2, 0])
    scores, x = rows(5, 2), rows(5, 6, seed=1)
    assert gradcheck(lambda s, v: segment_softmax_pool(s, v.view(5, 2, 3), segment, 4), (scores, x))
    large = (scores * scale).detach().requires_grad_()
    pooled = segment_softmax_pool(large, x.view(5, 2, 3), segment, 4)
    pooled.sum().backward()
    assert not pooled[[1, 3]].any()
    assert pooled.isfinite().all()
    assert large.grad is not None
    assert large.grad.isfinite().all()


@pytest.mark.parametrize("learned", [True, False])
def test_a_second_derivative_of_a_pool_is_refused_and_not_wrong(learned: bool) -> None:
    segment, scores = torch.tensor([1, 0, 1, 1]), rows(4, 2)
    x = rows(4, 6, seed=1).view(4, 2, 3).detach().requires_grad_(learned)
    pooled = segment_softmax_pool(scores, x, segment, 2)
    (first,) = torch.autograd.grad(pooled.square().sum(), scores, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_jagged_attention_is_attention_inside_each_group() -> None:
    sizes, asking = [3, 1, 5], [2, 2, 2]
    keys = rectangles(torch.tensor(sizes))
    queries = rectangles(torch.tensor(asking))
    q, k, v = rows(6, 8), rows(9, 8, seed=1), rows(9, 8, seed=2)
    out = jagged_attention(
        q, k, v, 2,
        queries=Lengths(queries.offsets, queries.longest),
        keys=Lengths(keys.offsets, keys.longest),
    )  # fmt: skip
    heads = [x.unflatten(-1, (2, 4)).transpose(0, 1) for x in (q, k, v)]
    for group in range(3):
        mine = slice(2 * group, 2 * group + 2)
        own = slice(int(keys.offsets[group]), int(keys.offsets[group + 1]))
        weights = (heads[0][:, mine] @ heads[1][:, own].transpose(1, 2) / 2).softmax(-1)
        expected = (weights @ heads[2][:, own]).transpose(0, 1).flatten(1)
        torch.testing.assert_close(out[mine], expected)
    assert torch.autograd.grad(out.sum(), k)[0].any()


def test_the_kernels_of_a_gpu_are_not_for_a_cpu() -> None:
    assert not has_kernel(torch.zeros(3, 8), 2, 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_attends_as_rectangles_do(causal: bool, dtype: torch.dtype) -> None:
    sizes = torch.tensor([3, 1, 17, 40, 2])
    attention, x = Attention(32, 2), torch.randn(63, 32)
    expected = attention.within(x, rectangles(sizes), causal=causal)
    plan = make_plan(torch.ones(63, dtype=torch.int64), sizes, with_sets=False)
    gpu = replace(make_batch([[1]]), plan=plan).to("cuda").plan.by_subject
    moved, there = attention.cuda().to(dtype), x.cuda().to(dtype)
    if dtype == torch.bfloat16 and torch.cuda.get_device_capability() < (8, 0):
        assert not has_kernel(there, 2, 5)
    else:
        assert has_kernel(there, 2, 5)
    found = moved.within(there, gpu, causal=causal).float().cpu()
    tolerance = 1e-4 if dtype == torch.float32 else 3e-2
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
