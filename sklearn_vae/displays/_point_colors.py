"""Colours of points by their class or value, and the legend, colour bar or names that explain them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d

from sklearn_vae._data.labels import is_unlabelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Text

# Maximum number of different integers in `y` that are treated as classes; more are treated as continuous values.
MAX_CLASSES = 20
# Matplotlib grey level of unlabelled rows, and their name in the legend.
UNLABELLED_COLOR = "0.8"
UNLABELLED_NAME = "unlabelled (-1)"


class PointColors:
    """Colours of the points for `y`, and the legend, colour bar or names.

    Attributes
    ----------
    rows : dict
        Mask (n_samples,) of the rows of each class.
    handles : dict
        Colour of each class in the legend.
    order : ndarray of int of shape (n_samples,)
        Drawing order of the rows: unlabelled rows first.
    is_continuous : bool
        Whether `y` has continuous values.
    style : dict
        Colour arguments of matplotlib's `scatter`, in drawing order.
    """

    def __init__(self, y, n_samples: int):
        import matplotlib as mpl

        self.rows: dict[Any, np.ndarray] = {}
        self.handles: dict[Any, Any] = {}
        self.order = np.arange(n_samples)
        self.is_continuous = False
        self.style: dict[str, Any] = {"color": "C0"}
        if y is None:
            return
        y = column_or_1d(y)
        check_consistent_length(np.empty(n_samples), y)
        unlabelled = is_unlabelled(y)
        classes = np.unique(y[~unlabelled])
        if y.dtype.kind in "iuf" and (len(classes) > MAX_CLASSES or (y % 1 != 0).any()):
            self.is_continuous, self.style = True, {"c": y, "cmap": "viridis"}
            return
        self.order = np.argsort(~unlabelled, kind="stable")
        palette = mpl.colormaps["tab10" if len(classes) <= 10 else "tab20"]
        self.rows = {label: y == label for label in classes.tolist()}
        self.handles = {label: palette(i % palette.N) for i, label in enumerate(self.rows)}
        point_colors = [UNLABELLED_COLOR if u else self.handles[v] for v, u in zip(y.tolist(), unlabelled, strict=True)]
        self.style = {"c": mpl.colors.to_rgba_array([point_colors[i] for i in self.order])}
        if unlabelled.any():
            self.handles[UNLABELLED_NAME] = UNLABELLED_COLOR

    def check_classes(self) -> None:
        """Raise ValueError if there are no classes to name."""
        if not self.rows:
            came = "continuous values" if self.is_continuous else "none"
            raise ValueError(
                f"expected classes in y for label_classes=True, got {came}; pass classes (as strings, if they are many "
                "numbers), or label_classes=False."
            )

    def name_classes(self, ax: Axes, pair: np.ndarray) -> list[Text]:
        """Write the name of each class at its middle row, the one nearest to the medians of the class.

        Parameters
        ----------
        ax : Axes
        pair : ndarray of shape (n_samples, 2)
            Positions of the rows, in their own order.
        """
        from matplotlib.patheffects import withStroke

        outline = [withStroke(linewidth=3, foreground="white")]
        style: dict[str, Any] = {"ha": "center", "va": "center", "weight": "bold", "path_effects": outline, "zorder": 4}
        middles = {label: _middle_row(pair[of_class]) for label, of_class in self.rows.items()}
        return [ax.text(x, y, str(label), **style) for label, (x, y) in middles.items()]

    def explain(self, ax: Axes, points, panels: bool, named: bool) -> tuple[Any, Any]:
        """Draw a legend or a colour bar and return (legend, colour bar), with None for the other.

        Parameters
        ----------
        ax : Axes
        points : PathCollection
        panels : bool
            Whether the axes are a frame around panels.
        named : bool
            Whether the names of the classes stand on the map; the legend then has the unlabelled rows only.
        """
        if self.is_continuous:
            return None, ax.figure.colorbar(points, ax=ax)
        handles = {name: color for name, color in self.handles.items() if not (named and name in self.rows)}
        if not handles:
            return None, None
        from matplotlib.lines import Line2D

        lines = [Line2D([], [], linestyle="", marker="o", color=color) for color in handles.values()]
        # The upper right corner has no panels.
        place = {"loc": "upper right"} if panels else {"loc": "upper left", "bbox_to_anchor": (1, 1)}
        n_columns = -(-len(lines) // (6 if panels else 12))
        return ax.legend(lines, list(map(str, handles)), ncols=n_columns, fontsize="small", **place), None


def _middle_row(rows: np.ndarray) -> np.ndarray:
    """Return the row nearest to the medians of the columns, in units of the columns' standard deviations."""
    spread = rows.std(axis=0)
    deviations = (rows - np.median(rows, axis=0)) / np.where(spread > 0, spread, 1)
    return rows[np.square(deviations).sum(axis=1).argmin()]
