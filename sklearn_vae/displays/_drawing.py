"""Drawing functions shared by the displays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._optional_dependencies import check_matplotlib_support

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.gridspec import GridSpecBase

# Number of characters of a tick label per inch, with a margin.
CHARACTERS_PER_INCH = 10


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
            f"expected rows of numbers or booleans, got other values ({error}); use from_estimator, which draws the "
            "shares of categories, or TableComparisonDisplay.from_frames, which compares data frames."
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


def subgrid(ax: Axes, n_rows: int, n_columns: int, **ratios: Any) -> GridSpecBase:
    """Hide axes, and return a grid in their place, in which a figure's layout keeps labels apart.

    Parameters
    ----------
    ax : Axes
    n_rows, n_columns : int
    **ratios : sequence of float
        Keyword arguments of matplotlib's `GridSpec`: `width_ratios`, `height_ratios`.
    """
    from matplotlib.gridspec import GridSpecFromSubplotSpec

    ax.set_axis_off()
    place = ax.get_subplotspec()
    if place is not None:
        return GridSpecFromSubplotSpec(n_rows, n_columns, place, **ratios)
    box = ax.get_position()
    edges = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
    return ax.figure.add_gridspec(n_rows, n_columns, **edges, **ratios)


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
    """Write names below the axes at x = 0, 1, ...; rotate them if they need more than the width of the axes."""
    width = ax.bbox.width / ax.figure.get_dpi()
    is_rotated = max(map(len, names)) * len(names) > CHARACTERS_PER_INCH * width
    ax.set_xticks(range(len(names)), names)
    if is_rotated:
        ax.tick_params(axis="x", rotation=45)
        for label in ax.get_xticklabels():
            label.set(ha="right", rotation_mode="anchor")


def center_and_scale(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and standard deviation of each column; constant columns have standard deviation 1.

    Missing cells are left out.
    """
    return mean_of_observed(X), np.where(is_constant(X), 1.0, _std_of_observed(X))


def is_constant(X: np.ndarray) -> np.ndarray:
    """Return a mask (n_columns,) of the columns whose values differ by rounding errors only."""
    return ~(_std_of_observed(X) > 1e-12 * np.fmax.reduce(np.abs(X)))


def mean_of_observed(X: np.ndarray) -> np.ndarray:
    """Return the means of columns without their missing cells; NaN, without a warning, if all cells are missing."""
    n_observed = (~np.isnan(X)).sum(axis=0)
    return np.where(n_observed > 0, np.nansum(X, axis=0) / np.maximum(n_observed, 1), np.nan)


def _std_of_observed(X: np.ndarray) -> np.ndarray:
    return np.sqrt(mean_of_observed(np.square(X - mean_of_observed(X))))


def is_kind(kind: str, kinds: Any, n_columns: int) -> np.ndarray:
    """Return a mask (n_columns,) of the columns of a kind: "number", "count" or "probability"; None: all are numbers.

    Raises
    ------
    ValueError
        If the number of kinds differs from the number of columns.
    """
    if kinds is None:
        return np.full(n_columns, kind == "number")
    if len(kinds) != n_columns:
        raise ValueError(f"expected kinds to have one entry for each of {n_columns} columns, got {len(kinds)}.")
    return np.asarray(kinds) == kind


def standardise(values: np.ndarray, X: np.ndarray, kinds: Any, are_means: bool = False) -> np.ndarray:
    """Return values in standard deviations from the means of columns; counts by their logarithms.

    Parameters
    ----------
    values : ndarray of shape (..., n_columns)
    X : ndarray of shape (n_samples, n_columns)
        Rows whose means and standard deviations are used. NaN are left out.
    kinds : sequence of str or None
        Kinds of the columns. A count x is drawn as log(1 + x).
    are_means : bool
        Whether values are means of counts. Then 0 is the logarithm of a column's mean; otherwise it is the mean of the
        logarithms, which is smaller.
    """
    is_count = is_kind("count", kinds, X.shape[1])
    center, scale = center_and_scale(_log_counts(X, is_count))
    if are_means:
        center = _log_counts(mean_of_observed(X), is_count)
    return (_log_counts(values, is_count) - center) / scale


def standardised_label(kinds: Any) -> str:
    """Return the label of an axis for values that `standardise` has returned."""
    lines = ["standard deviations", "from the column's mean"]
    if kinds is not None and "count" in kinds:
        lines[0] += " of log(1 + count)" if set(kinds) <= {"count", "probability"} else ""
        lines[1] += "" if set(kinds) <= {"count", "probability"} else "\n(counts: of log(1 + count))"
    return "\n".join(lines)


def _log_counts(values: np.ndarray, is_count: np.ndarray) -> np.ndarray:
    """Return values (..., n_columns) with log(1 + count) in place of counts."""
    if not is_count.any():
        return values
    values = values.copy()
    values[..., is_count] = np.log1p(values[..., is_count])
    return values
