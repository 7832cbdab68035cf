"""Heat map of the columns' shares of the scores of unusual rows."""

from __future__ import annotations

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae._data.table import is_frame
from sklearn_vae._outliers import VAEOutlierDetector
from sklearn_vae.displays._drawing import axes_for, column_names, label_columns

# Largest number of columns whose names are written.
MAX_NAMES = 60


class ExplanationDisplay:
    """Shares of the columns in the scores of the most unusual rows.

    A line of the heat map is a row, the most unusual row first, with its score in brackets. The shares are the parts
    that `VAEOutlierDetector.explain` returns, divided by the score. Create a display with `from_estimator`. All
    parameters are stored as attributes.

    Parameters
    ----------
    parts : array-like of shape (n_rows, n_features)
        Parts of the columns, at most 0. Their sums are the scores.
    offset : float
        Threshold of the scores (`offset_`). Rows above it are marked as inliers.
    index : array-like of shape (n_rows,), default=None
        Names of the rows. None stands for 0, 1, ...
    feature_names : array-like of str of shape (n_features,), default=None
        Names of the columns. None stands for x0, x1, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    image_ : matplotlib AxesImage
        The heat map.
    rows_ : ndarray of int of shape (n_rows_drawn,)
        Rows that are drawn, from top to bottom.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from sklearn_vae import VAEOutlierDetector
    >>> from sklearn_vae.displays import ExplanationDisplay
    >>> X = load_wine(as_frame=True).data
    >>> detector = VAEOutlierDetector(random_state=0).fit(X / X.std())
    >>> display = ExplanationDisplay.from_estimator(detector, X / X.std(), n_rows=5)
    >>> display.image_.get_array().shape
    (5, 13)
    """

    def __init__(self, *, parts, offset, index=None, feature_names=None):
        self.parts = parts
        self.offset = offset
        self.index = index
        self.feature_names = feature_names

    @classmethod
    def from_estimator(cls, estimator, X, *, n_rows=10, feature_names=None, ax=None, image_kwargs=None):
        """Plot the columns' shares of the scores of a fitted detector.

        Parameters
        ----------
        estimator : VAEOutlierDetector or Pipeline
            Fitted detector, or a pipeline that ends with one.
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows. Those with the lowest scores are drawn.
        n_rows : int, default=10
            Maximum number of rows that are drawn.
        feature_names : array-like of str, default=None
            Names of the columns. None stands for those of a data frame.
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : ExplanationDisplay
            Display with the drawn objects as attributes.

        Raises
        ------
        TypeError
            If the estimator is not such a detector.
        """
        detector = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        if not isinstance(detector, VAEOutlierDetector):
            raise TypeError(
                f"expected a VAEOutlierDetector, or a Pipeline that ends with one, got {type(detector).__name__}."
            )
        has_steps = isinstance(estimator, Pipeline) and len(estimator) > 1
        rows = estimator[:-1].transform(X) if has_steps else X
        parts = detector.explain(rows)
        if feature_names is None:
            # Names of columns that a step of the pipeline has replaced by as many others would be wrong only then.
            named = next((frame for frame in (rows, X) if is_frame(frame) and frame.shape[1] == parts.shape[1]), None)
            feature_names = None if named is None else list(named.columns)
        index = getattr(X, "index", None) if is_frame(X) else None
        display = cls(parts=parts, offset=detector.offset_, index=index, feature_names=feature_names)
        return display.plot(ax, n_rows=n_rows, image_kwargs=image_kwargs)

    def plot(self, ax=None, *, n_rows=10, image_kwargs=None):
        """Plot the shares.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on. None creates a new figure.
        n_rows : int, default=10
            Maximum number of rows that are drawn.
        image_kwargs : dict, default=None
            Keyword arguments for matplotlib's `imshow`.

        Returns
        -------
        display : ExplanationDisplay
            Display with the drawn objects as attributes.
        """
        parts = np.asarray(self.parts)
        scores = parts.sum(1)
        self.rows_ = np.argsort(scores, kind="stable")[:n_rows]
        n_columns = parts.shape[1]
        size = float(np.clip(0.3 * n_columns + 2.5, 5, 14)), float(np.clip(0.3 * len(self.rows_) + 1.8, 2.5, 12))
        self.ax_ = axes_for(self, ax, size)
        self.figure_ = self.ax_.figure
        style = _validate_style_kwargs({"cmap": "Reds", "aspect": "auto", "vmin": 0}, image_kwargs or {})
        self.image_ = self.ax_.imshow(parts[self.rows_] / scores[self.rows_, None], **style)
        self.figure_.colorbar(self.image_, ax=self.ax_, label="share of the score")
        index = np.arange(len(parts)) if self.index is None else np.asarray(self.index)
        marks = np.where(scores < self.offset, "", ", inlier")
        self.ax_.set_yticks(range(len(self.rows_)), [f"{index[i]} ({scores[i]:.1f}{marks[i]})" for i in self.rows_])
        names = column_names(self.feature_names, n_columns)
        if n_columns <= MAX_NAMES:
            label_columns(self.ax_, names)
        self.ax_.set(ylabel="row (score)", title="Columns of the most unusual rows")
        return self
