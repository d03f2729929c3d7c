"""Maps of z and of h in the plane.

z and h lie in different spaces, of different size, and each may be turned in its own way without
changing the model; so distances between them mean nothing as they are. z is therefore carried into
the space of h by the linear map that comes nearest (least squares), and both are projected
together. Where each z lies on its own h, h is a linear function of z and the history added nothing,
which was the first symptom of the original's collapse. That both clouds cover one another is not
enough: neighbours among many dimensions mix them at any R^2. So the picture joins some z with their
own h, and the share of h's variance that the map explains (R^2, measurement 8 of the monitor)
stands beside it. Where h equals z, the map is the identity and the picture is the original's.

    pca    principal components, exact
    umap   McInnes, Healy and Melville 2018; a fixed random state, so that it is repeatable
    tsne   van der Maaten and Hinton 2008
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from setvae_cli.errors import RunError
from setvae_cli.evaluation.latents import Floats, Latents

Method = Literal["umap", "pca", "tsne"]
Plane = NDArray[np.float32]

NAMES: dict[Method, str] = {"umap": "UMAP", "pca": "PCA", "tsne": "t-SNE"}
FEWEST_POINTS = 15
_LIBRARIES: dict[Method, tuple[str, str]] = {
    "umap": ("umap", "umap-learn"),
    "tsne": ("sklearn", "scikit-learn"),
}
_NUMERICAL_RANK = 1e-10
_JITTER = 1e-6
_AT_ONCE = 500


@dataclass(frozen=True)
class Map:
    """Points in the plane.

    Attributes:
        name: What it shows.
        method: How it was made.
        xy: [points, 2], without a unit.
        of: [points] index of each point's set among all sets.
        history: [points] whether a point is h; else it is z.
    """

    name: str
    method: Method
    xy: Plane
    of: NDArray[np.int64]
    history: NDArray[np.bool_]


def require(method: Method) -> None:
    """Make sure that a method's library is there, before anything is computed.

    Raises:
        RunError: It is not.
    """
    module, package = _LIBRARIES.get(method, ("", ""))
    if module and importlib.util.find_spec(module) is None:
        raise _missing(package)


def make_maps(
    latents: Latents,
    chosen: NDArray[np.int64],
    method: Method,
    seed: int,
    progress: Callable[[str], None],
) -> tuple[Map, ...]:
    """The map of z and h together, and one of z alone for each level.

    Args:
        latents: What was found.
        chosen: Indices of the sets to show.
        method: Principal components take its place where points are too few for it.
        seed: Of what is random.
        progress: Is told before each map.

    Raises:
        RunError: The library of the method is not installed.
    """
    used: Method = method if len(chosen) >= FEWEST_POINTS else "pca"
    progress(f"{NAMES[used]} of {len(chosen)} sets: z and h together")
    z = np.concatenate([level.mean for level in latents.sets.levels], axis=1)
    carried, state = carried_into(z, latents.sets.history)
    both = np.concatenate([carried[chosen], state[chosen]])
    maps = [
        Map(
            name="z and h together",
            method=used,
            xy=project(both, used, seed),
            of=np.concatenate([chosen, chosen]),
            history=np.arange(len(both)) >= len(chosen),
        )
    ]
    for number, level in enumerate(latents.sets.levels, 1):
        progress(f"{NAMES[used]} of {len(chosen)} sets: z of level {number}")
        xy = project(level.mean[chosen], used, seed)
        alone = np.zeros(len(chosen), np.bool_)
        maps.append(Map(f"z of level {number}", used, xy, chosen, alone))
    return tuple(maps)


def carried_into(z: Floats, history: Floats) -> tuple[Floats, Floats]:
    """z in the space of h by least squares, and h; both around the mean of h, in one unit.

    Args:
        z: [sets, latent].
        history: [sets, dim].
    """
    inner = z.astype(np.float64) - z.mean(0, dtype=np.float64)
    outer = history.astype(np.float64) - history.mean(0, dtype=np.float64)
    spread = inner.std(0)
    inner = inner[:, spread > 0] / spread[spread > 0]
    gram, cross = inner.T @ inner, inner.T @ outer
    carried = inner @ (np.linalg.pinv(gram, rcond=_NUMERICAL_RANK, hermitian=True) @ cross)
    unit = outer.std() or 1.0
    return (carried / unit).astype(np.float32), (outer / unit).astype(np.float32)


def project(points: Floats, method: Method, seed: int) -> Plane:
    """Points in the plane, [points, 2].

    Raises:
        RunError: The library of the method is not installed.
    """
    if method == "pca" or len(points) < FEWEST_POINTS:
        return _pca(points)
    placed = _umap if method == "umap" else _tsne
    return np.asarray(placed(_apart(points, seed), seed), np.float32)


def _pca(points: Floats) -> Plane:
    """First two principal components; the largest weight of each is positive."""
    centred = points.astype(np.float64) - points.mean(0, dtype=np.float64)
    _, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :2]
    largest = axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])]
    placed = np.zeros((len(points), 2), np.float32)
    placed[:, : axes.shape[1]] = centred @ (axes * np.where(largest < 0, -1, 1))
    return placed


def _apart(points: Floats, seed: int) -> Floats:
    """Points that no longer coincide: neighbours among equal points are undefined."""
    noise = np.random.default_rng(seed).standard_normal(points.shape)
    unit = float(points.std()) or 1.0
    apart: Floats = (points + _JITTER * unit * noise).astype(np.float32)
    return apart


def _umap(points: Floats, seed: int) -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        raise _missing("umap-learn") from error
    # One thread: with several, equal seeds give different maps. Exact neighbours take a second for
    # 8 000 points; the library's own search would first be compiled for half a minute.
    look: Any = {"force_approximation_algorithm": True, "n_neighbors": min(15, len(points) - 1)}
    look["precomputed_knn"] = (*neighbours(points, look["n_neighbors"]), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no further points can be placed later
        return UMAP(random_state=seed, n_jobs=1, init="pca", **look).fit_transform(points)


def neighbours(points: Floats, number: int) -> tuple[NDArray[np.int64], Floats]:
    """The nearest points of each point, itself first, and how far they are.

    Args:
        points: [points, size].
        number: How many of each.
    """
    exact = points.astype(np.float64)
    squares = (exact**2).sum(1)
    nearest = np.empty((len(exact), number), np.int64)
    far = np.empty((len(exact), number), np.float32)
    for first in range(0, len(exact), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        square = squares[part, None] + squares - 2 * exact[part] @ exact.T
        own = np.arange(len(square))
        square[own, first + own] = -1
        found = np.argpartition(square, number - 1, axis=1)[:, :number]
        value = np.take_along_axis(square, found, 1)
        ranked = value.argsort(1, kind="stable")
        nearest[part] = np.take_along_axis(found, ranked, 1)
        far[part] = np.sqrt(np.maximum(np.take_along_axis(value, ranked, 1), 0))
    return nearest, far


def _tsne(points: Floats, seed: int) -> Any:
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise _missing("scikit-learn") from error
    perplexity = min(30.0, (len(points) - 1) / 3)
    return TSNE(init="pca", random_state=seed, perplexity=perplexity).fit_transform(points)


def _missing(package: str) -> RunError:
    return RunError(
        f"this map needs {package}, which cannot be imported",
        mend=f"pip install {package}, or take --method pca",
    )
