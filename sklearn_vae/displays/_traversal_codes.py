"""Latent codes that are decoded: a plane of two components, lines of one component each, or a path."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_array

# Range of a traversed component, in percentiles of the rows' codes.
PERCENTILES = (1, 99)


def grid_codes(
    Z: np.ndarray, components: np.ndarray, n_steps: int, index: int | None, path
) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes that are decoded, and their values of the components.

    Parameters
    ----------
    Z : ndarray of shape (n_samples, n_latent)
        Codes of rows, which give the range of each component.
    components : ndarray of int of shape (n_components,)
    n_steps : int
    index : int or None
        Row whose code gives the values of all other components. None takes the one nearest to the mean.
    path : array-like of shape (n_codes, n_latent) or None
        Codes to follow in place of a grid.

    Returns
    -------
    codes : ndarray of shape (n_steps, n_steps, n_latent), (n_components, n_steps, n_latent) or (1, n_steps, n_latent)
        Over the plane of two components, along each component, or along the path.
    values : ndarray of shape (n_components, n_steps)

    Raises
    ------
    ValueError
        If `n_steps` is below 2, or `path` is none or comes with `index`.
    """
    if n_steps < 2:
        raise ValueError(f"expected n_steps to be at least 2, got {n_steps!r}.")
    if path is not None:
        if index is not None:
            raise ValueError(
                f"expected index=None with a path, whose codes have values for all components, got {index!r}."
            )
        codes = path_codes(path, n_steps, Z.shape[1])
        return codes[None], codes[:, components].T
    low, high = np.percentile(Z[:, components], PERCENTILES, axis=0)
    values = np.linspace(low, high, n_steps, axis=1)
    if index is None:
        index = int(np.square(Z - Z.mean(axis=0)).sum(axis=1).argmin())
    return (plane_codes if len(components) == 2 else line_codes)(Z[index], values, components), values


def line_codes(code: np.ndarray, values: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return copies of a code with one component at a time replaced, (n_components, n_steps, len(code))."""
    codes = np.tile(code, (*values.shape, 1))
    for line, value, component in zip(codes, values, components, strict=True):
        line[:, component] = value
    return codes


def plane_codes(code: np.ndarray, values: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return copies of a code with two components replaced, (n_steps, n_steps, len(code)); the second along axis 0."""
    codes = np.tile(code, (values.shape[1], values.shape[1], 1))
    codes[..., components[0]] = values[0]
    codes[..., components[1]] = values[1][:, None]
    return codes


def path_codes(path, n_steps: int, n_components: int) -> np.ndarray:
    """Return codes (n_steps, n_components) at equal distances along straight lines from each code to the next.

    Raises
    ------
    ValueError
        If the path has fewer than two codes, or another number of components.
    """
    path = check_array(path, dtype=float, input_name="path")
    if len(path) < 2 or path.shape[1] != n_components:
        raise ValueError(
            f"expected path to have at least two codes of {n_components} components, as transform returns them, "
            f"got shape {path.shape}."
        )
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    reached = np.append(0, np.cumsum(lengths))
    # Codes that are all the same have no length.
    at = np.linspace(0, reached[-1], n_steps)
    return np.stack([np.interp(at, reached, column) for column in path.T], axis=1)


def edges(values: np.ndarray) -> tuple[float, float]:
    """Return the outer edges of cells around evenly spaced values; equal values get an interval of width 1."""
    half = 0.5 * (values[-1] - values[0]) / (len(values) - 1) or 0.5
    return values[0] - half, values[-1] + half
