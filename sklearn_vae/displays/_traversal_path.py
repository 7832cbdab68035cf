"""Decoded images along a path over a map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

from sklearn_vae.displays._images import to_unit_range

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import BboxImage
    from matplotlib.lines import Line2D

# Smallest and largest length of the longer side of an image, in points. Between them, images on a straight path do not
# overlap.
IMAGE_SIZES = (16.0, 40.0)
# Share of the distance between two codes that an image takes, and distance of the images from the path, in points.
IMAGE_SHARE, IMAGE_GAP = 0.85, 5.0


def draw_images_along(
    ax: Axes, codes: np.ndarray, images: np.ndarray, limits: tuple[float, float], image_kwargs: dict[str, Any] | None
) -> tuple[Line2D, list[BboxImage]]:
    """Draw a line with a dot at each code, and a framed image beside each of them.

    Axes that already have a map keep its limits.

    Parameters
    ----------
    ax : Axes
    codes : ndarray of shape (n_steps, 2)
    images : ndarray of shape (n_steps, height, width) or (n_steps, height, width, 3)
    limits : tuple of float
        Values of black and white.
    image_kwargs : dict or None
        Keyword arguments of `imshow`.
    """
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=4, foreground="white")]
    dots: dict[str, Any] = {"marker": "o", "markersize": 3.5, "path_effects": outline}
    scaled = not ax.has_data()
    if scaled:
        # Images beside the ends of the path.
        ax.margins(0.2)
    (line,) = ax.plot(*codes.T, color="0.1", linewidth=1.2, zorder=3, scalex=scaled, scaley=scaled, **dots)
    style = _validate_style_kwargs({"cmap": "gray", "vmin": limits[0], "vmax": limits[1]}, image_kwargs or {})
    if images.ndim == 4:
        images = to_unit_range(images, (style["vmin"], style["vmax"]))
    # Positions depend on limits and an aspect, which matplotlib sets when it draws.
    ax.autoscale_view()
    ax.apply_aspect()
    at = ax.transData.transform(codes) * 72 / ax.figure.get_dpi()
    size = _image_size(at)
    offsets = (size / 2 + IMAGE_GAP) * _beside(at)
    zoom = size / max(images.shape[1:3])
    drawn = zip(codes, offsets, images, strict=True)
    return line, [_draw_image(ax, code, offset, image, zoom, style) for code, offset, image in drawn]


def _image_size(at: np.ndarray) -> float:
    """Return the length of the longer side of images for positions (n_steps, 2), all in points."""
    # Squares overlap unless they are apart by their length on one of the axes.
    gap = np.abs(np.diff(at, axis=0)).max(axis=1).min()
    return float(np.clip(IMAGE_SHARE * gap, *IMAGE_SIZES))


def _beside(at: np.ndarray) -> np.ndarray:
    """Return the directions from positions to images on one side of the path: above it, where it is horizontal.

    Parameters
    ----------
    at : ndarray of shape (n_steps, 2)

    Returns
    -------
    directions : ndarray of shape (n_steps, 2)
        Normals of the path, longer on the diagonal, so that squares around their ends keep off the path.
    """
    along = np.gradient(at, axis=0)
    normals = np.stack([-along[:, 1], along[:, 0]], axis=1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 1.0])
    normals = normals * np.abs(normals).sum(axis=1, keepdims=True)
    # A side for all: the upper one, or of a vertical path the left one.
    middle = normals.mean(axis=0)
    return normals if (middle[1], -middle[0]) >= (-1e-9, 0) else -normals


def _draw_image(
    ax: Axes, code: np.ndarray, offset: np.ndarray, image: np.ndarray, zoom: float, style: dict[str, Any]
) -> BboxImage:
    """Draw an image beside a code; `offset` is in points and `zoom` in points per pixel."""
    from matplotlib.colors import Normalize
    from matplotlib.offsetbox import AnnotationBbox, OffsetImage

    others = {name: value for name, value in style.items() if name not in ("vmin", "vmax")}
    offset_image = OffsetImage(image, zoom=zoom, **{"norm": Normalize(style["vmin"], style["vmax"]), **others})
    frame = {"edgecolor": "0.4", "linewidth": 0.6}
    place: dict[str, Any] = {"xybox": offset, "boxcoords": "offset points", "pad": 0.1, "zorder": 3.5}
    ax.add_artist(AnnotationBbox(offset_image, (code[0], code[1]), bboxprops=frame, **place))
    return offset_image.image
