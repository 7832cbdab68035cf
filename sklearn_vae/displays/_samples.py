"""What the model draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae import VAEClassifier
from sklearn_vae.displays._drawing import axes_for, center_and_scale, column_names, label_columns
from sklearn_vae.displays._images import draw_mosaic, label_rows, mosaic_size, tile, value_range
from sklearn_vae.displays._steps import find_steps

# Samples by default: images in all and for each class, rows of tables in all and for each class.
N_IMAGES, N_IMAGES_PER_CLASS = 40, 10
N_ROWS, N_ROWS_PER_CLASS = 1000, 500


class SamplesDisplay:
    """Samples of the model: images; of tables, how each column's samples spread, beside the data.

    Boxes reach from the lower to the upper quartile, whiskers from the 5th to the 95th
    percentile, in units of a column's standard deviation from its mean. Samples of a class are
    a row of images, or boxes in a colour of their own. Made by `from_estimator`. All parameters
    are stored as attributes.

    Parameters
    ----------
    X_sampled : ndarray of shape (n_sampled, n_features), (n_sampled, height, width) or \
            (n_sampled, height, width, 3)
        Samples: rows of a table, or images.
    y_sampled : ndarray of shape (n_sampled,), default=None
        Their classes, where they are drawn class by class.
    X : ndarray of shape (n_samples, ...), default=None
        Data: they set the units of a table's columns and stand beside the samples, and the
        range of an image's grey levels.
    y : ndarray of shape (n_samples,), default=None
        Their classes.
    feature_names : array-like of str of shape (n_features,), default=None
        Names of a table's columns; None stands for x0, x1, ...

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage or None
        For images: all of them in one.
    boxes_ : dict or None
        For a table: what matplotlib's `boxplot` returns, by "samples", "data", or a pair of one
        of these and a class.

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

    def __init__(self, *, X_sampled, y_sampled=None, X=None, y=None, feature_names=None):
        self.X_sampled = X_sampled
        self.y_sampled = y_sampled
        self.X = X
        self.y = y
        self.feature_names = feature_names

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
        image_shape=None,
        feature_names=None,
        ax=None,
        image_kwargs=None,
        box_kwargs=None,
    ):
        """Draw samples from a fitted estimator, and plot them.

        Parameters
        ----------
        estimator : VAETransformer, VAEClassifier, Pipeline or search
            Fitted; pipelines and searches with one of the first two as a step. Samples are
            brought back through the steps before it, from the last one on, as far as these
            can be undone; the data are shown as they are there.
        X : array-like of shape (n_samples, n_features), default=None
            Data to compare with, as the estimator takes them; for a pipeline, images perhaps.
        y : array-like of shape (n_samples,), default=None
            Their classes.
        classes : "auto", array-like or None, default="auto"
            The classes to draw samples of, one after the other, from a `VAEClassifier`. "auto":
            all of them, but of a table with `X` only where `y` says which rows to compare with.
            None: samples without regard to classes, which a `VAETransformer` always draws.
        n_samples : int, default=None
            Number of samples, for each class where they are drawn by class. None is 40 images
            or 1000 rows of a table, of each class 10 images or 500 rows.
        random_state : int, RandomState instance or None, default=None
            None uses the estimator's `random_state`.
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
        box_kwargs : dict, default=None
            Passed to matplotlib's `boxplot`.

        Returns
        -------
        display : SamplesDisplay
            With what is drawn as its attributes.

        Raises
        ------
        ValueError
            If there is no such step, it has no generative model or no such classes, or rows are
            not images of `image_shape`.
        """
        steps = find_steps(estimator)
        vae = steps.vae
        if not hasattr(vae, "sample"):
            raise ValueError(
                f"expected a model that draws samples, got objective={vae.objective!r}, which makes no model of the "
                "rows; use objective='elbo', and for VAEClassifier generative_weight above 0."
            )
        one, _ = _draw(vae, None, 1, 0)
        is_table = steps.as_images(steps.undo(one), image_shape).ndim == 2
        classes = _classes(vae, classes, is_table and X is not None and y is None)
        if n_samples is None and classes is None:
            n_samples = N_ROWS if is_table else N_IMAGES
        elif n_samples is None:
            n_samples = N_ROWS_PER_CLASS if is_table else N_IMAGES_PER_CLASS
        X_sampled, y_sampled = _draw(vae, classes, n_samples, random_state)
        display = cls(
            X_sampled=steps.as_images(steps.undo(X_sampled), image_shape),
            y_sampled=y_sampled,
            X=None if X is None else steps.as_images(steps.shown(X), image_shape),
            y=y,
            feature_names=steps.feature_names() if feature_names is None else feature_names,
        )
        return display.plot(ax, image_kwargs=image_kwargs, box_kwargs=box_kwargs)

    def plot(self, ax=None, *, image_kwargs=None, box_kwargs=None):
        """Plot samples.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        image_kwargs : dict, default=None
            Passed to matplotlib's `imshow`. Grey levels, and those of each colour, reach from
            ``vmin`` to ``vmax``: unless given the range of `X`, or of the middle 98% of the
            samples' values.
        box_kwargs : dict, default=None
            Passed to matplotlib's `boxplot`.

        Returns
        -------
        display : SamplesDisplay
            With what is drawn as its attributes.
        """
        check_matplotlib_support("SamplesDisplay.plot")
        self.image_ = None
        self.boxes_: dict[Any, Any] | None = None
        X_sampled = np.asarray(self.X_sampled, dtype=float)
        by_class = None if self.y_sampled is None else _by_class(X_sampled, self.y_sampled)
        if X_sampled.ndim == 2:
            return self._plot_boxes(ax, X_sampled, by_class, box_kwargs)
        if by_class is None:
            tiles = tile(X_sampled, min(len(X_sampled), 10))
        else:
            n_columns = max(map(len, by_class.values()))
            tiles = np.concatenate([tile(rows, n_columns) for rows in by_class.values()])
        limits = value_range(np.percentile(X_sampled, [1, 99]) if self.X is None else self.X)
        self.ax_ = axes_for(self, ax, mosaic_size(tiles))
        self.figure_ = self.ax_.figure
        self.image_ = draw_mosaic(self.ax_, tiles, limits, image_kwargs)
        label_rows(self.ax_, self.image_, list(by_class or []))
        return self

    def _plot_boxes(self, ax, X_sampled, by_class, box_kwargs):
        """Draw boxes of each column beside each other, the data's before those of the samples."""
        names = column_names(self.feature_names, X_sampled.shape[1])
        center, scale = center_and_scale(np.asarray(X_sampled if self.X is None else self.X, dtype=float))
        groups = self._groups(X_sampled, by_class)
        n_boxes = len(groups) * len(names)
        self.ax_ = axes_for(self, ax, (float(np.clip(0.18 * n_boxes, 6.4, 16)), 4.4))
        self.figure_ = self.ax_.figure
        boxes, width = {}, 0.8 / len(groups)
        for i, (key, (rows, color)) in enumerate(groups.items()):
            at = np.arange(len(names)) + (i + 0.5) * width - 0.4
            defaults = {
                "widths": 0.85 * width,
                "whis": (5, 95),
                "showfliers": False,
                "patch_artist": True,
                "boxprops": {"facecolor": color, "linewidth": 0.6},
                "medianprops": {"color": "k"},
            }
            style = _validate_style_kwargs(defaults, box_kwargs or {})
            boxes[key] = self.ax_.boxplot((rows - center) / scale, positions=at, manage_ticks=False, **style)
        self.boxes_ = boxes
        self._label_boxes(names, boxes)
        return self

    def _groups(self, X_sampled, by_class) -> dict[Any, Any]:
        """Return the rows and the colour of each group of boxes, the data's in a lighter tone, in the order drawn."""
        import matplotlib as mpl

        data = None if self.X is None else np.asarray(self.X, dtype=float)
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

    def _label_boxes(self, names, boxes) -> None:
        label_columns(self.ax_, names)
        for edge in range(len(names) - 1):
            self.ax_.axvline(edge + 0.5, color="0.85", linewidth=0.8)
        self.ax_.set_xlim(-0.5, len(names) - 0.5)
        self.ax_.set_ylabel("standard deviations\nfrom the column's mean")
        self.ax_.legend(
            [drawn["boxes"][0] for drawn in boxes.values()],
            [key if isinstance(key, str) else f"{key[1]}, {key[0]}" for key in boxes],
            loc="upper left",
            bbox_to_anchor=(1, 1),
        )


def _by_class(X_sampled: np.ndarray, y_sampled) -> dict[Any, np.ndarray]:
    """Return the samples of each class, in the order in which the classes come."""
    y = column_or_1d(y_sampled)
    check_consistent_length(X_sampled, y)
    return {label: X_sampled[y == label] for label in dict.fromkeys(y.tolist())}


def _classes(vae, classes, has_no_labels: bool) -> np.ndarray | None:
    """Return the classes to draw samples of, or None for samples without regard to them."""
    is_auto = isinstance(classes, str) and classes == "auto"
    if classes is None or (is_auto and (has_no_labels or not isinstance(vae, VAEClassifier))):
        return None
    if not isinstance(vae, VAEClassifier):
        raise ValueError(f"expected classes=None for a {type(vae).__name__}, which knows no classes, got {classes!r}.")
    return vae.classes_ if is_auto else np.atleast_1d(classes)


def _draw(vae, classes, n_samples: int, random_state) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples in the autoencoder's units, and their classes where they are drawn by class."""
    if classes is not None:
        return vae.sample(y=np.repeat(classes, n_samples), random_state=random_state)
    drawn = vae.sample(n_samples, random_state=random_state)
    return (drawn[0] if isinstance(vae, VAEClassifier) else drawn), None
