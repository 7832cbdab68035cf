"""Panels of samples of a table: boxes of numbers, and shares of categories, for several groups of rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import label_columns, mean_of_observed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Rows (n_rows, n_columns) and the colour of each group, in drawing order.
Groups = dict[Any, tuple[np.ndarray, Any]]
# Part of the distance between columns that all their boxes or bars take.
WIDTH = 0.8


def draw_boxes(ax: Axes, groups: Groups, names: list[str], label: str, box_kwargs: dict[str, Any]) -> dict[Any, Any]:
    """Draw box plots of columns side by side, and return those of each group; missing cells are left out."""
    boxes, width = {}, WIDTH / len(groups)
    for i, (key, (rows, color)) in enumerate(groups.items()):
        defaults = {
            "widths": 0.85 * width,
            "whis": (5, 95),
            "showfliers": False,
            "patch_artist": True,
            "boxprops": {"facecolor": color, "linewidth": 0.6},
            "medianprops": {"color": "k"},
        }
        columns = [column[~np.isnan(column)] for column in rows.T]
        at = _positions(i, width, len(names))
        style = _validate_style_kwargs(defaults, box_kwargs)
        boxes[key] = ax.boxplot(columns, positions=at, manage_ticks=False, **style)
    _label(ax, names, label)
    return boxes


def draw_shares(ax: Axes, groups: Groups, names: list[str], bar_kwargs: dict[str, Any]) -> dict[Any, Any]:
    """Draw the means of columns of zeros and ones as bars side by side, and return those of each group."""
    bars, width = {}, WIDTH / len(groups)
    for i, (key, (rows, color)) in enumerate(groups.items()):
        defaults = {"width": 0.85 * width, "color": color, "edgecolor": "k", "linewidth": 0.6}
        style = _validate_style_kwargs(defaults, bar_kwargs)
        bars[key] = ax.bar(_positions(i, width, len(names)), mean_of_observed(rows), **style)
    _label(ax, names, "share of rows")
    ax.set_ylim(0, 1)
    return bars


def explain(ax: Axes, groups: Groups) -> None:
    """Draw a legend of the groups to the right of axes."""
    from matplotlib.patches import Patch

    ax.legend(
        [Patch(facecolor=color, edgecolor="k", linewidth=0.6) for _, color in groups.values()],
        [key if isinstance(key, str) else f"{key[1]}, {key[0]}" for key in groups],
        loc="upper left",
        bbox_to_anchor=(1, 1),
    )


def _positions(i: int, width: float, n_columns: int) -> np.ndarray:
    """Return the places of the i-th group of boxes or bars of each column."""
    return np.arange(n_columns) + (i + 0.5) * width - WIDTH / 2


def _label(ax: Axes, names: list[str], label: str) -> None:
    label_columns(ax, names)
    for edge in range(len(names) - 1):
        ax.axvline(edge + 0.5, color="0.85", linewidth=0.8)
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylabel(label)
