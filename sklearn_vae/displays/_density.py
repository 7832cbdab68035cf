"""Density of points on a plane, as filled contours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import fourier_gaussian

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet

# Number of grid cells over the range of the points, per axis. The grid has as many around them, half on each side.
N_CELLS = 200
# Bandwidths that are tried, in grid cells, from the widest to the narrowest.
BANDWIDTHS = np.geomspace(40, 2, 10)
# Shares of the density inside of the contours, and the grey levels between them, from outside to inside.
SHARES = np.array([0.95, 0.8, 0.6, 0.4, 0.2])
GREYS = ["0.93", "0.87", "0.81", "0.75", "0.69"]


def draw_density(ax: Axes, points: np.ndarray) -> QuadContourSet:
    """Draw a kernel density estimate behind the points, in contours around 95, 80, 60, 40 and 20% of it.

    Parameters
    ----------
    ax : Axes
    points : ndarray of shape (n_samples, 2)
    """
    counts, x, y = _grid(points)
    density = smooth(counts)
    levels = _levels(density)
    # Contours extend the limits of the axes by their whole grid, so the grid ends where the outermost contour does.
    inside = density >= levels[0]
    columns, rows = _extent(inside.any(axis=1)), _extent(inside.any(axis=0))
    style: dict[str, Any] = {"levels": levels, "colors": GREYS[-len(levels) + 1 :], "zorder": 0}
    contours = ax.contourf(x[columns], y[rows], density[columns, rows].T, **style)
    # Contours take the margins of the axes away.
    contours.sticky_edges.x.clear()
    contours.sticky_edges.y.clear()
    ax.autoscale_view(tight=False)
    return contours


def smooth(counts: np.ndarray) -> np.ndarray:
    """Return counts on a grid convolved with a normal density.

    The bandwidth minimises the estimated integrated squared error (least-squares cross-validation, Bowman 1984), which,
    unlike a multiple of the standard deviation, suits clusters that are small against the range of all points.

    Parameters
    ----------
    counts : ndarray of shape (n_columns, n_rows)
        Numbers of points, with an empty margin.

    References
    ----------
    Bowman (1984). An alternative method of cross-validation for the smoothing of density estimates. Biometrika 71(2).
    """
    transformed, n_samples = np.fft.rfft2(counts), counts.sum()
    best, least_error = counts, np.inf
    for bandwidth in BANDWIDTHS:
        filtered = fourier_gaussian(transformed, bandwidth, n=counts.shape[1])
        density = np.fft.irfft2(filtered, s=counts.shape).clip(0)
        # The density at a point from the others leaves out the point's own kernel.
        from_others = (density - 1 / (2 * np.pi * bandwidth**2)) / max(n_samples - 1, 1)
        error = np.square(density / n_samples).sum() - 2 * (counts * from_others).sum() / n_samples
        if error < least_error:
            best, least_error = density, error
    return best


def _grid(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of points in cells, and the centres of the cells on both axes; x is the first axis."""
    low, high = points.min(axis=0), points.max(axis=0)
    span = high - low
    # An axis without spread gets the range of the other.
    span = np.where(span > 0, span, span.max() or 1.0)
    center = (low + high) / 2
    limits = np.stack([center - span, center + span], axis=1)
    counts, *edges = np.histogram2d(points[:, 0], points[:, 1], bins=2 * N_CELLS, range=limits)
    x, y = ((edge[1:] + edge[:-1]) / 2 for edge in edges)
    return counts, x, y


def _levels(density: np.ndarray) -> np.ndarray:
    """Return the ascending densities inside of whose contours lie `SHARES` of the sum, and one above the maximum."""
    descending = np.sort(density, axis=None)[::-1]
    share = np.cumsum(descending) / descending.sum()
    levels = np.unique(descending[np.searchsorted(share, SHARES)])
    return np.append(levels, np.nextafter(density.max(), np.inf))


def _extent(inside: np.ndarray) -> slice:
    """Return the slice from one cell before the first True to one behind the last."""
    indices = np.flatnonzero(inside)
    return slice(max(indices[0] - 1, 0), indices[-1] + 2)
