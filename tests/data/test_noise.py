from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.data import noise
from setvae_cli.data.noise import counter_normal, counter_uniform, uniform_runs

MASK = (1 << 64) - 1


def grid(places: int, numbers: int) -> tuple[torch.Tensor, torch.Tensor]:
    place, index = torch.meshgrid(torch.arange(places), torch.arange(numbers), indexing="ij")
    return place.reshape(-1), index.reshape(-1)


def test_uniform_numbers_are_uniform_and_uncorrelated() -> None:
    u = counter_uniform(0, 1, 2, *grid(300, 400), 3).double().numpy()
    assert u.min() >= 0
    assert u.max() < 1
    counts = np.histogram(u, 64, (0, 1))[0]
    chi_square = ((counts - len(u) / 64) ** 2 / (len(u) / 64)).sum()
    assert chi_square < 110  # 63 degrees of freedom: above with probability 2e-4
    table = u.reshape(300, 400) - 0.5
    for shift in ((0, 1), (1, 0), (1, 1)):
        other = np.roll(table, shift, (0, 1))
        assert abs((table * other).mean() * 12) < 4 / np.sqrt(len(u))


def test_normal_numbers_have_normal_moments() -> None:
    z = counter_normal(5, 0, 7, *grid(100, 100), 1, 7).double().numpy()
    assert z.shape == (10_000, 7)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    correlation = np.corrcoef(z.T) - np.eye(7)
    assert np.abs(correlation).max() < 5 / np.sqrt(10_000)


def test_every_part_of_the_counter_changes_the_numbers() -> None:
    place, index = grid(4, 50)
    base = (1, 2, 3)
    first = counter_uniform(*base, place, index, 4)
    for changed in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (2, 1, 3)):
        assert (counter_uniform(*changed, place, index, 4) == first).float().mean() < 0.02
    assert (counter_uniform(*base, place, index, 5) == first).float().mean() < 0.02
    assert (counter_uniform(*base, place + 1, index, 4) == first).float().mean() < 0.02
    assert (counter_uniform(*base, index, place, 4) == first).float().mean() < 0.05


def test_a_subject_sees_the_same_noise_on_any_rank() -> None:
    place, index = grid(8, 5)
    whole = counter_normal(0, 0, 0, place, index, 0, 3)
    for rank in (0, 1):
        mine = (place // 4) == rank
        torch.testing.assert_close(
            counter_normal(0, 0, 0, place[mine], index[mine], 0, 3), whole[mine], rtol=0, atol=0
        )


def test_no_number_is_drawn_from_the_global_generator() -> None:
    state = torch.get_rng_state()
    counter_normal(0, 0, 0, *grid(3, 3), 0, 4)
    assert torch.equal(state, torch.get_rng_state())


@given(
    step=st.tuples(*[st.integers(0, 2**31 - 1)] * 3),
    runs=st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 30)), min_size=1, max_size=20),
    draw=st.integers(0, 1000),
)
def test_runs_of_arrays_have_the_bits_of_tensors(
    step: tuple[int, int, int], runs: list[tuple[int, int]], draw: int
) -> None:
    place, sizes = np.array(runs).T
    numbers = np.concatenate([np.arange(size) for size in sizes])
    wanted = counter_uniform(
        *step, torch.from_numpy(place.repeat(sizes)), torch.from_numpy(numbers), draw
    )
    found = uniform_runs(*step, place, sizes, draw)
    assert found.dtype == np.float32
    assert found.tobytes() == wanted.numpy().tobytes()


@given(st.integers(0, MASK))
def test_tensors_hash_as_integers_do(number: int) -> None:
    tensor = torch.tensor([noise._signed(number)])
    assert int(noise._mix(tensor)) & MASK == noise._mix_int(number)


def test_the_hash_is_splitmix64() -> None:
    """First output of the reference implementation with seed 1234567 (Vigna)."""
    assert noise._mix_int((1234567 + noise._GOLDEN) & MASK) == 6457827717110365317


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_bits_are_the_same_on_a_gpu() -> None:
    place, index = grid(200, 300)
    here = counter_uniform(0, 1, 2, place, index, 3)
    assert torch.equal(counter_uniform(0, 1, 2, place.cuda(), index.cuda(), 3).cpu(), here)
    normal = counter_normal(0, 1, 2, place, index, 3, 8)
    there = counter_normal(0, 1, 2, place.cuda(), index.cuda(), 3, 8).cpu()
    assert (normal != there).double().mean() < 1e-6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_a_compiled_model_sees_the_same_noise_in_every_batch() -> None:
    place, x = torch.arange(5), torch.randn(5, 4)

    def noisy(batch: int) -> torch.Tensor:
        return x * counter_normal(0, 0, batch, place, place, draw=1, dim=4)

    compiled = torch.compile(noisy)
    for batch in range(3):
        assert torch.equal(compiled(batch), noisy(batch))
