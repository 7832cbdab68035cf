"""Probabilistic PCA in closed form, where training starts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

# Numbers in a chunk of rows: 4 MiB of float64.
CHUNK_SIZE = 2**19
# Above this size of the smaller side, Lanczos iterations replace the full eigendecomposition.
MAX_EXACT = 3000


@dataclass(frozen=True)
class Moments:
    """First moments of the columns, in the data's units."""

    center: Tensor  # (n_features,), float64
    unit: float  # root of the columns' mean variance; 1 if all columns are constant


@dataclass(frozen=True)
class PPCA:
    r"""Maximum-likelihood solution of :math:`x = \mu + W z + \epsilon` (Tipping & Bishop 1999, eq. 7, 8).

    In the units of `moments`: columns centred and divided by one unit, so that
    :math:`\mu = 0` and the columns' mean variance is 1.
    """

    moments: Moments
    axes: np.ndarray  # (n_features, n_axes), orthonormal, by falling variance
    weight: np.ndarray  # W, (n_features, n_components), orthogonal columns
    noise_variance: float

    @property
    def spread(self) -> float:
        """Root mean variance along the components; 1 where there is none."""
        return float(np.sqrt(np.square(self.weight).sum(0).mean() + self.noise_variance)) or 1.0

    @property
    def encoder_weight(self) -> np.ndarray:
        r"""The posterior mean's map :math:`(W^T W + \sigma^2 I)^{-1} W^T`, (n_components, n_features)."""
        variance = np.square(self.weight).sum(0) + self.noise_variance
        return self.weight.T / np.where(variance > 0, variance, 1)[:, None]


def fit_moments(X: Tensor, weight: Tensor | None) -> Moments:
    """Compute center and unit of the rows of `X` (n_rows, n_features), weighted by `weight` (n_rows,)."""
    n_features = X.shape[1]
    center = torch.zeros(n_features, dtype=torch.float64, device=X.device)
    for x, w in _chunks(X, weight):
        center += w @ x
    center /= _total(X, weight)
    square = torch.zeros_like(center)
    for x, w in _chunks(X, weight):
        square += w @ (x - center).square()
    variance = float(square.mean()) / _total(X, weight) * _bessel(X, weight)
    if not math.isfinite(variance):
        raise ValueError("expected columns with a finite variance in float64, got an overflow; scale the columns.")
    # The rounded mean of constant columns leaves a variance of about (eps * mean)^2.
    rounding = 8 * torch.finfo(torch.float64).eps * float(center.abs().max())
    return Moments(center, math.sqrt(variance) if variance > rounding**2 else 1.0)


def fit_ppca(X: Tensor, weight: Tensor | None, moments: Moments, n_components: int, n_axes: int = 0) -> PPCA:
    """Fit probabilistic PCA to the rows of `X` (n_rows, n_features), weighted by `weight` (n_rows,).

    Components beyond the rank of the data get zero loadings. At least `n_axes` principal
    axes are returned, or as many as there are rows or columns.
    """
    n, n_features = X.shape
    k = min(n_components, n, n_features)
    variances, axes, total = _principal_axes(X, weight, moments, min(max(k, n_axes), n, n_features))
    noise_variance = max(total - variances[:k].sum(), 0.0) / (n_features - k) if n_features > k else 0.0
    # Signs are arbitrary: the largest entry of each axis is positive, as in sklearn's svd_flip.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    loadings = np.zeros((n_features, n_components))
    loadings[:, :k] = axes[:, :k] * np.sqrt((variances[:k] - noise_variance).clip(0))
    return PPCA(moments, axes, loadings, noise_variance)


def _principal_axes(X: Tensor, weight: Tensor | None, moments: Moments, k: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the covariance's `k` largest eigenvalues, their vectors (n_features, k), and its trace."""
    n, n_features = X.shape
    scale = _bessel(X, weight) / _total(X, weight)

    def rows() -> Iterator[Tensor]:
        for x, w in _chunks(X, weight):
            yield (x - moments.center) * (w[:, None].sqrt() / moments.unit)

    if n_features <= min(n, MAX_EXACT):
        # Products in the data's own precision, sums in float64.
        covariance = torch.zeros(n_features, n_features, dtype=torch.float64, device=X.device)
        for y in rows():
            covariance += (y.to(X.dtype).T @ y.to(X.dtype)).double()
        trace = float(covariance.trace()) * scale
        spectrum, basis = torch.linalg.eigh(covariance * scale)
        values, vectors = spectrum.flip(0)[:k].cpu().numpy(), basis.flip(1)[:, :k].cpu().numpy()
    elif n <= MAX_EXACT:
        y = torch.cat(list(rows()))
        _, singular, axes = torch.linalg.svd(y, full_matrices=False)
        values, vectors = (singular[:k] ** 2 * scale).cpu().numpy(), axes[:k].T.cpu().numpy()
        trace = float(y.square().sum()) * scale
    else:
        trace = float(sum(y.square().sum() for y in rows())) * scale

        def product(vector: np.ndarray) -> np.ndarray:
            v = torch.from_numpy(vector.astype(np.float64)).to(X.device)
            return (sum(y.T @ (y @ v) for y in rows()) * scale).cpu().numpy()  # type: ignore[union-attr]

        if k < n_features:
            operator = LinearOperator((n_features, n_features), matvec=product, matmat=product, dtype=np.float64)
            values, vectors = eigsh(operator, k=k, v0=np.ones(n_features))
        else:
            values, vectors = np.linalg.eigh(product(np.eye(n_features)))
        values, vectors = values[::-1], vectors[:, ::-1]
    return values.clip(0), vectors, trace


def _chunks(X: Tensor, weight: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield chunks of rows and weights in float64."""
    chunk = max(1, CHUNK_SIZE // X.shape[1])
    for start in range(0, len(X), chunk):
        x = X[start : start + chunk].double()
        yield x, x.new_ones(len(x)) if weight is None else weight[start : start + chunk].double()


def _total(X: Tensor, weight: Tensor | None) -> float:
    return float(len(X) if weight is None else weight.double().sum())


def _bessel(X: Tensor, weight: Tensor | None) -> float:
    """Return n / (n - 1), the factor of sklearn's PCA; with weights n is Kish's effective number of rows."""
    n = float(len(X)) if weight is None else _total(X, weight) ** 2 / float(weight.double().square().sum())
    return n / (n - 1) if n > 1.5 else 1.0
