"""Plots of data and their reconstructions."""

from __future__ import annotations

import numpy as np
from scipy.special import kl_div
from sklearn.utils import check_consistent_length
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import (
    as_numbers,
    axes_for,
    column_names,
    is_constant,
    is_kind,
    label_columns,
    mean_of_observed,
)
from sklearn_vae.displays._images import draw_mosaic, label_rows, mosaic_size, to_images, value_range
from sklearn_vae.displays._steps import DisplayedSteps

# Smallest mean of a count in its deviance.
MIN_MEAN = 1e-12


class ReconstructionDisplay:
    """Images with their reconstructions, or the reconstruction error of each column of a table.

    The error of a column is its root mean squared error divided by its standard deviation.
    Predicting the column's mean for every row gives an error of 1.

    For a column of categories, the errors are the differences between the probabilities of the
    categories and the zeros and ones of the data, summed over categories: the root of the Brier
    score, divided by that of the column's shares. For counts, squared errors would be those of
    the largest counts. Their error is the root of the Poisson deviance, divided by that of the
    column's mean. If the likelihood takes the totals of rows as given, so do reconstructions.

    Create a display with `from_estimator` or `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns), (n_samples, height, width) or (n_samples, height, width, 3)
        Data: a table or images.
    X_reconstructed : ndarray of the same shape
        Reconstructions of the data.
    feature_names : array-like of str of shape (n_features,), default=None
        Column names of a table. None stands for x0, x1, ...
    block_sizes : array-like of int of shape (n_features,), default=None
        Number of columns of `X` that each feature takes: one for each category of a column of
        categories, otherwise one. None: each feature takes one.
    kinds : array-like of {"number", "count", "probability"} of shape (n_columns,), default=None
        What the reconstructed columns are. None: numbers.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    image_ : matplotlib AxesImage or None
        Mosaic of all images; None for a table.
    bars_ : matplotlib BarContainer or None
        Errors of a table's columns; None for images.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.displays import ReconstructionDisplay
    >>> X = load_iris().data
    >>> vae = VAETransformer(2, max_iter=10, random_state=0).fit(X)
    >>> display = ReconstructionDisplay.from_estimator(vae, X)
    >>> all(0 < bar.get_height() < 1 for bar in display.bars_)
    True
    """

    def __init__(self, *, X, X_reconstructed, feature_names=None, block_sizes=None, kinds=None):
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.feature_names = feature_names
        self.block_sizes = block_sizes
        self.kinds = kinds

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        n_images=10,
        image_shape=None,
        feature_names=None,
        ax=None,
        image_kwargs=None,
        bar_kwargs=None,
    ):
        """Plot the reconstructions of data by a fitted estimator.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted estimator. A pipeline or search must have a VAETransformer or VAEClassifier as a step.
            Reconstructions are transformed back by the inverses of the preceding steps, up to the
            last step that has no inverse. They are compared with the data after that step.
        X : array-like of shape (n_samples, n_features)
            Input of the estimator. For a pipeline, it may be an array of images.
        n_images : int, default=10
            Maximum number of images to draw, from the first row on.
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
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        ValueError
            If the estimator has no VAE step, or rows are not images of `image_shape`.
        """
        steps = DisplayedSteps.of(estimator)
        shown = steps.shown(X)
        images = steps.as_images(shown, image_shape)
        if images.ndim > 2:
            shown, images = shown[:n_images], images[:n_images]
        display = cls(
            X=images,
            X_reconstructed=steps.as_images(steps.reconstruct(shown), image_shape),
            feature_names=steps.feature_names(feature_names),
            block_sizes=steps.block_sizes(),
            kinds=steps.kinds() if images.ndim == 2 else None,
        )
        return display.plot(ax, image_kwargs=image_kwargs, bar_kwargs=bar_kwargs)

    @classmethod
    def from_predictions(
        cls, X, X_reconstructed, *, image_shape=None, feature_names=None, ax=None, image_kwargs=None, bar_kwargs=None
    ):
        """Plot data and given reconstructions.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            Data: a table or images.
        X_reconstructed : array-like of the same shape
            Reconstructions of the data.
        image_shape : tuple of int, default=None
            Shape of the image in each row, as in `from_estimator`. None plots
            two-dimensional data as a table.
        feature_names : array-like of str, default=None
            Column names of a table. None takes the columns of a DataFrame, or x0, x1, ...
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            Display with the drawn objects as attributes.
        """
        feature_names = getattr(X, "columns", None) if feature_names is None else feature_names
        X, X_reconstructed = np.asarray(X), np.asarray(X_reconstructed)
        check_consistent_length(X, X_reconstructed)
        display = cls(
            X=to_images(X, image_shape),
            X_reconstructed=to_images(X_reconstructed, image_shape),
            feature_names=feature_names,
        )
        return display.plot(ax, image_kwargs=image_kwargs, bar_kwargs=bar_kwargs)

    def plot(self, ax=None, *, image_kwargs=None, bar_kwargs=None):
        """Plot reconstructions.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`. Grey levels, or the levels of each
            colour, range from ``vmin`` to ``vmax``; the default is the range of `X`.
        bar_kwargs : dict, default=None
            Keyword arguments for matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            Display with the drawn objects as attributes.
        """
        self.image_ = self.bars_ = None
        X, X_reconstructed = as_numbers(self.X), as_numbers(self.X_reconstructed)
        if X.ndim == 2:
            return self._plot_errors(ax, X, X_reconstructed, bar_kwargs)
        tiles = np.stack([X, X_reconstructed])
        self.ax_ = axes_for(self, ax, mosaic_size(tiles))
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(self.ax_, tiles, value_range(X), image_kwargs)
        label_rows(self.ax_, self.image_, ["data", "reconstruction"])
        return self

    def _plot_errors(self, ax, X, X_reconstructed, bar_kwargs):
        sizes = np.ones(X.shape[1], dtype=int) if self.block_sizes is None else np.asarray(self.block_sizes)
        names = column_names(self.feature_names, len(sizes))
        is_count = is_kind("count", self.kinds, X.shape[1])
        error = relative_errors(X, X_reconstructed, sizes, is_count)
        self.ax_ = axes_for(self, ax, (min(max(6.4, 0.35 * len(names)), 16.0), 4.0))
        self.figure_ = self.ax_.figure
        self.bars_ = self.ax_.bar(range(len(error)), error, **_validate_style_kwargs({"color": "C0"}, bar_kwargs or {}))
        baseline = "mean or shares" if (sizes > 1).any() else "mean"
        self.ax_.axhline(1.0, color="k", linestyle="--", linewidth=0.8, label=f"predicting the column's {baseline}")
        label_columns(self.ax_, names)
        self.ax_.set_ylabel(_error_label(is_count))
        self.ax_.set_ylim(0, max(1.2, 1.05 * np.fmax.reduce(error)))
        self.ax_.legend()
        return self


def relative_errors(X: np.ndarray, X_reconstructed: np.ndarray, sizes: np.ndarray, is_count: np.ndarray) -> np.ndarray:
    """Return the error of each feature, divided by that of the column's mean.

    Parameters
    ----------
    X, X_reconstructed : ndarray of shape (n_samples, n_columns)
        Data and reconstructions. Missing cells of the data, NaN, are left out.
    sizes : ndarray of int of shape (n_features,)
        Number of columns of each feature.
    is_count : ndarray of bool of shape (n_columns,)
        Columns whose error is the Poisson deviance; that of the others is the squared error.

    Returns
    -------
    errors : ndarray of shape (n_features,)
        Roots of the ratios. In place of an error of the mean that is 0, 1 is the divisor.
    """
    mean = np.broadcast_to(mean_of_observed(X), X.shape)
    loss, baseline = _mean_loss(X, X_reconstructed, is_count), _mean_loss(X, mean, is_count)
    baseline[is_constant(X)] = 0.0
    starts = np.cumsum(sizes) - sizes
    loss, baseline = np.add.reduceat(loss, starts), np.add.reduceat(baseline, starts)
    return np.sqrt(loss / np.where(baseline > 0, baseline, 1.0))


def _mean_loss(X: np.ndarray, means: np.ndarray, is_count: np.ndarray) -> np.ndarray:
    """Return the mean squared errors of columns, or half their mean Poisson deviances."""
    loss = np.square(X - means)
    loss[:, is_count] = kl_div(X[:, is_count], means[:, is_count].clip(MIN_MEAN))
    return mean_of_observed(loss)


def _error_label(is_count: np.ndarray) -> str:
    """Return the label of the errors' axis."""
    if is_count.all():
        return "root deviance over\nthat of the column's mean"
    return "root mean squared error\nover standard deviation" + ("\n(counts: of deviance)" if is_count.any() else "")
