"""Plots of samples from the generative model."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support

from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._steps import check_draws_samples
from sklearn_vae.displays._drawing import (
    as_numbers,
    axes_for,
    column_names,
    is_kind,
    standardise,
    standardised_label,
    subgrid,
)
from sklearn_vae.displays._images import draw_mosaic, label_rows, mosaic_size, tile, value_range
from sklearn_vae.displays._sample_panels import draw_boxes, draw_shares, explain
from sklearn_vae.displays._steps import DisplayedSteps

# Default number of sampled images, in total without classes and per class otherwise.
N_IMAGES, N_IMAGES_PER_CLASS = 40, 10
# Smallest and largest share of the width that boxes have beside bars.
SHARES_OF_BOXES = 0.3, 0.7
# Default number of sampled rows of a table, in total without classes and per class otherwise.
N_ROWS, N_ROWS_PER_CLASS = 1000, 500


class SamplesDisplay:
    """Sampled images, or box plots of the samples of each column of a table.

    Boxes range from the lower to the upper quartile, and whiskers from the 5th to the 95th
    percentile. Values are standardised with the mean and standard deviation of the column; counts x
    are drawn as log(1 + x). Categories and booleans have no boxes: their shares of the rows are
    bars, in a second panel. Each class has its own row of images, or its own colour of boxes and
    bars. Create a display with `from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    X_sampled : ndarray of shape (n_sampled, n_columns), (n_sampled, height, width) or \
            (n_sampled, height, width, 3)
        Samples: rows of a table or images.
    y_sampled : ndarray of shape (n_sampled,), default=None
        Classes of the samples, if samples are drawn by class.
    X : ndarray of shape (n_samples, ...), default=None
        Data for comparison. For a table, they are plotted beside the samples and give the mean
        and standard deviation of each column. For images, they give the range of grey levels.
    y : ndarray of shape (n_samples,), default=None
        Classes of the data.
    feature_names : array-like of str of shape (n_columns,), default=None
        Column names of a table. None stands for x0, x1, ...
    kinds : array-like of {"number", "count", "probability"} of shape (n_columns,), default=None
        What the columns are; "probability" for zeros and ones. None: numbers.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot. For a table with boxes and bars, it is the frame around `axes_`.
    axes_ : ndarray of matplotlib Axes of shape (n_panels,)
        The panel of the boxes and that of the bars; only `ax_` if there is one of them, or for images.
    figure_ : matplotlib Figure
        Figure of the plot.
    image_ : matplotlib AxesImage or None
        Mosaic of all images; None for a table.
    boxes_ : dict or None
        Return values of matplotlib's `boxplot` for the numbers and counts of a table; None if it
        has none, and for images. Keys are "samples" and "data", or pairs of one of these and a
        class.
    bars_ : dict or None
        Bars of the shares of categories and booleans, with the same keys; None if there are none.

    See Also
    --------
    TableComparisonDisplay : Histograms and associations of a table and of its samples.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import SamplesDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = SamplesDisplay.from_estimator(vae, X, random_state=0)
    >>> sorted(display.boxes_)
    ['data', 'samples']
    """

    def __init__(self, *, X_sampled, y_sampled=None, X=None, y=None, feature_names=None, kinds=None):
        self.X_sampled = X_sampled
        self.y_sampled = y_sampled
        self.X = X
        self.y = y
        self.feature_names = feature_names
        self.kinds = kinds

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X=None,
        y=None,
        *,
        classes="auto",
        n_samples=None,
        random_state=None,
        noise="auto",
        image_shape=None,
        feature_names=None,
        ax=None,
        image_kwargs=None,
        box_kwargs=None,
        bar_kwargs=None,
    ):
        """Draw samples from a fitted estimator and plot them.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
            Samples are transformed back by the inverses of the preceding steps, up to the last
            step that has no inverse. The data are shown after that step.
        X : array-like of shape (n_samples, n_features), default=None
            Data for comparison, as input of the estimator. For a pipeline, it may be an array of
            images.
        y : array-like of shape (n_samples,), default=None
            Classes of the data.
        classes : "auto", array-like or None, default="auto"
            Classes to sample from a `VAEClassifier`. "auto" samples every class. For a table
            with `X` but without `y`, it acts like None. None draws samples without given
            classes, as for a `VAETransformer`.
        n_samples : int, default=None
            Number of samples, or number of samples per class if `classes` are drawn. None is 40
            images or 1000 rows of a table in total, and 10 images or 500 rows per class.
        random_state : int, RandomState instance or None, default=None
            Seed of the samples. None uses the `random_state` of the estimator.
        noise : bool or "auto", default="auto"
            Whether samples are drawn from p(x|z). If False, they are the means of p(x|z). "auto" is
            True for a table and False for images, whose pixels would have independent noise.
        image_shape : tuple of int, default=None
            Shape of the image in each row: (height, width), or with one or three channels first or
            last. None takes the shape from an `ImageFlattener` in the pipeline or from a `Conv`
            network. Without either, rows are plotted as a table.
        feature_names : array-like of str, default=None
            Column names of a table. None takes the names from the estimator.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.
        box_kwargs : dict, default=None
            Keyword arguments for matplotlib's `boxplot`.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : SamplesDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, no generative model or not the given classes, or if
            rows are not images of `image_shape`.
        """
        steps = DisplayedSteps.of(estimator)
        vae = steps.vae
        check_draws_samples(vae)
        one, _ = _draw(vae, None, 1, 0, False)
        is_table = steps.as_images(steps.show_samples(one), image_shape).ndim == 2
        classes = _classes(vae, classes, is_table and X is not None and y is None)
        if n_samples is None and classes is None:
            n_samples = N_ROWS if is_table else N_IMAGES
        elif n_samples is None:
            n_samples = N_ROWS_PER_CLASS if is_table else N_IMAGES_PER_CLASS
        noise = is_table if isinstance(noise, str) and noise == "auto" else noise
        X_sampled, y_sampled = _draw(vae, classes, n_samples, random_state, noise)
        display = cls(
            X_sampled=steps.as_images(steps.show_samples(X_sampled), image_shape),
            y_sampled=y_sampled,
            X=None if X is None else steps.as_images(steps.shown(X), image_shape),
            y=y,
            feature_names=steps.column_labels(feature_names),
            kinds=steps.kinds() if is_table else None,
        )
        return display.plot(ax, image_kwargs=image_kwargs, box_kwargs=box_kwargs, bar_kwargs=bar_kwargs)

    def plot(self, ax=None, *, image_kwargs=None, box_kwargs=None, bar_kwargs=None):
        """Plot the samples.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`. Grey levels, or the levels of each
            colour, range from ``vmin`` to ``vmax``. The default is the range of `X`, or without
            `X` from the 1st to the 99th percentile of the samples.
        box_kwargs : dict, default=None
            Keyword arguments for matplotlib's `boxplot`.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : SamplesDisplay
            Display with the drawn objects as attributes.
        """
        check_matplotlib_support("SamplesDisplay.plot")
        self.image_ = None
        self.boxes_: dict[Any, Any] | None = None
        self.bars_: dict[Any, Any] | None = None
        X_sampled = as_numbers(self.X_sampled)
        by_class = None if self.y_sampled is None else _by_class(X_sampled, self.y_sampled)
        if X_sampled.ndim == 2:
            return self._plot_table(ax, X_sampled, by_class, box_kwargs or {}, bar_kwargs or {})
        if by_class is None:
            tiles = tile(X_sampled, min(len(X_sampled), 10))
        else:
            n_columns = max(map(len, by_class.values()))
            tiles = np.concatenate([tile(rows, n_columns) for rows in by_class.values()])
        limits = value_range(np.percentile(X_sampled, [1, 99]) if self.X is None else self.X)
        self.ax_ = axes_for(self, ax, mosaic_size(tiles))
        self.axes_ = np.array([self.ax_])
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(self.ax_, tiles, limits, image_kwargs)
        label_rows(self.ax_, self.image_, list(by_class or []))
        return self

    def _plot_table(self, ax, X_sampled, by_class, box_kwargs, bar_kwargs):
        """Draw the boxes of numbers, the bars of shares, or both; those of the data come first."""
        names = np.array(column_names(self.feature_names, X_sampled.shape[1]), dtype=object)
        is_share = is_kind("probability", self.kinds, len(names))
        reference = X_sampled if self.X is None else as_numbers(self.X)
        groups = self._groups(X_sampled, by_class)
        narrowest = 8.0 if 0 < is_share.sum() < len(names) else 6.4
        self.ax_ = axes_for(self, ax, (float(np.clip(0.18 * len(groups) * len(names), narrowest, 16)), 4.4))
        self.figure_ = self.ax_.figure
        box_axes, bar_axes = self._panels(~is_share, is_share)
        if box_axes is not None:
            standard = {key: (standardise(rows, reference, self.kinds), color) for key, (rows, color) in groups.items()}
            label = standardised_label(self.kinds)
            self.boxes_ = draw_boxes(box_axes, _select(standard, ~is_share), list(names[~is_share]), label, box_kwargs)
        if bar_axes is not None:
            self.bars_ = draw_shares(bar_axes, _select(groups, is_share), list(names[is_share]), bar_kwargs)
        explain(self.axes_[-1], groups)
        return self

    def _panels(self, has_box, has_bar) -> tuple[Any, Any]:
        """Set `axes_`, and return the axes of the boxes and of the bars, or None if there are none."""
        self.axes_ = np.array([self.ax_])
        if not has_bar.any() or not has_box.any():
            return (None, self.ax_) if has_bar.any() else (self.ax_, None)
        share = float(np.clip(has_box.mean(), *SHARES_OF_BOXES))
        grid = subgrid(self.ax_, 1, 2, width_ratios=[share, 1 - share])
        self.axes_ = np.array([self.figure_.add_subplot(grid[i]) for i in range(2)])
        return tuple(self.axes_)

    def _groups(self, X_sampled, by_class) -> dict[Any, Any]:
        """Return the rows and the colour of each group of boxes in drawing order; data have a lighter colour."""
        import matplotlib as mpl

        data = None if self.X is None else as_numbers(self.X)
        if by_class is None:
            groups: dict[Any, Any] = {} if data is None else {"data": (data, "0.8")}
            return {**groups, "samples": (X_sampled, "C0")}
        y = None if self.y is None else column_or_1d(self.y)
        check_consistent_length(data, y)
        groups = {} if data is None or y is not None else {"data": (data, "0.8")}
        for i, (label, sampled) in enumerate(by_class.items()):
            color = np.array(mpl.colors.to_rgb(f"C{i % 10}"))
            if data is not None and y is not None:
                groups["data", label] = (data[y == label], tuple(0.4 * color + 0.6))
            groups["samples", label] = (sampled, tuple(color))
        return groups


def _select(groups: dict[Any, Any], columns: np.ndarray) -> dict[Any, Any]:
    """Return groups with some columns of their rows."""
    return {key: (rows[:, columns], color) for key, (rows, color) in groups.items()}


def _by_class(X_sampled: np.ndarray, y_sampled) -> dict[Any, np.ndarray]:
    """Return the samples of each class, in order of the first appearance of the classes."""
    y = column_or_1d(y_sampled)
    check_consistent_length(X_sampled, y)
    return {label: X_sampled[y == label] for label in dict.fromkeys(y.tolist())}


def _classes(vae, classes, lacks_labels: bool) -> np.ndarray | None:
    """Return the classes to sample, or None for samples without given classes."""
    is_auto = isinstance(classes, str) and classes == "auto"
    if classes is None or (is_auto and (lacks_labels or not isinstance(vae, VAEClassifier))):
        return None
    if not isinstance(vae, VAEClassifier):
        raise ValueError(f"expected classes=None for a {type(vae).__name__}, which has no classes, got {classes!r}.")
    return vae.classes_ if is_auto else np.atleast_1d(classes)


def _draw(vae, classes, n_samples: int, random_state, noise: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples in the units of the VAE step, and their classes if `classes` are given."""
    if classes is not None:
        return vae.sample(y=np.repeat(classes, n_samples), random_state=random_state, noise=noise)
    drawn = vae.sample(n_samples, random_state=random_state, noise=noise)
    return (drawn[0] if isinstance(vae, VAEClassifier) else drawn), None
