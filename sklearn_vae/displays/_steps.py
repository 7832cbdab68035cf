"""The VAE step of a fitted estimator, and the transformations between its input and the displayed data."""

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

# Transformers whose `inverse_transform` is invalid for decoded means.
INVALID_FOR_MEANS = (SimpleImputer, OneHotEncoder, OrdinalEncoder, KBinsDiscretizer, CountVectorizer, DictVectorizer)


@dataclass(frozen=True)
class PipelineSteps:
    """A fitted VAE and the steps before it, split at the last step without a valid inverse.

    Displays show data after the `kept` steps. The inverses of the `undone` steps bring decoded
    rows back to this stage, e.g. to images or original units.

    Attributes
    ----------
    vae : BaseVAE
        Fitted estimator.
    kept : list of transformers
        First steps, up to the last one without a valid inverse.
    undone : list of transformers
        Remaining steps before the VAE. Their `inverse_transform` is valid for decoded rows.
    """

    vae: BaseVAE
    kept: list[Any]
    undone: list[Any]

    def shown(self, X) -> Any:
        """Return the data after the kept steps: an array, or X itself without such steps."""
        for step in self.kept:
            X = step.transform(X)
        return X

    def encode(self, shown) -> np.ndarray:
        """Return the latent codes (n_samples, n_components) of data that `shown` has returned."""
        for step in self.undone:
            shown = step.transform(shown)
        return np.asarray(self.vae.transform(shown))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Return the decoded means of latent codes, at the stage of `shown`."""
        return self.undo(self.vae.inverse_transform(Z))

    def undo(self, rows) -> np.ndarray:
        """Transform rows from the units of the VAE back to the stage of `shown`."""
        for step in reversed(self.undone):
            rows = step.inverse_transform(rows)
        return np.asarray(rows)

    def as_images(self, shown, image_shape) -> np.ndarray:
        """Return images (n_samples, height, width[, 3]) if `shown` or `image_shape` has images, else a table."""
        if issparse(shown):
            raise ValueError(
                "expected dense rows to draw, got a sparse matrix before the invertible steps; pass the later steps "
                "pipeline[n:] to the display, with the dense output of pipeline[:n]."
            )
        shown = np.asarray(shown)
        if shown.ndim < 2:
            raise ValueError(
                f"expected rows as a two-dimensional array or images, got shape {shown.shape}; pass one row as X[:1]."
            )
        if shown.ndim == 2:
            image_shape = self._image_shape(shown.shape[1]) if image_shape is None else image_shape
        return to_images(shown, image_shape)

    def activity(self, Z: np.ndarray) -> np.ndarray:
        """Return the KL divergence of each component, or without a KL term the variance of its codes."""
        return getattr(self.vae, "kl_per_component_", Z.var(axis=0))

    def feature_names(self) -> np.ndarray | None:
        """Return the column names of a table, or None if the steps have none."""
        first = [*self.undone, self.vae][0]
        if hasattr(first, "feature_names_in_") or not self.kept:
            return getattr(first, "feature_names_in_", None)
        try:
            return Pipeline([(str(i), step) for i, step in enumerate(self.kept)]).get_feature_names_out()
        except (AttributeError, NotFittedError, ValueError):
            return None

    def _image_shape(self, n_columns: int) -> tuple[int, ...] | None:
        """Return the image shape of an ImageFlattener or Conv network for rows with `n_columns` values, else None."""
        for step in self.kept:
            if isinstance(step, ImageFlattener) and math.prod(step.image_shape_) == n_columns:
                return step.image_shape_
        architecture = self.vae._architecture
        if isinstance(architecture.network, Conv) and architecture.n_features == n_columns:
            return check_image_shape(architecture.network.image_shape, n_columns)
        return None


def find_steps(estimator) -> PipelineSteps:
    """Return the VAE step of a fitted estimator, pipeline or search, and the steps before it.

    Raises
    ------
    ValueError
        If there is no VAE step.
    NotFittedError
        If the estimator is not fitted.
    """
    steps = list(_flat(estimator))
    position = next((i for i, step in enumerate(steps) if isinstance(step, BaseVAE)), None)
    if position is None:
        came = f"data, a {type(estimator).__name__}" if hasattr(estimator, "shape") else repr(estimator)
        raise ValueError(
            "expected a VAETransformer or VAEClassifier, or a pipeline or search with one of them as a step, got "
            f"{came}; the estimator is the first argument."
        )
    vae, before = steps[position], steps[:position]
    check_is_fitted(vae)
    n_kept = max((i + 1 for i, step in enumerate(before) if not _is_invertible(step)), default=0)
    return PipelineSteps(vae, before[:n_kept], before[n_kept:])


def _flat(estimator) -> Iterator[Any]:
    """Yield the steps of an estimator, including those of nested pipelines and of best estimators of searches."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            yield from _flat(step)
    elif hasattr(estimator, "best_estimator_"):
        yield from _flat(estimator.best_estimator_)
    elif hasattr(estimator, "estimator") and hasattr(estimator, "refit"):
        raise NotFittedError(f"expected a fitted search with refit=True, got {estimator!r}; call fit first.")
    elif estimator is not None and not isinstance(estimator, str):
        yield estimator


def _is_invertible(step) -> bool:
    """Return whether `inverse_transform` of a step is valid for decoded rows."""
    if isinstance(step, FunctionTransformer):
        # Without an inverse function, its `inverse_transform` returns its input unchanged.
        return step.func is None or step.inverse_func is not None
    return hasattr(step, "inverse_transform") and not isinstance(step, INVALID_FOR_MEANS)
