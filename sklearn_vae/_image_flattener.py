"""Images as rows, and back."""

from __future__ import annotations

import itertools
import math
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted


class ImageFlattener(TransformerMixin, BaseEstimator):
    """Turn a batch of images into rows of pixels, and rows into images.

    The first step of a pipeline that starts from images. What follows it takes rows, and
    `inverse_transform` of the pipeline gives images again.

    Parameters
    ----------
    channels : {"first", "last"}, default="first"
        Where the channels of four-dimensional input are: (n_samples, n_channels, height,
        width), or (n_samples, height, width, n_channels). Images without channels are
        (n_samples, height, width) either way.

    Attributes
    ----------
    image_shape_ : tuple of int
        (height, width) or (n_channels, height, width), the order of the columns, whatever
        `channels` is: what `sklearn_vae.networks.Conv` takes as its `image_shape`.

    See Also
    --------
    sklearn.feature_extraction.image.PatchExtractor : Cuts images into patches.

    Notes
    -----
    Columns are the pixels in C order of `image_shape_`: the channels one after the other,
    each row by row. The type of the values stays what it is, so that bytes stay bytes, and
    values are not looked at: NaN passes. Nothing is copied where the memory layout allows,
    which it does except for several channels that come last in C order: the results of
    `transform` and `inverse_transform` then are views of their input, and writing to one
    changes the other.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_vae import ImageFlattener, VAETransformer
    >>> images = load_digits().images
    >>> images.shape
    (1797, 8, 8)
    >>> pipeline = make_pipeline(ImageFlattener(), VAETransformer(2, max_iter=3, random_state=0))
    >>> Z = pipeline.fit_transform(images)
    >>> pipeline.inverse_transform(Z).shape
    (1797, 8, 8)
    """

    _parameter_constraints: ClassVar[dict] = {"channels": [StrOptions({"first", "last"})]}

    def __init__(self, channels="first"):
        self.channels = channels

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the images' shape.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images; with ``channels="last"`` (n_samples, height, width, n_channels).
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` has neither three nor four dimensions, or images have no pixel.
        """
        X = self._check_images(X)
        images = self._channels_first(X)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"expected images as an array of shape {self._shapes()}, got shape {X.shape}; a single image goes in "
                "as images[None], and rows of pixels need no ImageFlattener."
            )
        if not images[0].size:
            raise ValueError(f"expected images of at least one pixel, got shape {X.shape}.")
        self.image_shape_ = tuple(map(int, images.shape[1:]))
        return self

    def transform(self, X):
        """Return the images as rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images of the shape that `fit` saw.

        Returns
        -------
        X_rows : ndarray of shape (n_samples, n_channels * height * width)
            Pixels in C order of `image_shape_`, of the type of `X`; a view where possible.
        """
        check_is_fitted(self)
        X = self._check_images(X)
        images = self._channels_first(X)
        if images.shape[1:] != self.image_shape_:
            fitted = self._channels_last(np.empty((0, *self.image_shape_))).shape[1:]
            raise ValueError(
                f"expected images of shape {fitted}, as ImageFlattener was fitted to, got an array of shape {X.shape}; "
                "its first axis is that of the images."
            )
        return images.reshape(len(images), -1)

    def inverse_transform(self, X):
        """Return rows as images.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_channels * height * width)
            Rows, as ``transform`` returns them.

        Returns
        -------
        X_images : ndarray of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images as `fit` saw them, of the type of `X`; a view where possible.
        """
        check_is_fitted(self)
        X = check_array(X, ensure_all_finite=False, estimator=self, input_name="X")
        n_pixels = math.prod(self.image_shape_)
        if X.shape[1] != n_pixels:
            raise ValueError(
                f"expected rows of {n_pixels} columns, the pixels of images of shape {self.image_shape_}, "
                f"got {X.shape[1]}."
            )
        return self._channels_last(X.reshape(len(X), *self.image_shape_))

    def get_feature_names_out(self, input_features=None):
        """Return the columns' names, by the pixels' places.

        Parameters
        ----------
        input_features : None
            Ignored: images have no names of columns.

        Returns
        -------
        names : ndarray of str
            `pixel_<row>_<column>` or `pixel_<channel>_<row>_<column>`.
        """
        check_is_fitted(self)
        places = itertools.product(*map(range, self.image_shape_))
        return np.array(["_".join(["pixel", *map(str, place)]) for place in places], dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_images(self, X) -> np.ndarray:
        """Return an array of numbers; n_features_in_ is not set for images, as nowhere in scikit-learn."""
        return check_array(X, ensure_2d=False, allow_nd=True, ensure_all_finite=False, estimator=self, input_name="X")

    def _channels_first(self, X: np.ndarray) -> np.ndarray:
        return np.moveaxis(X, -1, 1) if self.channels == "last" and X.ndim == 4 else X

    def _channels_last(self, images: np.ndarray) -> np.ndarray:
        """Undo `_channels_first`."""
        return np.moveaxis(images, 1, -1) if self.channels == "last" and images.ndim == 4 else images

    def _shapes(self) -> str:
        four = "n_channels, height, width" if self.channels == "first" else "height, width, n_channels"
        return f"(n_samples, height, width) or (n_samples, {four})"
