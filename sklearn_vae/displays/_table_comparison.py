"""Plots that compare a table with a sample of it."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import _num_samples

from sklearn_vae.displays._associations import associations
from sklearn_vae.displays._column_comparison import compare
from sklearn_vae.displays._column_pairs import pair_columns
from sklearn_vae.displays._comparison_panels import draw_column, draw_pairs, explain_columns
from sklearn_vae.displays._drawing import axes_for, subgrid
from sklearn_vae.displays._steps import DisplayedSteps

# What is drawn.
KINDS = ("columns", "pairs", "both")
# Largest number of columns that are drawn with columns=None; of more, those that differ most are drawn.
MAX_COLUMNS = 20
# Width and height of a column's panel in inches, and largest number of panels in a row.
PANEL_SIZE, MAX_IN_ROW = (2.5, 1.9), 5
# Width and height of the heat maps together, in inches, and the part that each column adds.
PAIRS_SIZE, PAIRS_STEP = (6.0, 1.8), (0.9, 0.27)
# Largest width of a figure, in inches.
MAX_WIDTH = 16.0


class TableComparisonDisplay:
    r"""A table beside samples, column by column and pair by pair.

    Numbers are compared by histograms with common bins, and categories and booleans by bars of
    their shares. Missing cells are left out. The title of a panel has the distance between the two
    distributions, from 0 to 1: the Kolmogorov-Smirnov distance (KS) of numbers, or the total
    variation distance (TV) of categories. Numbers with a long tail have a logarithmic axis.

    Three heat maps show how strongly pairs of columns depend on each other, in the data, in the
    samples, and the difference. The associations range from 0 to 1: Spearman's :math:`|\rho|` of
    two numbers, Cramér's V of two categories, and the correlation ratio :math:`\eta` of a category
    and the ranks of a number. Chance alone gives values above 0, the larger the fewer rows there
    are, so compare tables with about as many rows.

    Create a display with `from_estimator` or `from_frames`. All parameters are stored as attributes.

    Parameters
    ----------
    columns : list of ColumnComparison of length n_columns
        Distributions of each column in the data and in the samples.
    associations : ndarray of shape (n_columns, n_columns)
        Associations of the data's columns; NaN if no row has both cells.
    associations_sampled : ndarray of shape (n_columns, n_columns)
        Associations of the samples' columns.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Frame around all panels.
    axes_ : ndarray of matplotlib Axes of shape (n_columns,)
        Panels of the columns; empty with kind="pairs".
    figure_ : matplotlib Figure
        Figure of the plot.
    images_ : list of matplotlib AxesImage
        Heat maps of the data, of the samples and of the difference; empty with kind="columns".
    legend_ : matplotlib Legend or None
        Legend of the columns' panels.
    colorbars_ : list of matplotlib Colorbar
        Colour bar of the associations and of their difference.

    See Also
    --------
    SamplesDisplay : Samples of each class, and images.
    ColumnComparison : What is known of a column.

    Examples
    --------
    >>> import pandas as pd
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import TableComparisonDisplay
    >>> X = pd.DataFrame({"age": [31, 48, 25, 60] * 10, "city": ["Rome", None, "Oslo", "Rome"] * 10})
    >>> vae = VAETransformer(1, max_iter=5, random_state=0).fit(X)
    >>> display = TableComparisonDisplay.from_estimator(vae, X, random_state=0)
    >>> display.columns[1].categories, display.columns[1].data.round(2).tolist()
    (['Oslo', 'Rome'], [0.33, 0.67])
    >>> display.associations.round(2).tolist()
    [[1.0, 0.87], [0.87, 1.0]]
    """

    def __init__(self, *, columns, associations, associations_sampled):
        self.columns = columns
        self.associations = associations
        self.associations_sampled = associations_sampled

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        columns=None,
        n_samples=None,
        random_state=None,
        kind="both",
        ax=None,
        bar_kwargs=None,
        stairs_kwargs=None,
        image_kwargs=None,
    ):
        """Draw samples from a fitted estimator and compare them with a table.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, VAEImputer, Pipeline or search
            Fitted estimator. A pipeline or search must have one of the others as a step. Samples
            are transformed back by the inverses of the preceding steps, up to the last step that
            has no inverse. They are compared with the data after that step.
        X : data frame or array-like of shape (n_samples, n_features)
            Input of the estimator, e.g. rows that it was not fitted to.
        columns : list of str or int, default=None
            Names or positions of the columns to compare. None compares all, or of more than 20
            those whose distributions differ most.
        n_samples : int, default=None
            Number of samples. None draws as many as `X` has rows.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the `random_state` of the estimator.
        kind : {"columns", "pairs", "both"}, default="both"
            Whether to draw the columns, the associations of pairs of columns, or both.
        ax : matplotlib Axes, default=None
            Axes to draw in. None creates a new figure.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`, for categories.
        stairs_kwargs : dict, default=None
            Keyword arguments for matplotlib's `stairs`, for numbers.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : TableComparisonDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step or no generative model, rows are images or sparse, or
            there are no such columns.
        """
        steps = DisplayedSteps.of(estimator)
        data = steps.after_kept(X)
        n_samples = _num_samples(data) if n_samples is None else n_samples
        samples = steps.sample(n_samples, random_state)
        return cls.from_frames(
            data,
            samples,
            columns=columns,
            kind=kind,
            ax=ax,
            bar_kwargs=bar_kwargs,
            stairs_kwargs=stairs_kwargs,
            image_kwargs=image_kwargs,
        )

    @classmethod
    def from_frames(
        cls,
        X,
        X_sampled,
        *,
        columns=None,
        kind="both",
        ax=None,
        bar_kwargs=None,
        stairs_kwargs=None,
        image_kwargs=None,
    ):
        """Compare two tables, e.g. data and samples of any generator.

        Parameters
        ----------
        X : data frame or array-like of shape (n_rows, n_columns)
            Data. All columns of an array are numbers.
        X_sampled : data frame or array-like of shape (n_samples, n_columns)
            Samples. Columns of a frame are found by their names, those of an array by position.
        columns : list of str or int, default=None
            Names or positions of the columns to compare. None compares all, or of more than 20
            those whose distributions differ most.
        kind : {"columns", "pairs", "both"}, default="both"
            Whether to draw the columns, the associations of pairs of columns, or both.
        ax : matplotlib Axes, default=None
            Axes to draw in. None creates a new figure.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`, for categories.
        stairs_kwargs : dict, default=None
            Keyword arguments for matplotlib's `stairs`, for numbers.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : TableComparisonDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        TypeError
            If a column has neither numbers nor booleans nor categories, e.g. dates.
        ValueError
            If the samples lack a column or have values of another kind, or there are no such columns.
        """
        pairs = pair_columns(X, X_sampled, columns)
        compared = [compare(pair) for pair in pairs]
        if columns is None and len(pairs) > MAX_COLUMNS:
            distances = np.nan_to_num([column.distance for column in compared])
            most = np.sort(np.argsort(-distances, kind="stable")[:MAX_COLUMNS])
            pairs, compared = [pairs[i] for i in most], [compared[i] for i in most]
        is_category = [pair.is_category for pair in pairs]
        display = cls(
            columns=compared,
            associations=associations([pair.data for pair in pairs], is_category),
            associations_sampled=associations([pair.samples for pair in pairs], is_category),
        )
        return display.plot(
            ax, kind=kind, bar_kwargs=bar_kwargs, stairs_kwargs=stairs_kwargs, image_kwargs=image_kwargs
        )

    def plot(self, ax=None, *, kind="both", bar_kwargs=None, stairs_kwargs=None, image_kwargs=None):
        """Plot the comparison.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw in. None creates a new figure.
        kind : {"columns", "pairs", "both"}, default="both"
            Whether to draw the columns, the associations of pairs of columns, or both.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`, for categories.
        stairs_kwargs : dict, default=None
            Keyword arguments for matplotlib's `stairs`, for numbers.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : TableComparisonDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If `kind` has another value.
        """
        if kind not in KINDS:
            raise ValueError(f"expected kind to be one of {KINDS}, got {kind!r}.")
        width, heights = figure_size(len(self.columns), kind)
        self.ax_ = axes_for(self, ax, (width, sum(heights.values())))
        self.figure_ = self.ax_.figure
        self.axes_, self.legend_ = np.array([], dtype=object), None
        self.images_, self.colorbars_ = [], []
        grid = subgrid(self.ax_, len(heights), 1, height_ratios=list(heights.values()))
        for i, part in enumerate(heights):
            if part == "columns":
                self._plot_columns(grid[i], bar_kwargs or {}, stairs_kwargs or {})
            else:
                self._plot_pairs(grid[i], image_kwargs or {})
        return self

    def _plot_columns(self, place, bar_kwargs, stairs_kwargs) -> None:
        """Draw a panel for each column."""
        n_in_row = min(len(self.columns), MAX_IN_ROW)
        grid = place.subgridspec(-(-len(self.columns) // n_in_row), n_in_row)
        panels = []
        for i, column in enumerate(self.columns):
            panel = self.figure_.add_subplot(grid[divmod(i, n_in_row)])
            draw_column(panel, column, bar_kwargs, stairs_kwargs)
            panel.set_ylabel("share" if i % n_in_row == 0 else "", fontsize="small")
            panels.append(panel)
        self.axes_ = np.array(panels, dtype=object)
        self.legend_ = explain_columns(panels[n_in_row - 1])

    def _plot_pairs(self, place, image_kwargs) -> None:
        """Draw the heat maps, with a colour bar for the first two and one for their difference."""
        # Columns of the grid: heat maps of data and samples, their colour bar, the difference, its colour bar.
        grid = place.subgridspec(1, 5, width_ratios=[1, 1, 0.05, 1, 0.05])
        data, samples, bar, change, bar_of_change = (self.figure_.add_subplot(grid[i]) for i in range(5))
        difference = np.asarray(self.associations_sampled) - np.asarray(self.associations)
        below = np.abs(difference[np.tril_indices(len(difference), -1)])
        mean = f" (mean size {np.nanmean(below):.2f})" if np.isfinite(below).any() else ""
        titles = ["association in data", "in samples", f"samples - data{mean}"]
        matrices = [np.asarray(self.associations), np.asarray(self.associations_sampled), difference]
        names = [column.name for column in self.columns]
        panels = [data, samples, change]
        self.images_ = draw_pairs(panels, dict(zip(titles, matrices, strict=True)), names, image_kwargs)
        self.colorbars_ = [
            self.figure_.colorbar(self.images_[1], cax=bar),
            self.figure_.colorbar(self.images_[2], cax=bar_of_change),
        ]


def figure_size(n_columns: int, kind: str) -> tuple[float, dict[str, float]]:
    """Return the width of a figure and the height of each of its parts, in inches."""
    n_in_row = min(n_columns, MAX_IN_ROW)
    heights = {
        "columns": PANEL_SIZE[1] * -(-n_columns // n_in_row),
        "pairs": PAIRS_SIZE[1] + PAIRS_STEP[1] * n_columns,
    }
    widths = {"columns": PANEL_SIZE[0] * n_in_row + 1.2, "pairs": PAIRS_SIZE[0] + PAIRS_STEP[0] * n_columns}
    parts = [part for part in heights if kind in (part, "both")]
    return min(max(widths[part] for part in parts), MAX_WIDTH), {part: heights[part] for part in parts}
