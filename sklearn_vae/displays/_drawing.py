"""Drawing functions shared by the displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def axes_for(display: object, ax: Axes | None, size: tuple[float, float] | None = None) -> Axes:
    """Return `ax`, or for None the axes of a new figure of `size` (width, height) inches."""
    check_matplotlib_support(f"{type(display).__name__}.plot")
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=size, layout="compressed")[1]


def as_numbers(rows: Any) -> np.ndarray:
    """Return rows as numbers; raise ValueError for categories, which have no place on an axis of numbers."""
    try:
        return np.asarray(rows, dtype=float)
    except (ValueError, TypeError) as error:
        raise ValueError(
            "expected rows of numbers or booleans, because this display draws columns on an axis of numbers, got "
            f"other values ({error}); draw LatentSpaceDisplay, or plot the frames of sample and inverse_transform."
        ) from error


def split(ax: Axes, n_rows: int, n_columns: int, gap: float = 0.04) -> np.ndarray:
    """Split axes into a grid of panels and return the panels, (n_rows, n_columns).

    Parameters
    ----------
    ax : Axes
        Frame of the grid; its own axis lines and ticks are hidden.
    n_rows, n_columns : int
    gap : float
        Gap between panels, as a fraction of the frame's width or height.
    """
    ax.set_axis_off()
    height, width = (1 - gap * (n_rows - 1)) / n_rows, (1 - gap * (n_columns - 1)) / n_columns
    bounds = [
        [(j * (width + gap), 1 - height - i * (height + gap), width, height) for j in range(n_columns)]
        for i in range(n_rows)
    ]
    panels = np.empty((n_rows, n_columns), dtype=object)
    for index in np.ndindex(n_rows, n_columns):
        panels[index] = ax.inset_axes(bounds[index[0]][index[1]])
    return panels


def column_names(names, n_columns: int) -> list[str]:
    """Return the column names of a table; None stands for x0, x1, ..., as in scikit-learn.

    Raises
    ------
    ValueError
        If the number of names differs from the number of columns.
    """
    if names is None:
        return [f"x{i}" for i in range(n_columns)]
    if len(names) != n_columns:
        raise ValueError(f"expected feature_names to have one name for each of {n_columns} columns, got {len(names)}.")
    return [str(name) for name in names]


def label_columns(ax: Axes, names: list[str]) -> None:
    """Write column names below the axes at x = 0, 1, ...; rotate long names."""
    is_rotated = max(map(len, names)) * len(names) > 50
    ax.set_xticks(range(len(names)), names)
    if is_rotated:
        ax.tick_params(axis="x", rotation=45)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def center_and_scale(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of each column; constant columns have standard deviation 1.

    Missing cells are left out.
    """
    scale = np.nanstd(X, axis=0)
    return np.nanmean(X, axis=0), np.where(scale > 1e-12 * np.fmax.reduce(np.abs(X)), scale, 1.0)
