"""Transformer between images and rows of pixels."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, _fit_context
from sklearn.utils import check_array
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._data.image_rows import ImageRows, pixel_names


class ImageFlattener(TransformerMixin, BaseEstimator):
    """Flatten images to rows of pixels, and restore images from rows.

    An ImageFlattener is the first step of a pipeline that takes images. The later steps get
    rows, and ``inverse_transform`` of the pipeline returns images.

    Parameters
    ----------
    channels : {"first", "last"}, default="first"
        Position of the channel axis in four-dimensional input. "first": shape (n_samples,
        n_channels, height, width). "last": shape (n_samples, height, width, n_channels).
        Images without channels have shape (n_samples, height, width) in both cases.

    Attributes
    ----------
    image_shape_ : tuple of int
        Shape (height, width) or (n_channels, height, width) of an image, independent of
        `channels`. Columns are in C order of this shape. It is a valid `image_shape` for
        `sklearn_vae.networks.Conv`.

    See Also
    --------
    sklearn.feature_extraction.image.PatchExtractor : Extract patches from images.

    Notes
    -----
    Columns are the pixels in C order of `image_shape_`: one channel after the other, each row
    by row. The dtype does not change, so uint8 images give uint8 rows. Values are not
    validated, and NaN is allowed.

    ``transform`` and ``inverse_transform`` return views of their input where the memory layout
    allows it; writing to the result then changes the input. They copy C-ordered images with
    several channels in the last axis.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn_vae import ImageFlattener, VAETransformer
    >>> images = load_digits().images
    >>> images.shape
    (1797, 8, 8)
    >>> pipeline = make_pipeline(ImageFlattener(), VAETransformer(2, max_iter=3, early_stopping=False, random_state=0))
    >>> Z = pipeline.fit_transform(images)
    >>> pipeline.inverse_transform(Z).shape
    (1797, 8, 8)
    """

    _parameter_constraints: ClassVar[dict] = {"channels": [StrOptions({"first", "last"})]}

    def __init__(self, channels="first"):
        self.channels = channels

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None):
        """Learn the shape of the images.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images. With ``channels="last"``, the second shape is (n_samples, height, width,
            n_channels).
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.

        Raises
        ------
        ValueError
            If `X` does not have three or four dimensions, or if images have no pixels.
        """
        X = self._check_images(X)
        images = self._channels_first(X)
        if images.ndim not in (3, 4):
            raise ValueError(
                f"expected images as an array of shape {self._shapes()}, got shape {X.shape}; pass a single image "
                "as image[None]. Rows of pixels need no ImageFlattener."
            )
        if not images[0].size:
            raise ValueError(f"expected images of at least one pixel, got shape {X.shape}.")
        self.image_shape_ = tuple(map(int, images.shape[1:]))
        return self

    def transform(self, X):
        """Flatten images to rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images of the shape seen in ``fit``.

        Returns
        -------
        X_rows : ndarray of shape (n_samples, n_channels * height * width)
            Pixels in C order of `image_shape_`, with the dtype of `X`; a view of `X` if possible. A VAE with
            network="conv" takes the shape of the images from this array, or from the names of its columns in a data
            frame (`set_output`), if it is the next step.
        """
        check_is_fitted(self)
        X = self._check_images(X)
        images = self._channels_first(X)
        if images.shape[1:] != self.image_shape_:
            fitted = self._channels_last(np.empty((0, *self.image_shape_))).shape[1:]
            raise ValueError(
                f"expected images of shape {fitted}, as ImageFlattener was fitted to, got an array of shape {X.shape}; "
                "the first axis must be n_samples."
            )
        return ImageRows.of(images.reshape(len(images), -1), self.image_shape_)

    def inverse_transform(self, X):
        """Restore images from rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_channels * height * width)
            Rows in the format of ``transform``.

        Returns
        -------
        X_images : ndarray of shape (n_samples, height, width) or (n_samples, n_channels, height, width)
            Images in the format seen in ``fit``, with the dtype of `X`; a view of `X` if possible.
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
        """Return column names, which contain the index of each pixel.

        Parameters
        ----------
        input_features : None
            Ignored, because images have no column names.

        Returns
        -------
        names : ndarray of str
            Names `pixel_<row>_<column>` or `pixel_<channel>_<row>_<column>`.
        """
        check_is_fitted(self)
        return np.array(pixel_names(self.image_shape_), dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_images(self, X) -> np.ndarray:
        """Return a numeric array. Like scikit-learn for images, do not set n_features_in_."""
        return check_array(X, ensure_2d=False, allow_nd=True, ensure_all_finite=False, estimator=self, input_name="X")

    def _channels_first(self, X: np.ndarray) -> np.ndarray:
        """Move the channel axis from the last to the second position with channels="last"."""
        return np.moveaxis(X, -1, 1) if self.channels == "last" and X.ndim == 4 else X

    def _channels_last(self, images: np.ndarray) -> np.ndarray:
        """Undo `_channels_first`."""
        return np.moveaxis(images, 1, -1) if self.channels == "last" and images.ndim == 4 else images

    def _shapes(self) -> str:
        """Return the accepted input shapes for error messages."""
        four = "n_channels, height, width" if self.channels == "first" else "height, width, n_channels"
        return f"(n_samples, height, width) or (n_samples, {four})"
