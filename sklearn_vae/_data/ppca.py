"""Probabilistic PCA in closed form, the starting point of training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._data.rows import Rows

# Numbers per chunk of rows: 2 MiB of float64, and 16 MiB for products with a block of vectors.
CHUNK_SIZE, PRODUCT_SIZE = 2**18, 2**21
Eigen = tuple[np.ndarray, np.ndarray, float]

# Largest number of columns for which the covariance matrix is decomposed, and largest number of rows, if there are more
# columns, for which the Gram matrix is. Larger data need subspace iterations.
MAX_COVARIANCE_COLUMNS, MAX_GRAM_ROWS = 2048, 512
# Subspace iterations end when a pass over the rows gains at most this share of the unexplained variance, or after this
# number of passes.
TOLERANCE, MAX_PASSES = 1e-6, 50


@dataclass(frozen=True)
class Moments:
    """Mean, overall scale and variances of the columns, in the data's units."""

    center: Tensor  # (n_features,), float64
    unit: float  # root of the columns' mean variance; for constant columns 1, or their rounding error if larger
    variance: Tensor  # (n_features,), float64
    scale: float  # factor that turns weighted sums of squared deviations into variances

    def select(self, columns: Sequence[int] | slice | Tensor) -> Moments:
        """Return the moments of these columns, in the same unit."""
        return replace(self, center=self.center[columns], variance=self.variance[columns])


@dataclass(frozen=True)
class PPCA:
    r"""Principal axes, and the linear-Gaussian models :math:`x = \mu + W z + \epsilon` that follow from them.

    All values refer to columns that are centred and divided by `moments.unit`.
    Hence :math:`\mu = 0`, and the columns' mean variance is 1.

    Attributes
    ----------
    moments : Moments
    axes : ndarray of shape (n_features, n_axes)
        Orthonormal axes, in order of decreasing variance.
    variances : ndarray of shape (n_components,)
        Variances along the first axes; 0 for components beyond the number of axes.
    noise_variance : float
        Maximum-likelihood noise variance (Tipping & Bishop 1999, eq. 8).
    factors : Factors or None
        Factor analysis of the same rows, if each column has its own noise variance.
    """

    moments: Moments
    axes: np.ndarray
    variances: np.ndarray
    noise_variance: float
    factors: Factors | None = None

    def select(self, columns: Sequence[int] | slice | Tensor) -> PPCA:
        """Return the same components for these columns only. The axes are then no longer orthonormal."""
        return replace(self, moments=self.moments.select(columns), axes=self.axes[columns], factors=None)

    def maps(self, noise_variance: float) -> LinearGaussian:
        r"""Return the optimal linear model for this noise variance (Tipping & Bishop 1999, eq. 7).

        The decoder is :math:`W = U (\Lambda - \sigma^2 I)_+^{1/2}`. The posterior has mean
        :math:`(W^T W + \sigma^2 I)^{-1} W^T x` and a diagonal covariance.
        """
        gain = (self.variances - noise_variance).clip(0)
        total = gain + noise_variance
        total = np.where(total > 0, total, 1.0)
        # The equivalent 1 - gain / total would round to 0 for small noise.
        posterior_variance = np.where(gain > 0, noise_variance / total, 1.0)
        decoder = np.zeros((len(self.axes), len(gain)))
        k = min(self.axes.shape[1], len(gain))
        decoder[:, :k] = self.axes[:, :k] * np.sqrt(gain[:k])
        # Variance per axis is at most n_features (unit mean variance), but a fixed noise can exceed it: cap it.
        spread = math.sqrt(np.minimum(total, len(self.axes)).mean())
        return LinearGaussian(decoder, decoder.T / total[:, None], posterior_variance, spread)


class Factors(NamedTuple):
    r"""Factor analysis, :math:`x = W z + \epsilon` with noise of variance :math:`\psi_j` in column j.

    The posterior given a complete row has a diagonal covariance, because :math:`W^T \Psi^{-1} W` is diagonal.
    """

    weight: np.ndarray  # (n_features, n_components)
    variance: np.ndarray  # (n_features,)


class LinearGaussian(NamedTuple):
    """A linear decoder and its exact posterior."""

    decoder: np.ndarray  # (n_features, n_components)
    encoder: np.ndarray  # (n_components, n_features)
    posterior_variance: np.ndarray  # (n_components,)
    spread: float  # root mean variance of the data along the components


def fit_moments(rows: Rows) -> Moments:
    """Compute the weighted center, unit and variances of the columns, each from its observed cells."""
    if rows.has_gaps:
        return _moments_of_cells(rows)
    sums, total, total_square = rows.column_sums(CHUNK_SIZE)
    center = sums / total
    # With weights, n is Kish's effective number of rows. The factor n / (n - 1) is that of scikit-learn's PCA.
    n = total**2 / total_square
    scale = (n / (n - 1) if n > 1.5 else 1.0) / total
    variances = rows.squared_deviations(center, CHUNK_SIZE) * scale
    return Moments(center, _unit(center, variances, rows), variances, scale)


def _moments_of_cells(rows: Rows) -> Moments:
    """Return the moments of rows with missing cells. A column without observed cells has mean and variance 0."""
    sums = torch.zeros(3, rows.n_features, dtype=torch.float64, device=rows.device)
    for x, w in rows.blocks(CHUNK_SIZE):
        mask = x.isfinite().double()
        sums += torch.stack([w @ x.nan_to_num(0.0), w @ mask, w.square() @ mask])
    total = sums[1].clamp_min(torch.finfo(torch.float64).tiny)
    center, n = sums[0] / total, sums[1].square() / sums[2].clamp_min(torch.finfo(torch.float64).tiny)
    square = torch.zeros_like(center)
    for x, w in rows.blocks(CHUNK_SIZE):
        square += w @ (x - center).nan_to_num(0.0).square()
    variances = square / total * torch.where(n > 1.5, n / (n - 1), 1.0)
    observed = sums[1] > 0
    unit = _unit(center[observed], variances[observed], rows)
    return Moments(center, unit, variances, 1 / float(total.max()))


def _unit(center: Tensor, variances: Tensor, rows: Rows) -> float:
    """Return the root of the columns' mean variance; for constant columns 1, or their rounding error if larger."""
    variance = float(variances.mean())
    if not math.isfinite(variance):
        raise ValueError("expected columns with a finite variance in float64, got an overflow; scale the columns.")
    # For constant columns, rounding the mean leaves residuals of about eps * mean, whose variance is the square.
    largest = float(center.abs().max())
    is_constant = variance <= (8 * torch.finfo(torch.float64).eps * largest) ** 2
    precision = torch.finfo(rows.precision).eps
    return max(1.0, precision * largest) if is_constant else math.sqrt(variance)


def fit_ppca(rows: Rows, moments: Moments, n_components: int, n_axes: int = 0) -> PPCA:
    """Fit probabilistic PCA to the weighted rows, with missing cells at the means of their columns.

    At least `n_axes` principal axes are returned, or all of them if there are fewer columns.
    """
    n, n_features = len(rows), rows.n_features
    k = min(n_components, n, n_features)
    variances, axes, total = _principal_axes(rows, moments, k, min(max(k, n_axes), n_features))
    noise_variance = max(total - variances[:k].sum(), 0.0) / (n_features - k) if n_features > k else 0.0
    # An axis has no sign of its own: its largest entry is made positive, as in sklearn's svd_flip.
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    return PPCA(moments, axes, np.pad(variances[:k], (0, n_components - k)), noise_variance)


def n_components_of(rows: Rows, share: float) -> int:
    """Return the smallest number of principal components that explain more than this share of the variance."""
    n = min(len(rows), rows.n_features)
    variances = fit_ppca(rows, fit_moments(rows), n).variances
    explained = variances.cumsum()
    if not explained[-1]:
        return 1
    # The count is that of scikit-learn's PCA, where rounding may leave the last component out.
    return min(int(np.searchsorted(explained, share * explained[-1], side="right")) + 1, n)


def _principal_axes(rows: Rows, moments: Moments, k: int, n_axes: int) -> Eigen:
    """Return the covariance's `n_axes` largest eigenvalues, its eigenvectors (n_features, n_axes), and its trace.

    Only the first `k` eigenpairs need to be exact.
    """
    n, n_features = len(rows), rows.n_features
    centred: dict[str, Any] = {"center": moments.center, "scale": math.sqrt(moments.scale) / moments.unit}
    if n_features <= min(n, MAX_COVARIANCE_COLUMNS):
        values, vectors, trace = _from_covariance(rows.centred_blocks(**centred, size=CHUNK_SIZE), rows, n_axes)
    elif n <= MAX_GRAM_ROWS:
        y = torch.cat(list(rows.centred_blocks(**centred, size=CHUNK_SIZE)))
        values, vectors, trace = _from_gram(y, n_axes)
    else:
        product = partial(rows.covariance_product, **centred, size=PRODUCT_SIZE)
        values, vectors, trace = _from_products(product, rows, k, n_axes)
    return values.clip(0), vectors, trace


def _from_covariance(blocks: Iterator[Tensor], rows: Rows, k: int) -> Eigen:
    """Decompose the covariance; its products are in the data's own precision, its sums in float64."""
    dtype = rows.precision
    covariance = torch.zeros(rows.n_features, rows.n_features, dtype=torch.float64, device=rows.device)
    for y in blocks:
        covariance += (y.to(dtype).T @ y.to(dtype)).double()
    trace = float(covariance.trace())
    values, vectors = torch.linalg.eigh(covariance)
    return values[-k:].flip(0).cpu().numpy(), vectors[:, -k:].flip(1).cpu().numpy(), trace


def _from_gram(y: Tensor, k: int) -> Eigen:
    """Decompose the Gram matrix of few wide rows, in a seventh of the time that their SVD takes."""
    # Append rows of zeros if there are fewer rows than axes.
    y = torch.cat([y, y.new_zeros(max(0, k - len(y)), y.shape[1])])
    values, vectors = torch.linalg.eigh(y @ y.T)
    # The QR decomposition also makes axes orthonormal along which the rows do not vary.
    axes = torch.linalg.qr(y.T @ vectors[:, -k:].flip(1)).Q
    return values[-k:].flip(0).cpu().numpy(), axes.cpu().numpy(), float(values.sum())


def _from_products(product: Callable[[Tensor], tuple[Tensor, float]], rows: Rows, k: int, n_axes: int) -> Eigen:
    """Find the leading eigenvectors from products with the covariance, which is never formed.

    Subspace iterations (Halko, Martinsson & Tropp 2011, algorithm 4.4) start from random vectors, more than there are
    axes to find. They continue as long as the first `k` directions gain variance.
    """
    size = min(rows.n_features, n_axes + max(16, n_axes // 4))
    generator = torch.Generator(rows.device).manual_seed(0)
    block = torch.randn(rows.n_features, size, dtype=torch.float64, generator=generator, device=rows.device)
    trace, found = math.inf, 0.0
    for _ in range(MAX_PASSES):
        basis = torch.linalg.qr(block).Q
        block, trace = product(basis)
        values, rotation = torch.linalg.eigh(basis.T @ block)
        found, before = float(values[-k:].sum()), found
        if found - before <= TOLERANCE * (trace - found) + torch.finfo(rows.precision).eps * trace:
            break
    vectors = basis @ rotation[:, -n_axes:].flip(1)
    return values[-n_axes:].flip(0).cpu().numpy(), vectors.cpu().numpy(), trace
