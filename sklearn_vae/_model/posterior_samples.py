"""New rows of a class, drawn from the posteriors of its rows and from p(y|x)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from sklearn_vae._data.rows import CHUNK_SIZE
from sklearn_vae._model.inference import Inference
from sklearn_vae._model.vae import VAE

# Number of rows that are drawn for each sample, one of which is kept.
N_CANDIDATES = 32


@dataclass(frozen=True)
class RowsOfClass:
    """Rows of a class, from which new ones are drawn.

    Attributes
    ----------
    inference : Inference
        A model that classifies.
    code : int
        Index of the class.
    loc, scale : ndarray of shape (n_rows, n_components)
        Means and scales of q(z|x).
    residual : ndarray of shape (n_rows, n_features)
        Rows less the mean of p(x|z) at `loc`; NaN in missing cells.
    neighbors : ndarray of shape (n_rows, n_neighbors), int
        Indices of the neighbours of each row.
    """

    inference: Inference
    code: int
    loc: np.ndarray
    scale: np.ndarray
    residual: np.ndarray
    neighbors: np.ndarray

    @classmethod
    def of(cls, inference: Inference, X: np.ndarray, code: int, Z: np.ndarray, k_neighbors: int) -> RowsOfClass:
        """Encode rows (n_rows, n_features) of a class; neighbours are those in `Z`, (n_rows, n_components)."""
        loc, scale = np.split(inference.map(_parameters, X), 2, axis=1)
        residual = X - inference.map(VAE.reconstruct, loc)
        return cls(inference, code, loc, scale, residual, nearest_rows(Z, k_neighbors))

    def sample(self, n_samples: int, limits: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """Draw rows; one of `N_CANDIDATES` candidates is kept, with probabilities proportional to p(y|x).

        Parameters
        ----------
        n_samples : int
            Number of rows, at least one.
        limits : tuple of two ndarrays of shape (n_features,)
            Smallest and largest value of each column.
        rng : Generator
            Source of random numbers.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Rows in the data's units. Categories are one-hot columns plus changes of their probabilities.
        """
        chunk = max(1, CHUNK_SIZE // self.residual.shape[1])
        sizes = [min(chunk, n_samples - start) for start in range(0, n_samples, chunk)]
        return np.concatenate([self._sample(size, limits, rng) for size in sizes])

    def _sample(self, n_samples: int, limits: tuple[np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
        """Draw as many rows as fit in memory."""
        kept = np.empty((n_samples, self.residual.shape[1]), self.residual.dtype)
        best = np.full(n_samples, -np.inf)
        for _ in range(N_CANDIDATES):
            x = self.candidates(n_samples, rng).clip(*limits)
            # The candidate with the largest sum of log p(y|x) and a Gumbel variable is a draw by p(y|x).
            score = self.inference.map(VAE.log_proba, x)[:, self.code] + rng.gumbel(size=n_samples)
            is_better = score >= best
            kept[is_better], best[is_better] = x[is_better], score[is_better]
        return kept

    def candidates(self, n_samples: int, rng: np.random.Generator) -> np.ndarray:
        r"""Draw rows near random rows and between them and a neighbour.

        For a row i, one of its neighbours j and a uniform t,

        .. math:: z \sim N(\mu_t, \sigma_t^2), \qquad x = m(z) + r_t,

        where m(z) is the mean of p(x|z), and the means, scales and residuals :math:`(\mu_t, \sigma_t, r_t)` are those
        of the two rows with weights 1 - t and t. The rows thus keep residuals instead of new noise. Cells that are
        missing in row i stay missing.
        """
        i = rng.integers(len(self.loc), size=n_samples)
        j = self.neighbors[i, rng.integers(self.neighbors.shape[1], size=n_samples)]
        t = rng.random((n_samples, 1)).astype(self.loc.dtype)
        noise = rng.standard_normal((n_samples, self.loc.shape[1])).astype(self.loc.dtype)
        z = (1 - t) * self.loc[i] + t * self.loc[j] + noise * ((1 - t) * self.scale[i] + t * self.scale[j])
        of_neighbor = np.where(np.isnan(self.residual[j]), self.residual[i], self.residual[j])
        return self.inference.map(VAE.reconstruct, z) + (1 - t) * self.residual[i] + t * of_neighbor


def nearest_rows(Z: np.ndarray, n_neighbors: int) -> np.ndarray:
    """Return the indices of each row's nearest other rows, at most `n_neighbors`; a single row is its own neighbour."""
    if len(Z) == 1:
        return np.zeros((1, 1), dtype=int)
    return NearestNeighbors(n_neighbors=min(n_neighbors, len(Z) - 1)).fit(Z).kneighbors(return_distance=False)


def _parameters(model: VAE, x: Tensor) -> Tensor:
    """Return the means and scales of q(z|x), (n_rows, 2 * n_components)."""
    q = model.posterior(x)
    return torch.cat([q.loc, q.scale], dim=1)
