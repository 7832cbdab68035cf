"""Mixin of the estimators that return latent variables."""

from __future__ import annotations

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_vae._data.devices import isolate


class LatentTransformerMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods ``transform`` and ``inverse_transform``, which encode rows and decode latent variables."""

    @isolate
    def transform(self, X):
        """Return the posterior mean of each row.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Means of q(z|x), multiplied by `latent_scale_` if whiten=False. The values of a
            row do not depend on the other rows.
        """
        return self._encode(self._check_new_rows(X))

    @isolate
    def inverse_transform(self, Z):
        """Decode latent variables to the mean of p(x|z).

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            Latent variables, on the scale that ``transform`` returns.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), or data frame
            Means of p(x|z), in the units of the training data. If the estimator was fitted to a
            data frame with other columns than numbers, a frame with the same columns and dtypes:
            integers are rounded, and categories and booleans are the most probable ones.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z", order="C")
        n_components = self._architecture.n_components
        if Z.shape[1] != n_components:
            raise ValueError(
                f"expected Z with n_components={n_components} columns, as transform returns it, got {Z.shape[1]}."
            )
        return self._as_frame(self._decode(Z))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    @property
    def _n_features_out(self) -> int:
        return self._architecture.n_components

    @property
    def _scales_latents(self) -> bool:
        return not self.whiten
