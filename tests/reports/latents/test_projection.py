"""Maps: z and h coincide exactly where h is linear in z, and a seed gives one map."""

from __future__ import annotations

import numpy as np
import pytest

from setvae_cli.reports.latents.projection import (
    FEWEST_POINTS,
    Method,
    carried_into,
    make_maps,
    neighbours,
    project,
)
from setvae_cli.reports.latents.sample import choose
from tests.reports.latents.made import made


def quiet(words: str) -> None:
    pass


def test_where_h_is_linear_in_z_both_lie_on_top_of_each_other() -> None:
    latents = made(linear=1.0)
    carried, state = carried_into(latents.sets.levels[0].mean, latents.sets.history)
    assert np.abs(carried - state).max() < 1e-3


def test_where_h_equals_z_the_joint_map_is_that_of_the_original() -> None:
    z = np.random.default_rng(0).standard_normal((200, 5)).astype(np.float32)
    carried, _ = carried_into(z, z)
    assert np.allclose(carried, (z - z.mean(0)) / (z - z.mean(0)).std(), atol=1e-4)


def test_turning_z_changes_nothing() -> None:
    sets = made(linear=0.7).sets
    z = sets.levels[0].mean
    turn, _ = np.linalg.qr(np.random.default_rng(1).standard_normal((z.shape[1], z.shape[1])))
    plain, _ = carried_into(z, sets.history)
    turned, _ = carried_into((z @ turn).astype(np.float32), sets.history)
    assert np.allclose(plain, turned, atol=1e-3)


def test_where_h_has_nothing_of_z_the_spread_of_z_is_gone() -> None:
    latents = made(linear=0.0, subjects=200)
    carried, state = carried_into(latents.sets.levels[0].mean, latents.sets.history)
    assert carried.std() < 0.1 * state.std()


def test_constant_latents_are_carried_to_the_middle() -> None:
    history = made().sets.history
    carried, _ = carried_into(np.ones((len(history), 3), np.float32), history)
    assert not carried.any()


def test_principal_components_keep_distances_of_flat_points() -> None:
    draw = np.random.default_rng(0)
    flat = draw.standard_normal((50, 2))
    turn, _ = np.linalg.qr(draw.standard_normal((6, 6)))
    placed = project((flat @ turn[:2]).astype(np.float32), "pca", 0)

    def distances(points: np.ndarray) -> np.ndarray:
        return np.linalg.norm(points[:, None] - points[None], axis=-1)

    assert np.allclose(distances(placed), distances(flat), atol=1e-4)


def test_neighbours_are_those_of_all_distances() -> None:
    points = np.random.default_rng(0).standard_normal((700, 4)).astype(np.float32)
    nearest, far = neighbours(points, 5)
    exact = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert np.array_equal(nearest, exact.argsort(1)[:, :5])
    assert np.allclose(far, np.sort(exact, 1)[:, :5], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["umap", "tsne"])
@pytest.mark.parametrize("alive", [0.0, 1.0])
def test_a_seed_gives_one_map(method: Method, alive: float) -> None:
    latents = made(subjects=10, alive=alive)
    chosen = choose(latents.sets, 0)
    first, second = (make_maps(latents, chosen, method, 3, quiet) for _ in "ab")
    for one, other in zip(first, second, strict=True):
        assert np.isfinite(one.xy).all()
        assert np.array_equal(one.xy, other.xy)


def test_few_sets_are_mapped_by_principal_components() -> None:
    latents = made(subjects=1, per=FEWEST_POINTS - 1)
    joint, alone = make_maps(latents, choose(latents.sets, 0), "umap", 0, quiet)
    assert (joint.method, alone.method) == ("pca", "pca")


def test_one_latent_number_is_a_line() -> None:
    placed = project(np.arange(20, dtype=np.float32)[:, None], "pca", 0)
    assert placed.shape == (20, 2)
    assert not placed[:, 1].any()


def test_the_choice_gives_each_subject_its_first_set_before_any_gives_a_second() -> None:
    latents = made(subjects=50, per=20)
    chosen = choose(latents.sets, 0, most=120)
    counts = np.unique(latents.sets.row[chosen], return_counts=True)[1]
    assert len(counts) == 50
    assert set(counts) == {2, 3}


def test_the_choice_is_a_function_of_the_seed_and_of_the_rows() -> None:
    sets = made().sets
    first, again, other = (choose(sets, seed, most=100) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(np.sort(first), np.sort(other))
