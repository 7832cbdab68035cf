"""Colours of the columns of a table along latent components: rows of one image, or a panel for each column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils._plotting import _validate_style_kwargs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Range and colours of probabilities.
PROBABILITIES = {"cmap": "viridis", "vmin": 0.0, "vmax": 1.0, "aspect": "auto"}
# Keyword arguments of `imshow` that set the colours of numbers only.
COLORS = ("cmap", "vmin", "vmax", "norm")


def draw_lines(
    ax: Axes, decoded: np.ndarray, is_probability: np.ndarray, image_kwargs: dict[str, Any]
) -> list[AxesImage]:
    """Draw a row of colours for each column, with the traversals of all components side by side.

    Parameters
    ----------
    ax : Axes
    decoded : ndarray of shape (n_components, n_steps, n_columns)
        Standardised numbers, and probabilities.
    is_probability : ndarray of bool of shape (n_columns,)
    image_kwargs : dict

    Returns
    -------
    images : list of AxesImage
        The image of the numbers, and that of the probabilities; one of them if there are no others.
    """
    n_components, _, n_columns = decoded.shape
    gaps = np.full((n_components, 1, n_columns), np.nan)
    image = np.concatenate([decoded, gaps], axis=1).reshape(-1, n_columns).T[:, :-1]
    images = []
    if not is_probability.all():
        numbers = np.where(is_probability[:, None], np.nan, image)
        images.append(ax.imshow(numbers, **diverging(numbers, image_kwargs)))
    if is_probability.any():
        images.append(ax.imshow(np.where(is_probability[:, None], image, np.nan), **sequential(image_kwargs)))
    return images


def draw_panels(
    panels: np.ndarray, decoded: np.ndarray, is_probability: np.ndarray, image_kwargs: dict[str, Any]
) -> list[AxesImage]:
    """Draw each column over the plane of two components.

    Parameters
    ----------
    panels : ndarray of Axes of shape (n_columns,)
    decoded : ndarray of shape (n_steps, n_steps, n_columns)
        Standardised numbers, and probabilities.
    is_probability : ndarray of bool of shape (n_columns,)
    image_kwargs : dict

    Returns
    -------
    images : list of AxesImage
        The image of each panel.
    """
    of_numbers = diverging(decoded[..., ~is_probability], image_kwargs)
    styles = [sequential(image_kwargs) if own else of_numbers for own in is_probability]
    return [panel.imshow(decoded[..., i], **styles[i]) for i, panel in enumerate(panels)]


def diverging(image: np.ndarray, image_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `imshow` arguments with a diverging colour map that is symmetric around 0."""
    largest = max(float(np.fmax.reduce(np.abs(image), axis=None, initial=0.0)), 1e-6)
    defaults = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "aspect": "auto"}
    return _validate_style_kwargs(defaults, image_kwargs)


def sequential(image_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return `imshow` arguments for probabilities, whose colours are always the same."""
    return {**PROBABILITIES, **{key: value for key, value in image_kwargs.items() if key not in COLORS}}
