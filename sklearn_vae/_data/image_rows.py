"""Rows of pixels that know the shape of their images."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Beginning of the names of an ImageFlattener's columns, before the index of a pixel.
PIXEL = "pixel_"


class ImageRows(np.ndarray):
    """An array of flattened images, with their shape.

    A convolutional network takes the shape from here. Validation and arithmetic make plain arrays of it, so that most
    steps do not pass the shape on.

    Attributes
    ----------
    image_shape : tuple of int, or None
        (height, width) or (channels, height, width); None if there are other columns than the pixels of an image.
    """

    image_shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, rows: np.ndarray, image_shape: tuple[int, ...]) -> ImageRows:
        """Return a view of rows (n_images, n_pixels) with the shape of their images."""
        view = rows.view(cls)
        view.image_shape = image_shape
        return view

    def __array_finalize__(self, source):
        shape = getattr(source, "image_shape", None)
        if shape is not None and self.ndim == 2 and self.shape[1] == math.prod(shape):
            self.image_shape = shape

    def __array_wrap__(self, array, context=None, return_scalar=False):
        """Return results of arithmetic and reductions as plain arrays and numbers."""
        plain = np.asarray(array)
        return plain if plain.ndim else plain[()]

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the shape too."""
        make, args, state = tuple(super().__reduce__())
        return make, args, (state, self.image_shape)

    def __setstate__(self, state):
        array_state, self.image_shape = state
        super().__setstate__(array_state)


def image_shape_of(X) -> tuple[int, ...] | None:
    """Return the shape of the images in rows that an `ImageFlattener` made, as an array or a data frame, or None."""
    if isinstance(X, ImageRows):
        return X.image_shape
    columns = list(getattr(X, "columns", []))
    if not columns or not all(isinstance(name, str) and name.startswith(PIXEL) for name in columns):
        return None
    index = columns[-1].removeprefix(PIXEL).split("_")
    if not all(part.isdecimal() for part in index):
        return None
    shape = tuple(int(part) + 1 for part in index)
    return shape if columns == pixel_names(shape) else None


def pixel_names(image_shape: tuple[int, ...]) -> list[str]:
    """Return the names of the pixels' columns, "pixel_<row>_<column>" or "pixel_<channel>_<row>_<column>"."""
    return [PIXEL + "_".join(map(str, index)) for index in np.ndindex(image_shape)]
