"""Base classes of likelihoods for counts."""

from __future__ import annotations

from abc import abstractmethod
from typing import NoReturn

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from sklearn_vae._data.devices import FLOAT32, FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae._data.rows import MappedRows, Rows
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.linear_start import MIN_VARIANCE, LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

# Count, in all training rows together, that a column without any is given: its logarithm is finite.
MIN_COUNT = 0.5
# Smallest expected count of a cell, for inputs of rows of zeros.
MIN_MEAN = 1e-12
# Smallest unit of the standardised logarithms, whose Poisson noise has a standard deviation of about 1.
MIN_UNIT = 1e-3
# Logarithm of the ratio to the column's mean up to which means grow exponentially; beyond it they grow linearly.
MAX_LOG_RATIO = 3.0
# Raw output of a cell that was not observed, where the others share the row's total.
UNOBSERVED = -1e9
# Number of values that `check_data` compares at a time.
CHUNK_SIZE = 2**20


class Counts(Likelihood):
    """Base class of likelihoods for counts 0, 1, 2, ..."""

    def kinds_of_means(self, n_features: int) -> list[str]:
        """Return "count" for each column."""
        return ["count"] * n_features

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless all values are counts."""
        if not np.issubdtype(X.dtype, np.floating):
            return
        n_rows = max(1, CHUNK_SIZE // X.shape[1])
        for start in range(0, len(X), n_rows):
            part = X[start : start + n_rows]
            wrong = np.argwhere(_is_no_count(part))
            if len(wrong):
                row, column = wrong[0]
                self._refuse(part[row, column], start + row, column)

    def check_sparse(self, X: sparse.csr_array) -> None:
        """Raise ValueError unless all stored values are counts; the others are 0."""
        wrong = np.flatnonzero(_is_no_count(X.data))
        if len(wrong):
            row = np.searchsorted(X.indptr, wrong[0], side="right") - 1
            self._refuse(X.data[wrong[0]], row, X.indices[wrong[0]])

    def _refuse(self, value: float, row: int, column: int) -> NoReturn:
        raise ValueError(
            f"likelihood {type(self).__name__}: expected counts 0, 1, 2, ..., got {value:.6g} in row {row}, column "
            f"{column}; pass the counts before any scaling or logarithm, or use likelihood='gaussian' for real values."
        )


def _is_no_count(values: np.ndarray) -> np.ndarray:
    """Return whether values are negative or fractions; NaN are missing."""
    return (values < 0) | (values > np.floor(values))


class CountsModule(LikelihoodModule):
    r"""Distribution of counts whose raw outputs are logarithms of means, or of shares of the row's total.

    The cells are the counts. The encoder's inputs are their logarithms, standardised by the delta method,

    .. math:: \frac{\log(1 + x_j) - \log(1 + m_j)}{\sqrt{v(m_j)} / (1 + m_j)},

    where :math:`m_j` is the expected count in a model of independent columns, and :math:`v(m_j)` its variance. To first
    order they are Pearson residuals. Their principal components approximate those of a model of counts [1]_. The
    logarithm bounds the influence of large counts.

    Parameters
    ----------
    n_features : int
    shares_total : bool
        Whether means are the softmax of the raw outputs times the row's total.

    References
    ----------
    .. [1] F. W. Townes, S. C. Hicks, M. J. Aryee and R. A. Irizarry (2019). Feature selection and dimension reduction
       for single-cell RNA-seq based on a multinomial model. Genome Biology 20.
    """

    center: Tensor
    input_scale: Tensor

    def __init__(self, n_features: int, shares_total: bool):
        super().__init__(n_features, n_features)
        self.shares_total = shares_total
        # Mean counts of the training rows; above 0.
        self.register_buffer("center", torch.ones(n_features, **FLOAT64))
        # Factor of the inputs.
        self.register_buffer("input_scale", torch.ones((), **FLOAT32))

    @property
    def mean_total(self) -> Tensor:
        """Mean total of the training rows."""
        return self.center.sum()

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the mean counts."""
        self.center.copy_(moments.center.clamp_min(MIN_COUNT * moments.scale))

    def features(self, rows: Rows, moments: Moments) -> Rows:
        """Return rows of the standardised logarithms."""
        self.set_units(moments, None)
        return MappedRows(rows, lambda x: self.standardise(x if x.is_floating_point() else x.to(self.dtype)))

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return the counts, and their standardised logarithms times `input_scale` as inputs."""
        counts = x.to(self.dtype)
        return Observed(counts, self.standardise(counts) * self.input_scale)

    def standardise(self, counts: Tensor) -> Tensor:
        """Return the standardised logarithms. Missing cells are NaN, and enter the totals by their means."""
        if not counts.is_floating_point():
            # Bytes would truncate the means.
            counts = counts.to(self.dtype)
        mean = self.center.to(counts)
        if self.shares_total:
            total = counts.where(counts.isfinite(), mean).sum(-1, keepdim=True)
            mean = (total * (mean / mean.sum())).clamp_min(MIN_MEAN)
        return (counts.log1p() - mean.log1p()) * ((1 + mean) / self.marginal_variance(mean).sqrt())

    def marginal_variance(self, mean: Tensor) -> Tensor:
        """Return the variances of counts with these means in a model of independent columns; by default Poisson's."""
        return mean

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""Translate probabilistic PCA of the inputs into log-linear means.

        Let :math:`W z` be the principal components' part of the inputs. By the delta method, the mean of column j
        changes by the factor :math:`1 + u_j^T z` with :math:`u_j = W_j \sqrt{v(m_j)} / m_j`. A log-linear mean
        :math:`\exp(b_j + V_j z)` with a standard normal z has the same mean and variance if
        :math:`\|V_j\|^2 = \log(1 + \|u_j\|^2)` and :math:`b_j = \log m_j - \|V_j\|^2 / 2`, the moments of a log-normal
        distribution. The posterior's variance is the Laplace approximation at the mean row.

        The inputs are divided by the root of their number. A step of Adam changes all weights of the linear encoder
        by about as much. In wide tables it would otherwise change the posterior means by more than their range.
        """
        mean, unit = self.center.cpu(), ppca.moments.unit
        self.input_scale.fill_(self.n_inputs**-0.5)
        scale = float(self.input_scale)
        self.input_unit.fill_(max(unit, MIN_UNIT) * scale)
        # The floor is that of the standardised logarithms; they may be constant up to rounding.
        noise_variance = max(ppca.noise_variance, MIN_VARIANCE, (MIN_UNIT / unit) ** 2)
        maps = ppca.maps(noise_variance)
        relative_std = (self.marginal_variance(mean).sqrt() / mean).numpy()
        effect = maps.decoder * (unit * relative_std[:, None])
        square = np.square(effect).sum(1)
        variance = np.log1p(square)
        decoder = effect * np.sqrt(variance / np.where(square > 0, square, 1.0))[:, None]
        encoder = maps.encoder / unit
        return LinearStart(
            encoder_weight=encoder / scale,
            encoder_bias=-encoder @ ppca.moments.center.cpu().numpy(),
            posterior_variance=1 / (1 + (1 / np.square(relative_std)) @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=mean.log().numpy() - variance / 2,
            spread=max(maps.spread * unit, MIN_UNIT) * scale,
            input_mean=ppca.moments.center.cpu().numpy() * scale,
            input_weight=maps.decoder * (unit * scale),
            input_variance=np.full(len(effect), noise_variance * (unit * scale) ** 2),
        )

    def log_mean(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return the logarithms of the cells' means; with the totals of the observed cells, if these are shared."""
        if not self.shares_total:
            return self.limit_growth(raw)
        return log_shares(observed, raw) + total_of(observed).clamp_min(MIN_MEAN).log()

    def limit_growth(self, raw: Tensor) -> Tensor:
        """Return log-means: the raw outputs, up to a multiple of the column's mean, and the slower growth above it.

        Posterior means of unusual rows may be far from the prior. Exponential means would then exceed all counts by
        orders of magnitude, and dominate the loss.
        """
        limit = (self.center.log() + MAX_LOG_RATIO).to(raw)
        return raw.minimum(limit) + (raw - limit).clamp_min(0).log1p()

    def expected(self, raw: Tensor) -> Tensor:
        """Return the means of the cells; a total is that of the mean training row."""
        if not self.shares_total:
            return self.limit_growth(raw).exp()
        return raw.softmax(-1) * self.mean_total

    def mean_given(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return the mean counts of rows with their own totals, float64."""
        return self.log_mean(observed, raw.double()).exp()

    @abstractmethod
    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of each cell."""


def observed_counts(observed: Observed) -> Tensor:
    """Return the counts, with 0 for cells that were not observed."""
    return observed.cells if observed.mask is None else observed.cells.where(observed.mask, 0.0)


def total_of(observed: Observed) -> Tensor:
    """Return the totals of the observed cells, (n_rows, 1)."""
    return observed_counts(observed).sum(-1, keepdim=True)


def log_shares(observed: Observed, raw: Tensor) -> Tensor:
    """Return the logarithms of the observed cells' shares of their total."""
    return (raw if observed.mask is None else raw.where(observed.mask, UNOBSERVED)).log_softmax(-1)


def log_factorial(counts: Tensor) -> Tensor:
    """Return log(x!)."""
    return (counts + 1).lgamma()
