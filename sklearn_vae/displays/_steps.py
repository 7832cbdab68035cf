"""The autoencoder inside a fitted estimator, and the way from data to it and back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, OrdinalEncoder
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._base import BaseVAE
from sklearn_vae._image_flattener import ImageFlattener
from sklearn_vae.displays._images import to_images
from sklearn_vae.networks import Conv
from sklearn_vae.networks.conv import check_image_shape

# Their inverse takes what they returned, not means of it, and what was missing they do not know.
OF_OTHER_VALUES = (SimpleImputer, OneHotEncoder, OrdinalEncoder, KBinsDiscretizer, CountVectorizer, DictVectorizer)


@dataclass(frozen=True)
class Steps:
    """A fitted autoencoder and the steps before it.

    Displays show rows as they are between the two groups of steps: the last ones that can be
    undone are, so that decoded rows come back as the images or in the units that went in.

    Attributes
    ----------
    vae : BaseVAE
    kept : list of transformers
        The first steps, up to the last one that cannot be undone.
    undone : list of transformers
        The steps after these; all have an `inverse_transform` that is one for decoded rows.
    """

    vae: BaseVAE
    kept: list[Any]
    undone: list[Any]

    def shown(self, X) -> Any:
        """Return data as displays show them: an array, or a frame where nothing is done to one."""
        for step in self.kept:
            X = step.transform(X)
        return X

    def encode(self, shown) -> np.ndarray:
        """Return codes (n_samples, n_components) of what `shown` returns."""
        for step in self.undone:
            shown = step.transform(shown)
        return np.asarray(self.vae.transform(shown))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Return the decoder's means for codes, as `shown` has them."""
        return self.undo(self.vae.inverse_transform(Z))

    def undo(self, rows) -> np.ndarray:
        """Return rows in the autoencoder's units as `shown` has them."""
        for step in reversed(self.undone):
            rows = step.inverse_transform(rows)
        return np.asarray(rows)

    def as_images(self, shown, image_shape) -> np.ndarray:
        """Return `shown` as images (n_samples, height, width[, 3]) where it is images, otherwise as a table."""
        if issparse(shown):
            raise ValueError(
                "expected dense rows to draw, got a sparse matrix before the steps that can be undone; give the "
                "display the steps that follow, pipeline[n:], and the dense rows that pipeline[:n] makes."
            )
        shown = np.asarray(shown)
        if shown.ndim < 2:
            raise ValueError(
                f"expected rows as an array of two axes or images, got shape {shown.shape}; one row goes in as X[:1]."
            )
        if shown.ndim == 2:
            image_shape = self._image_shape(shown.shape[1]) if image_shape is None else image_shape
        return to_images(shown, image_shape)

    def activity(self, Z: np.ndarray) -> np.ndarray:
        """Return how active each component is: its KL, or the variance of its codes where there is none."""
        return getattr(self.vae, "kl_per_component_", Z.var(axis=0))

    def feature_names(self) -> np.ndarray | None:
        """Return the names of a table's columns, where the steps know them."""
        first = [*self.undone, self.vae][0]
        if hasattr(first, "feature_names_in_") or not self.kept:
            return getattr(first, "feature_names_in_", None)
        try:
            return Pipeline([(str(i), step) for i, step in enumerate(self.kept)]).get_feature_names_out()
        except (AttributeError, NotFittedError, ValueError):
            return None

    def _image_shape(self, n_columns: int) -> tuple[int, ...] | None:
        """Return the shape that a step or the network knows, if rows of this length have it."""
        for step in self.kept:
            if isinstance(step, ImageFlattener) and math.prod(step.image_shape_) == n_columns:
                return step.image_shape_
        architecture = self.vae._architecture
        if isinstance(architecture.network, Conv) and architecture.n_features == n_columns:
            return check_image_shape(architecture.network.image_shape, n_columns)
        return None


def find_steps(estimator) -> Steps:
    """Return the autoencoder of a fitted estimator, pipeline or search, and the steps before it.

    Raises
    ------
    ValueError
        If there is none.
    NotFittedError
        If it is not fitted.
    """
    steps = list(_flat(estimator))
    place = next((i for i, step in enumerate(steps) if isinstance(step, BaseVAE)), None)
    if place is None:
        came = f"data, a {type(estimator).__name__}" if hasattr(estimator, "shape") else repr(estimator)
        raise ValueError(
            "expected a VAETransformer or VAEClassifier, or a pipeline or search with one of them as a step, got "
            f"{came}; the estimator is the first argument."
        )
    vae, before = steps[place], steps[:place]
    check_is_fitted(vae)
    n_kept = max((i + 1 for i, step in enumerate(before) if not _can_be_undone(step)), default=0)
    return Steps(vae, before[:n_kept], before[n_kept:])


def _flat(estimator) -> Iterator[Any]:
    """Yield the steps of nested pipelines and of the best estimator of searches."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _flat(step)
    elif hasattr(estimator, "best_estimator_"):
        yield from _flat(estimator.best_estimator_)
    elif hasattr(estimator, "estimator") and hasattr(estimator, "refit"):
        raise NotFittedError(f"expected a fitted search with refit=True, got {estimator!r}; call fit first.")
    elif estimator is not None and not isinstance(estimator, str):
        yield estimator


def _can_be_undone(step) -> bool:
    if isinstance(step, FunctionTransformer):
        # It has the method without an inverse function too, and then returns rows as they are.
        return step.func is None or step.inverse_func is not None
    return hasattr(step, "inverse_transform") and not isinstance(step, OF_OTHER_VALUES)
