"""Data beside what comes back of it."""

from __future__ import annotations

import numpy as np
from sklearn.utils import check_consistent_length
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._drawing import axes_for, center_and_scale, column_names, label_columns
from sklearn_vae.displays._images import draw_mosaic, label_rows, mosaic_size, to_images, value_range
from sklearn_vae.displays._steps import find_steps


class ReconstructionDisplay:
    """Images above their reconstructions; of tables, the error of each column.

    A column's error is the root mean squared error over its standard deviation: 0 is perfect,
    and 1 as good as the column's mean for all rows. Made by `from_estimator` or
    `from_predictions`. All parameters are stored as attributes.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features), (n_samples, height, width) or (n_samples, height, width, 3)
        A table, or images.
    X_reconstructed : ndarray of the same shape
        What a model made of them.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of a table's columns; None stands for x0, x1, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage or None
        For images: all of them in one.
    bars_ : matplotlib BarContainer or None
        For a table: errors.

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

    def __init__(self, *, X, X_reconstructed, feature_names=None):
        self.X = X
        self.X_reconstructed = X_reconstructed
        self.feature_names = feature_names

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
        """Plot reconstructions of data.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted; pipelines and searches with one of the first two as a step. Reconstructions
            are brought back through the steps before it, from the last one on, as far as these
            can be undone, and are compared with the data as they are there.
        X : array-like of shape (n_samples, n_features)
            Rows as the estimator takes them; for a pipeline, images perhaps.
        n_images : int, default=10
            The first so many images are drawn.
        image_shape : tuple of int, default=None
            What a row is an image of: (height, width), or with one or three channels first or
            last. None asks an `ImageFlattener` in the pipeline or a `Conv` network for it; where
            there is neither, rows are those of a table.
        feature_names : array-like of str, default=None
            Names of a table's columns. None asks the estimator.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        image_kwargs : dict, default=None
            Passed to matplotlib's `imshow`.
        bar_kwargs : dict, default=None
            Passed to matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            With what is drawn as its attributes.

        Raises
        ------
        ValueError
            If there is no such step, or rows are not images of `image_shape`.
        """
        steps = find_steps(estimator)
        shown = steps.shown(X)
        images = steps.as_images(shown, image_shape)
        if images.ndim > 2:
            shown, images = shown[:n_images], images[:n_images]
        display = cls(
            X=images,
            X_reconstructed=steps.as_images(steps.decode(steps.encode(shown)), image_shape),
            feature_names=steps.feature_names() if feature_names is None else feature_names,
        )
        return display.plot(ax, image_kwargs=image_kwargs, bar_kwargs=bar_kwargs)

    @classmethod
    def from_predictions(
        cls, X, X_reconstructed, *, image_shape=None, feature_names=None, ax=None, image_kwargs=None, bar_kwargs=None
    ):
        """Plot data beside what a model made of them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), or images
            The data.
        X_reconstructed : array-like of the same shape
            What a model made of them.
        image_shape : tuple of int, default=None
            What a row is an image of, as in `from_estimator`.
        feature_names : array-like of str, default=None
            Names of a table's columns.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        image_kwargs : dict, default=None
            Passed to matplotlib's `imshow`.
        bar_kwargs : dict, default=None
            Passed to matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            With what is drawn as its attributes.
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
            Where to draw; None makes a new figure.
        image_kwargs : dict, default=None
            Passed to matplotlib's `imshow`. Grey levels, and those of each colour, reach from
            ``vmin`` to ``vmax``, the range of `X` unless given.
        bar_kwargs : dict, default=None
            Passed to matplotlib's `bar`.

        Returns
        -------
        display : ReconstructionDisplay
            With what is drawn as its attributes.
        """
        self.image_ = self.bars_ = None
        X, X_reconstructed = np.asarray(self.X, dtype=float), np.asarray(self.X_reconstructed, dtype=float)
        if X.ndim == 2:
            return self._plot_errors(ax, X, X_reconstructed, bar_kwargs)
        tiles = np.stack([X, X_reconstructed])
        self.ax_ = axes_for(self, ax, mosaic_size(tiles))
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(self.ax_, tiles, value_range(X), image_kwargs)
        label_rows(self.ax_, self.image_, ["data", "reconstruction"])
        return self

    def _plot_errors(self, ax, X, X_reconstructed, bar_kwargs):
        names = column_names(self.feature_names, X.shape[1])
        error = np.sqrt(np.square(X - X_reconstructed).mean(axis=0)) / center_and_scale(X)[1]
        self.ax_ = axes_for(self, ax, (min(max(6.4, 0.35 * len(names)), 16.0), 4.0))
        self.figure_ = self.ax_.figure
        self.bars_ = self.ax_.bar(range(len(error)), error, **_validate_style_kwargs({"color": "C0"}, bar_kwargs or {}))
        self.ax_.axhline(1.0, color="k", linestyle="--", linewidth=0.8, label="the column's mean for all rows")
        label_columns(self.ax_, names)
        self.ax_.set_ylabel("root mean squared error\nover standard deviation")
        self.ax_.set_ylim(0, max(1.2, 1.05 * error.max()))
        self.ax_.legend()
        return self
