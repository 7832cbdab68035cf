"""Panels of a comparison of two tables: bars and histograms of columns, and heat maps of pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._column_comparison import ColumnComparison
from sklearn_vae.displays._drawing import label_columns

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Colours of the data and of the samples.
COLORS = {"data": "0.75", "samples": "C0"}
# Largest number of categories of a panel; the rarest are joined.
MAX_CATEGORIES = 12
# Largest number of characters of a panel's title, and of the label of a category.
MAX_TITLE, MAX_LABEL = 22, 12
# Largest number of columns of a heat map with numbers in its cells.
MAX_NUMBERED = 10


def draw_column(ax: Axes, column: ColumnComparison, bar_kwargs: dict[str, Any], stairs_kwargs: dict[str, Any]) -> None:
    """Draw the distributions of a column: shares of categories side by side, or histograms over each other."""
    if column.edges is None:
        highest = _draw_categories(ax, column, bar_kwargs)
    else:
        highest = _draw_histograms(ax, column, stairs_kwargs)
    ax.set_ylim(0, 1.1 * (highest or 1.0))
    ax.locator_params(axis="y", nbins=4)
    ax.tick_params(labelsize="small")
    ax.set_title(_cut(column.name, MAX_TITLE), loc="left", fontsize="medium")
    measure = "TV" if column.edges is None else "KS"
    distance = "no values" if np.isnan(column.distance) else f"{measure} {column.distance:.2f}"
    ax.set_title(distance, loc="right", fontsize="small", color="0.4")


def explain_columns(ax: Axes) -> Any:
    """Draw the legend of data and samples to the right of axes, and return it."""
    from matplotlib.patches import Patch

    handles = [Patch(color=color, label=key) for key, color in COLORS.items()]
    return ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1))


def draw_pairs(
    axes: Sequence[Axes], matrices: dict[str, np.ndarray], names: Sequence[str], image_kwargs: dict[str, Any]
) -> list[AxesImage]:
    """Draw the associations of the data and of the samples, and their difference.

    Parameters
    ----------
    axes : sequence of Axes of length 3
    matrices : dict of str to ndarray of shape (n_columns, n_columns)
        Titles and values; the last one is the difference.
    names : sequence of str of length n_columns
    image_kwargs : dict

    Returns
    -------
    images : list of AxesImage
    """
    images, labels = [], [_cut(name, MAX_TITLE) for name in names]
    for ax, (title, matrix) in zip(axes, matrices.items(), strict=True):
        is_last = ax is axes[-1]
        largest = max(0.1, float(np.fmax.reduce(np.abs(matrix), axis=None)))
        limits = {"vmin": -largest, "vmax": largest} if is_last else {"vmin": 0.0, "vmax": 1.0}
        defaults = {"cmap": "RdBu_r" if is_last else "Blues", "aspect": "auto", **limits}
        images.append(ax.imshow(matrix, **_validate_style_kwargs(defaults, image_kwargs)))
        ax.set_title(title, fontsize="medium")
        ax.set_xticks(range(len(labels)), labels, rotation=90, fontsize="small")
        ax.set_yticks(range(len(labels)), labels if ax is axes[0] else [], fontsize="small")
        ax.tick_params(length=0)
        if len(labels) <= MAX_NUMBERED:
            _write_numbers(ax, matrix, largest if is_last else 1.0, "{:+.2f}" if is_last else "{:.2f}")
    return images


def _draw_categories(ax: Axes, column: ColumnComparison, bar_kwargs: dict[str, Any]) -> float:
    """Draw bars and return the height of the highest one."""
    labels, shares = _join_rare(column)
    for i, (key, heights) in enumerate(shares.items()):
        style = _validate_style_kwargs({"width": 0.4, "color": COLORS[key]}, bar_kwargs)
        ax.bar(np.arange(len(labels)) + 0.4 * i - 0.2, heights, **style)
    label_columns(ax, [_cut(label, MAX_LABEL) for label in labels])
    return float(np.max(list(shares.values())))


def _draw_histograms(ax: Axes, column: ColumnComparison, stairs_kwargs: dict[str, Any]) -> float:
    """Draw a filled histogram of the data and the outline of that of the samples; return the largest share."""
    assert column.edges is not None
    filled = {"color": COLORS["data"], "fill": True}
    ax.stairs(column.data, column.edges, **_validate_style_kwargs(filled, stairs_kwargs))
    line = {"color": COLORS["samples"], "linewidth": 1.5}
    ax.stairs(column.samples, column.edges, **_validate_style_kwargs(line, stairs_kwargs))
    if column.linear_width is None:
        ax.locator_params(axis="x", nbins=4, integer=False)
        ax.ticklabel_format(axis="x", scilimits=(-3, 5))
    else:
        ax.set_xscale("symlog", linthresh=column.linear_width)
        ax.set_xticks(_decades(column.edges[0], column.edges[-1], column.linear_width))
        ax.minorticks_off()
    ax.set_xlim(column.edges[0], column.edges[-1])
    return float(max(column.data.max(), column.samples.max()))


def _decades(low: float, high: float, width: float) -> list[float]:
    """Return 0 and a few powers of ten between limits; `width` is that of the linear part."""
    ticks = [0.0] if low <= 0 <= high else []
    most = 1 if low < -width and high > width else 4
    for sign, limit in ((1.0, high), (-1.0, -low)):
        if limit > width:
            powers = np.arange(np.ceil(np.log10(width)), np.floor(np.log10(limit)) + 1)
            # The power next to 0 would be too close to it.
            powers = powers[1:] if len(powers) > 2 and ticks else powers
            ticks += list(sign * 10.0 ** powers[:: -max(1, -(-len(powers) // most))])
    return ticks


def _join_rare(column: ColumnComparison) -> tuple[list[str], dict[str, np.ndarray]]:
    """Return the labels and the shares of the most frequent categories in their order, and of all others together."""
    shares = {"data": column.data, "samples": column.samples}
    n_categories = len(column.categories)
    if n_categories <= MAX_CATEGORIES:
        return column.categories, shares
    frequent = np.sort(np.argsort(-(column.data + column.samples), kind="stable")[: MAX_CATEGORIES - 1])
    rest = np.setdiff1d(np.arange(n_categories), frequent)
    labels = [column.categories[i] for i in frequent] + [f"{len(rest)} others"]
    return labels, {key: np.append(values[frequent], values[rest].sum()) for key, values in shares.items()}


def _write_numbers(ax: Axes, matrix: np.ndarray, largest: float, pattern: str) -> None:
    """Write the values below the diagonal into the cells of a heat map, white on dark cells."""
    for i, j in zip(*np.nonzero(np.tril(np.isfinite(matrix), -1)), strict=True):
        color = "w" if abs(matrix[i, j]) > 0.6 * largest else "k"
        # Adding 0 turns -0.0 into 0.0.
        ax.text(
            j,
            i,
            pattern.format(np.round(matrix[i, j], 2) + 0.0),
            ha="center",
            va="center",
            fontsize="x-small",
            color=color,
        )


def _cut(text: str, n_characters: int) -> str:
    """Return a text, without its middle if it has more characters than this."""
    n_kept = n_characters // 2 - 1
    return text if len(text) <= n_characters else f"{text[:n_kept]}…{text[-n_kept:]}"
