"""Small data, and helpers that read axes."""

import numpy as np
from sklearn.datasets import load_digits, load_iris

FRAME, SPECIES = load_iris(as_frame=True, return_X_y=True)
SPECIES = np.array(["setosa", "versicolor", "virginica"], dtype=object)[SPECIES]
IMAGES, DIGITS = load_digits().images[:120], load_digits().target[:120]
TINY = {"hidden_layer_sizes": (8,), "max_iter": 2, "random_state": 0}


def tiles(image, n_rows, n_columns):
    """Cut a mosaic of 8 x 8 images with a border of one pixel, (n_rows, n_columns, 8, 8)."""
    return np.asarray(image.get_array()).reshape(n_rows, 9, n_columns, 9).swapaxes(1, 2)[:, :, :8, :8]


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def ticks(axis):
    """Return the labels of an x or y axis."""
    return [label.get_text() for label in axis.get_ticklabels()]
