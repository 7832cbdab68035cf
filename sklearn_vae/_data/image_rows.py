"""Rows of pixels that know the shape of their images."""

from __future__ import annotations

from typing import Any

import numpy as np


class ImageRows(np.ndarray):
    """An array of flattened images, with their shape.

    A convolutional network takes the shape from here. Validation makes a plain array of it, so that the shape is known
    to the step right after an `ImageFlattener` only.

    Attributes
    ----------
    image_shape : tuple of int, or None
        (height, width) or (channels, height, width).
    """

    image_shape: tuple[int, ...] | None = None

    @classmethod
    def of(cls, rows: np.ndarray, image_shape: tuple[int, ...]) -> ImageRows:
        """Return a view of rows (n_images, n_pixels) with the shape of their images."""
        view = rows.view(cls)
        view.image_shape = image_shape
        return view

    def __array_finalize__(self, source):
        self.image_shape = getattr(source, "image_shape", None)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the shape too."""
        make, args, state = tuple(super().__reduce__())
        return make, args, (state, self.image_shape)

    def __setstate__(self, state):
        array_state, self.image_shape = state
        super().__setstate__(array_state)
