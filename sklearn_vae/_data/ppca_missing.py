"""Probabilistic PCA and factor analysis of rows with missing cells, by variational Bayes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sklearn_vae._data.masks import as_numbers
from sklearn_vae._data.ppca import CHUNK_SIZE, PPCA, Factors
from sklearn_vae._data.rows import Rows

# Iterations end when the noise variance changes by at most this share, or after this number of passes.
TOLERANCE, MAX_PASSES = 1e-4, 100
# The rows are reduced to about this number of multiplications in a pass, but to no fewer rows than the minimum.
MAX_PRODUCTS, MIN_ROWS = 2e9, 1000
# Noise variance at the start, relative to the columns' mean variance.
INITIAL_NOISE_VARIANCE = 0.5
# Smallest noise variance and smallest prior variance of a component's weights, relative to the columns' mean variance.
MIN_VARIANCE, MIN_PRIOR_VARIANCE = 1e-6, 1e-8
# Smallest noise variance of a column, relative to the column's variance. Without a limit, the likelihood may grow
# without bound as the noise of a column vanishes (a Heywood case).
MIN_COLUMN_SHARE = 1e-3


def fit_observed_cells(rows: Rows, start: PPCA, per_column: bool = False) -> PPCA:
    r"""Fit probabilistic PCA, or factor analysis, to the observed cells of rows.

    Each column's weights :math:`w_j` have a normal prior with a variance per component and a normal approximate
    posterior (Bishop 1999; Ilin and Raiko 2010, section 4). The prior variances are estimated. This removes components
    that few observed cells do not support, which the maximum-likelihood estimate would overfit.

    Parameters
    ----------
    rows : Rows
        Rows with missing cells.
    start : PPCA
        The solution for missing cells at the means of their columns.
    per_column : bool, default=False
        Whether each column has its own noise variance, as in factor analysis. The result then has `factors`.

    Returns
    -------
    ppca : PPCA
        The posterior means of the weights, with the center that they were estimated with.
    """
    n_features, d = rows.n_features, len(start.variances)
    rows = rows.evenly_spaced(max(MIN_ROWS, int(MAX_PRODUCTS / (n_features * d * d))))
    state = _Estimate(start, rows.device, per_column)
    for _ in range(MAX_PASSES):
        before = state.noise_variance
        state.update(rows)
        if float((state.noise_variance - before).abs().max()) <= TOLERANCE * float(before.max()):
            break
    u, s, _ = torch.linalg.svd(state.weight, full_matrices=False)
    variances, noise_variance = torch.zeros(d, dtype=s.dtype), float(state.noise_variance.mean())
    variances[: len(s)] = s.cpu().square() + noise_variance
    moments = replace(start.moments, center=start.moments.center + start.moments.unit * state.center)
    # The axes beyond the components are those of the start, as far as they are orthogonal.
    axes = np.linalg.qr(np.hstack([u.cpu().numpy(), start.axes]))[0][:, : max(len(s), start.axes.shape[1])]
    axes[:, : len(s)] = u.cpu().numpy()
    return PPCA(moments, axes, variances.numpy(), noise_variance, state.factors() if per_column else None)


class ConditionalMeans:
    r"""Function that replaces the missing cells of rows by their means given the observed cells.

    Under :math:`x = \mu + W z + \epsilon` with noise of variance :math:`\psi_j`, the posterior of z given the observed
    cells o has the precision :math:`I + W_o^T \Psi_o^{-1} W_o`.

    Parameters
    ----------
    mean, variance : Tensor of shape (n_features,)
    weight : Tensor of shape (n_features, n_components)
    """

    def __init__(self, mean: Tensor, weight: Tensor, variance: Tensor):
        self.mean, self.weight = mean, weight
        self.scaled = weight / variance[:, None]
        self.products = (self.scaled[:, :, None] * weight[:, None, :]).flatten(1)
        self.identity = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)

    def __call__(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return rows `x` (n_rows, n_features) with other values where `mask` is False."""
        observed = as_numbers(mask, self.weight.dtype)
        precision = torch.addmm(self.identity.flatten(), observed, self.products).view(-1, *self.identity.shape)
        x = x.nan_to_num(0.0)
        residual = (x.to(self.weight.dtype) - self.mean).mul_(observed)
        projected = (residual @ self.scaled)[..., None]
        z = torch.cholesky_solve(projected, torch.linalg.cholesky_ex(precision).L)[..., 0]
        means = torch.addmm(self.mean, z, self.weight.T).to(x.dtype)
        # Weights of 0 and 1 give exactly one of the two.
        return means.lerp_(x, observed.to(x.dtype))


class _Estimate:
    """Posterior means and covariances of the weights, in the units of the rows' moments."""

    def __init__(self, start: PPCA, device: torch.device, per_column: bool):
        self.moments, self.per_column = start.moments, per_column
        self.weight = torch.from_numpy(start.maps(0.0).decoder).to(device)
        p, d = self.weight.shape
        self.center = self.weight.new_zeros(p)
        self.covariance = self.weight.new_zeros(p, d, d)
        self.prior_variance = self.weight.new_ones(d)
        self.noise_variance = self.weight.new_full((p,), INITIAL_NOISE_VARIANCE)

    def factors(self) -> Factors:
        r"""Return the weights, rotated so that :math:`W^T \Psi^{-1} W` is diagonal, and the noise variances."""
        v = torch.linalg.svd(self.weight / self.noise_variance.sqrt()[:, None])[2].T
        return Factors((self.weight @ v).cpu().numpy(), self.noise_variance.cpu().numpy())

    def update(self, rows: Rows) -> None:
        """Make one pass over the rows: expectations of z, then new weights and variances."""
        p, d = self.weight.shape
        outer = self._outer()
        zz, yz = outer.new_zeros(p, d * d), outer.new_zeros(p, d)
        mask_z, y_sum, square, n_cells = (outer.new_zeros(shape) for shape in ((p, d), (p,), (p,), (p,)))
        for x, w in rows.blocks(CHUNK_SIZE):
            mask = x.isfinite().double()
            y = ((x - self.moments.center) / self.moments.unit).nan_to_num(0.0)
            z, covariance = self._expect(y - mask * self.center, mask, outer)
            weighted = mask * w[:, None]
            zz += weighted.T @ (z[:, :, None] * z[:, None, :] + covariance).flatten(1)
            yz += (weighted * y).T @ z
            mask_z += weighted.T @ z
            y_sum += (weighted * y).sum(0)
            square += (weighted * y.square()).sum(0)
            n_cells += weighted.sum(0)
        self._maximize(zz.view(p, d, d), yz, mask_z, y_sum, square, n_cells)

    def _outer(self) -> Tensor:
        """Return E[w_j w_j^T] of each column, (n_features, n_components^2)."""
        return (self.weight[:, :, None] * self.weight[:, None, :] + self.covariance).flatten(1)

    def _expect(self, residual: Tensor, mask: Tensor, outer: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and covariances of z given the observed cells."""
        d = self.weight.shape[1]
        identity = torch.eye(d, dtype=outer.dtype, device=outer.device)
        precision = ((mask / self.noise_variance) @ outer).view(-1, d, d) + identity
        covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        z = (covariance @ ((residual / self.noise_variance) @ self.weight)[..., None])[..., 0]
        return z, covariance

    def _maximize(self, zz: Tensor, yz: Tensor, mask_z: Tensor, y_sum: Tensor, square: Tensor, n_cells: Tensor) -> None:
        """Set center, weights and variances from the weighted sums over observed cells of each column."""
        total = n_cells.clamp_min(torch.finfo(n_cells.dtype).tiny)
        self.center = (y_sum - (self.weight * mask_z).sum(1)) / total
        yz = yz - self.center[:, None] * mask_z
        noise_variance = self.noise_variance[:, None, None]
        precision = zz + noise_variance * torch.diag(1 / self.prior_variance)
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(precision))
        self.weight = (inverse @ yz[..., None])[..., 0]
        # Columns without observed cells are not part of the model.
        observed = (n_cells > 0)[:, None, None]
        self.covariance = noise_variance * inverse * observed
        outer = self._outer().view_as(zz)
        square = square - 2 * self.center * y_sum + n_cells * self.center.square()
        error = square - 2 * (self.weight * yz).sum(1) + (zz * outer).sum((1, 2))
        self.noise_variance = self._noise_variance(error, square, n_cells)
        self.prior_variance = outer.diagonal(dim1=1, dim2=2).sum(0) / observed.sum()
        self.prior_variance = self.prior_variance.clamp_min(MIN_PRIOR_VARIANCE)

    def _noise_variance(self, error: Tensor, square: Tensor, n_cells: Tensor) -> Tensor:
        """Return each column's noise variance, from sums of squared errors and of squares over its observed cells."""
        mean = (error.sum() / n_cells.sum()).expand_as(error)
        if self.per_column:
            least = MIN_COLUMN_SHARE * square / n_cells
            mean = torch.where(n_cells > 0, torch.maximum(error / n_cells, least), mean)
        return mean.clamp_min(MIN_VARIANCE)
