"""The transformations between the input of a fitted estimator, its VAE step and the displayed data."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from sklearn.utils import check_array

from sklearn_vae._classifier import VAEClassifier
from sklearn_vae._data.devices import isolated
from sklearn_vae._data.sparse_rows import Matrix
from sklearn_vae._data.table import is_frame
from sklearn_vae._data.table_column import Column
from sklearn_vae._image_flattener import ImageFlattener
from sklearn_vae._model.vae import VAE
from sklearn_vae._steps import PipelineSteps, check_draws_samples
from sklearn_vae.displays._drawing import column_names
from sklearn_vae.displays._images import to_images
from sklearn_vae.networks import Conv
from sklearn_vae.networks.conv import check_image_shape
from sklearn_vae.objectives import NeighborEmbedding


class DisplayedSteps(PipelineSteps):
    """The steps of a pipeline, and what displays show of its data.

    Displays show data after the `kept` steps. The inverses of the `undone` steps bring decoded
    rows back to this stage, e.g. to images or original units. A data frame of mixed columns is
    shown as the matrix that the VAE encodes it as, with a column for each category; all steps before
    the VAE are then kept.
    """

    @classmethod
    def of(cls, estimator) -> Self:
        """Return the steps; see `PipelineSteps.of`."""
        steps = super().of(estimator)
        return steps if steps.vae._table is None else cls(steps.vae, [*steps.kept, *steps.undone], [])

    def after_kept(self, X) -> Any:
        """Return the data after the kept steps, or X itself without such steps."""
        for step in self.kept:
            X = step.transform(X)
        return X

    def shown(self, X) -> Any:
        """Return the data after the kept steps; a data frame of mixed columns as a matrix."""
        X = self.after_kept(X)
        if self.vae._table is None:
            return X
        with isolated(self.vae.n_jobs):
            return self.vae._check_new_rows(X)

    def encode(self, shown) -> np.ndarray:
        """Return the latent codes (n_samples, n_components) of data that `shown` has returned."""
        with isolated(self.vae.n_jobs):
            return self.vae._encode(self._rows(shown))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Return the decoded means of latent codes, at the stage of `shown`."""
        with isolated(self.vae.n_jobs):
            return np.asarray(self.undo(self.vae._decode(Z)))

    def reconstruct(self, shown) -> np.ndarray:
        """Return the decoded means of data that `shown` has returned, given the totals of count rows."""
        with isolated(self.vae.n_jobs):
            rows = self.vae._fitted_model.inference.map(VAE.reconstruct_rows, self._rows(shown))
            return np.asarray(self.undo(rows))

    def sample(self, n_samples: int, random_state) -> Any:
        """Draw samples, from all classes of a classifier, at the stage of `after_kept`.

        Raises
        ------
        ValueError
            If the model does not draw samples.
        """
        check_draws_samples(self.vae)
        samples = self.vae.sample(n_samples, random_state=random_state)
        samples = samples[0] if isinstance(self.vae, VAEClassifier) else samples
        return np.asarray(self.undo(samples)) if self.vae._table is None else samples

    def show_samples(self, samples) -> np.ndarray:
        """Transform samples of the VAE back to the stage of `shown`."""
        return np.asarray(self.undo(samples if self.vae._table is None else self.vae._table.encode(samples)))

    def _rows(self, shown) -> Matrix:
        """Return the rows of the VAE for data that `shown` has returned."""
        for step in self.undone:
            shown = step.transform(shown)
        return shown if self.vae._table is not None else self.vae._check_new_rows(shown)

    def as_images(self, shown, image_shape) -> np.ndarray:
        """Return images (n_samples, height, width[, 3]) if `shown` or `image_shape` has images, else a table."""
        if issparse(shown):
            raise ValueError(
                "expected dense rows to draw, got a sparse matrix before the invertible steps; pass X.toarray(), or of "
                "a pipeline the later steps pipeline[n:] with the dense output of pipeline[:n]."
            )
        shown = check_array(shown, ensure_all_finite="allow-nan") if is_frame(shown) else np.asarray(shown)
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

    def is_map(self) -> bool:
        """Return whether distances between codes are those of a neighbour embedding, in one unit for all components."""
        return isinstance(self.vae._architecture.generative_objective, NeighborEmbedding)

    def feature_names(self, given: Any = None) -> Any:
        """Return the names of the features, or None if the steps have none.

        Columns of a data frame of mixed columns that have no category are left out.

        Parameters
        ----------
        given : sequence of str or None
            Names that a user gives to all features.
        """
        if self.vae._table is None:
            return self._names() if given is None else given
        columns = self.vae._table.columns
        names = column_names([column.name for column in columns] if given is None else given, len(columns))
        return [name for name, column in zip(names, columns, strict=True) if column.stop > column.start]

    def column_labels(self, given: Any = None) -> Any:
        """Return the names of the columns of `shown`: those of the features, and "name = category" for categories."""
        names = self.feature_names(given)
        if self.vae._table is None or names is None:
            return names
        return [
            label for name, column in zip(names, self._columns(), strict=True) for label in _labels(str(name), column)
        ]

    def block_sizes(self) -> list[int] | None:
        """Return the number of columns of `shown` that each feature takes; None if each takes one."""
        return None if self.vae._table is None else [column.stop - column.start for column in self._columns()]

    def kinds(self) -> list[str] | None:
        """Return what the decoded columns are, as `Likelihood.kinds_of_means` does; None if all are numbers."""
        if self.undone:
            # The likelihood describes columns that their inverses change.
            return None
        architecture = self.vae._architecture
        kinds = architecture.likelihood.kinds_of_means(architecture.n_features)
        return None if set(kinds) == {"number"} else kinds

    def _columns(self) -> list[Column]:
        """Return the columns of the data frame that are shown."""
        assert self.vae._table is not None
        return [column for column in self.vae._table.columns if column.stop > column.start]

    def _names(self) -> np.ndarray | None:
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
            shape = check_image_shape(architecture.network.image_shape, n_columns)
            # A series has height 1 and is no image.
            return shape if shape[1] > 1 else None
        return None


def _labels(name: str, column: Column) -> list[str]:
    """Return a label for each column of the matrix that a column of a data frame takes."""
    return [f"{name} = {category}" for category in column.categories] if column.kind == "category" else [name]
