"""Kernel density estimates of points on a plane."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import cdist
from scipy.stats import gaussian_kde

from sklearn_vae.displays._density import BANDWIDTHS, SHARES, draw_density, smooth


def normal(distances, scale):
    return np.exp(-0.5 * np.square(distances / scale)) / (2 * np.pi * scale**2)


def is_inside(contours, points):
    """Return whether points are inside of each contour, (n_levels, n_points), from outside to inside."""
    within = np.array([path.contains_points(points) for path in contours.get_paths()])
    # A path has the area between two levels.
    return np.cumsum(within[::-1], axis=0)[::-1] > 0


def test_bandwidth_minimises_the_cross_validated_squared_error():
    rng = np.random.default_rng(0)
    cells = np.concatenate([rng.normal(130, 8, (40, 2)), rng.normal(260, 12, (40, 2))]).round().astype(int)
    counts = np.zeros((400, 400))
    np.add.at(counts, tuple(cells.T), 1)
    distances, n = cdist(cells, cells), len(cells)
    others = ~np.eye(n, dtype=bool)
    errors = [
        normal(distances, 2**0.5 * h).mean() - 2 * normal(distances, h)[others].sum() / (n * (n - 1))
        for h in BANDWIDTHS
    ]
    best = BANDWIDTHS[np.argmin(errors)]
    assert BANDWIDTHS.min() < best < BANDWIDTHS.max()
    np.testing.assert_allclose(smooth(counts), gaussian_filter(counts, best, mode="constant", truncate=8), atol=1e-6)


def test_contours_are_those_of_a_kernel_density_estimate():
    """For normal rows, scipy's bandwidth is near the best one too."""
    points = np.random.default_rng(0).normal(size=(3000, 2)) * [1.0, 30.0]
    contours = draw_density(plt.subplots()[1], points)
    at_points = gaussian_kde(points.T)(points.T)
    inside = is_inside(contours, points)
    for share, mask in zip(SHARES, inside, strict=True):
        assert mask.mean() == pytest.approx(share, abs=0.05)
        expected = at_points >= np.quantile(at_points, 1 - mask.mean())
        assert (mask == expected).mean() > 0.95


def test_contours_fit_clusters_that_are_small_against_their_distance():
    rng = np.random.default_rng(0)
    centers = np.array([[0.0, 0.0], [100.0, 10.0], [30.0, 80.0]])
    contours = draw_density(plt.subplots()[1], np.concatenate([rng.normal(c, 2.0, (300, 2)) for c in centers]))
    angle = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert all(is_inside(contours, c + 2 * circle)[0].all() for c in centers)
    assert not any(is_inside(contours, c + 11 * circle)[0].any() for c in centers)


@pytest.mark.parametrize(
    "points",
    [
        np.full((1, 2), 7.0),
        np.array([[0.0, 0.0], [1e-3, 5.0]]),
        np.repeat(np.random.default_rng(0).normal(size=(5, 2)), 40, axis=0),
        np.stack([np.random.default_rng(0).normal(size=300), np.full(300, 1e6)], axis=1),
        np.append(np.random.default_rng(0).normal(size=(200, 2)), [[500.0, 500.0]], axis=0),
    ],
    ids=["one row", "two rows", "repeated codes", "one dimension", "outlier"],
)
def test_contours_surround_points_of_little_spread(points):
    ax = plt.subplots()[1]
    contours = draw_density(ax, points)
    assert is_inside(contours, points)[0].mean() >= 0.9
    assert (np.diff(contours.levels) > 0).all()
    ax.figure.draw_without_rendering()


def test_axes_have_margins_around_contours():
    points = np.random.default_rng(0).normal(size=(50, 2))
    ax = plt.subplots()[1]
    ax.scatter(*points.T)
    draw_density(ax, points)
    assert ax.get_xlim()[0] < points[:, 0].min() and ax.get_xlim()[1] > points[:, 0].max()
    low, high = ax.dataLim.intervaly
    assert np.diff(ax.get_ylim()) == pytest.approx([1.1 * (high - low)])
