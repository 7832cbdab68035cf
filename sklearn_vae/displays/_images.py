"""Image arrays, and mosaics that draw many images as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.networks.mlp import check_sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Length of the longer side of an image in a mosaic, in inches.
TILE_SIZE = 0.65
# Maximum width and height of a mosaic, in inches.
MAX_MOSAIC_SIZE = 11.0


def to_images(X: np.ndarray, image_shape) -> np.ndarray:
    """Reshape rows to images, (n_samples, height, width) or (n_samples, height, width, 3).

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_columns) or (n_samples, *image_shape)
    image_shape : tuple of int or None
        (height, width), (channels, height, width) or (height, width, channels), with one or
        three channels. None returns `X` as a table if it has two dimensions.

    Raises
    ------
    ValueError
        If rows have another number of values, or `image_shape` is not the shape of an image.
    """
    if X.ndim == 2 and image_shape is None:
        return X
    sizes = X.shape[1:] if image_shape is None else check_sizes(image_shape, "image_shape")
    if math.prod(sizes) != math.prod(X.shape[1:]):
        raise ValueError(
            f"expected image_shape to have as many pixels as rows have columns, {math.prod(X.shape[1:])}, "
            f"got image_shape={sizes}, which makes {math.prod(sizes)}."
        )
    if len(sizes) not in (2, 3) or (len(sizes) == 3 and not {1, 3} & {sizes[0], sizes[-1]}):
        raise ValueError(
            "expected images of shape (height, width), or with one or three channels first or last, as (3, height, "
            f"width), got {sizes}."
        )
    images = X.reshape(len(X), *sizes)
    if len(sizes) == 3 and sizes[0] in (1, 3):
        images = np.moveaxis(images, 1, -1)
    return images[..., 0] if images.ndim == 4 and images.shape[-1] == 1 else images


def value_range(images: np.ndarray) -> tuple[float, float]:
    """Return the minimum and the maximum; for constant images, the minimum and the minimum plus 1. NaN do not count."""
    low, high = float(np.fmin.reduce(images, axis=None)), float(np.fmax.reduce(images, axis=None))
    return low, high if high > low else low + 1.0


def tile(images: np.ndarray, n_columns: int) -> np.ndarray:
    """Arrange images (n_images, ...) in rows of `n_columns`; NaN fills the last row."""
    n_rows = -(-len(images) // n_columns)
    filled = np.full((n_rows * n_columns, *images.shape[1:]), np.nan)
    filled[: len(images)] = images
    return filled.reshape(n_rows, n_columns, *images.shape[1:])


def mosaic(tiles: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Join tiles to one image; borders are NaN, or white for colour images.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows, n_columns, height, width) or (n_rows, n_columns, height, width, 3)
    limits : tuple of float
        Values of colour images that are mapped to 0 and 1. Values outside are clipped.

    Returns
    -------
    image : ndarray of shape (height, width) or (height, width, 3)
        Half of each border is before a tile and half after it, so tiles have equal distances.
    """
    border = border_width(tiles)
    before, after = border // 2, border - border // 2
    pad = [(0, 0), (0, 0), (before, after), (before, after)] + [(0, 0)] * (tiles.ndim - 4)
    padded = np.pad(tiles.astype(float), pad, constant_values=np.nan)
    n_rows, n_columns, height, width = padded.shape[:4]
    image = padded.swapaxes(1, 2).reshape(n_rows * height, n_columns * width, *tiles.shape[4:])
    if image.ndim == 2:
        return image
    return to_unit_range(image, limits)


def to_unit_range(image: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Return the values of colour images as matplotlib takes them, from 0 at limits[0] to 1 at limits[1]; NaN is 1."""
    return np.nan_to_num(((image - limits[0]) / (limits[1] - limits[0])).clip(0, 1), nan=1.0)


def border_width(tiles: np.ndarray) -> int:
    """Return the width of the border between tiles, in pixels."""
    return max(1, max(tiles.shape[2:4]) // 16)


def mosaic_size(tiles: np.ndarray) -> tuple[float, float]:
    """Return the width and height of a figure for a mosaic of tiles, in inches."""
    n_rows, n_columns, height, width = tiles.shape[:4]
    longer = max(height, width)
    size = np.array([n_columns * width / longer, n_rows * height / longer]) * TILE_SIZE
    size = size * min(1.0, MAX_MOSAIC_SIZE / size.max()) + (1.4, 0.6)
    return max(size[0], 4.0), size[1]


def draw_mosaic(
    ax: Axes, tiles: np.ndarray, limits: tuple[float, float], image_kwargs: dict[str, Any] | None = None
) -> AxesImage:
    """Draw tiles (n_rows, n_columns, height, width[, 3]) as one image; `limits` are the values of black and white."""
    defaults = {"cmap": "gray", "vmin": limits[0], "vmax": limits[1]}
    style = _validate_style_kwargs(defaults, image_kwargs or {})
    image = ax.imshow(mosaic(tiles, (style["vmin"], style["vmax"])), **style)
    ax.spines[:].set_visible(False)
    return image


def label_rows(ax: Axes, image: AxesImage, labels: Sequence[Any]) -> None:
    """Label each row of tiles and remove all other ticks."""
    step = image.get_size()[0] / max(len(labels), 1)
    ax.set_xticks([])
    ax.set_yticks(step * (np.arange(len(labels)) + 0.5) - 0.5, labels)
    ax.tick_params(length=0)
