"""Gaussian likelihood of quantile-transformed columns."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.special import log_ndtr, ndtr, ndtri

from sklearn_vae._data.devices import FLOAT32, FLOAT64
from sklearn_vae._data.normal_scores import NormalScores
from sklearn_vae._data.ppca import PPCA, Moments, fit_moments
from sklearn_vae._data.rows import MappedRows, Rows
from sklearn_vae.likelihoods.base import Likelihood
from sklearn_vae.likelihoods.linear_start import LinearStart, maps_of_inputs
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

# Smallest standard deviation of a normal score given z; that of all rows is 1.
MIN_SCALE = 0.01
# Smallest variance of a normal score given z at the start.
MIN_NOISE = 0.01
# Width of an interval, in standard deviations, up to which its probability is the density times the width. The
# relative error is below a 24th of its square.
MAX_NARROW = 1e-2
# Largest normal score whose quantile differs from 0 and 1 by much more than rounding in float64.
MAX_QUANTILE = 6.0
HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class QuantileGaussian(Likelihood):
    r"""Gaussian distribution of each column's normal scores, with the column's own marginal.

    .. math:: x_j = F_j^{-1}(\Phi(u_j)), \qquad u_j | z \sim N(f_j(z), s_j^2),

    where :math:`F_j` is the distribution function of the training rows, learned as a monotone piecewise linear map as
    in scikit-learn's `QuantileTransformer`. Skewed columns, heavy tails, and values that many rows share are modelled
    as they are. With ``init="ppca"``, training starts at a Gaussian copula whose correlations are those of
    probabilistic PCA, also known as the nonparanormal distribution [1]_.

    Columns of integers get probabilities, :math:`P(x|z) = \Phi((b - f) / s) - \Phi((a - f) / s)` with a and b the
    normal scores halfway to the neighbouring integers: ordered probit regression. Other columns get densities in the
    data's units, at the resolution of the training rows' values. ``sample`` and ``inverse_transform`` return values in
    the range of the training rows.

    See Also
    --------
    Gaussian : Columns as they are.
    Poisson : Counts with a mean.
    sklearn.preprocessing.QuantileTransformer : The map of a column to normal scores.

    References
    ----------
    .. [1] H. Liu, J. Lafferty and L. Wasserman (2009). The Nonparanormal: Semiparametric Estimation of High Dimensional
       Undirected Graphs. JMLR 10.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.likelihoods import QuantileGaussian
    >>> X = np.random.RandomState(0).poisson([[0.2, 3.0, 50.0]], (100, 3))
    >>> vae = VAETransformer(1, likelihood=QuantileGaussian(), max_iter=5, random_state=0).fit(X)
    >>> samples = vae.sample(1000, random_state=0)
    >>> bool((samples == np.rint(samples)).all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {}

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return QuantileGaussianModule(n_features)


class QuantileGaussianModule(LikelihoodModule):
    """Gaussian distributions of normal scores, whose raw outputs are their means.

    The cells are positions in the bins of `NormalScores`. The encoder's inputs are the normal scores in the middle of
    a value's share of the rows, standardised.

    Parameters
    ----------
    n_features : int
    """

    center: Tensor
    scale: Tensor
    unit: Tensor

    def __init__(self, n_features: int):
        super().__init__(n_features, n_features)
        self.scores = NormalScores(n_features)
        # Means and standard deviations of the inputs before they are standardised.
        self.register_buffer("center", torch.zeros(n_features, **FLOAT64))
        self.register_buffer("scale", torch.ones(n_features, **FLOAT64))
        # Standard deviations of the columns; 1 for constant ones.
        self.register_buffer("unit", torch.ones(n_features, **FLOAT64))
        self.log_scale = nn.Parameter(torch.zeros(n_features, **FLOAT32))

    @property
    def units(self) -> Tensor:
        """Standard deviations of the columns."""
        return self.unit

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the standard deviations of the columns. The inputs are standardised, so their unit stays 1."""
        self.unit.copy_(moments.variance.sqrt().where(moments.variance > 0, 1.0))

    def features(self, rows: Rows, moments: Moments) -> Rows:
        """Learn the normal scores; return rows of the encoder's inputs."""
        self.scores.learn(rows)
        self.center.zero_()
        self.scale.fill_(1.0)
        moments = fit_moments(MappedRows(rows, self.inputs))
        self.center.copy_(moments.center)
        self.scale.copy_(moments.variance.sqrt().where(moments.variance > 0, 1.0))
        return MappedRows(rows, self.inputs)

    def inputs(self, x: Tensor) -> Tensor:
        """Return the encoder's inputs, in the precision of rows (n_rows, n_features)."""
        return self._inputs(self.scores.locate(x)).to(x if x.is_floating_point() else self.input_unit)

    def observe(self, x: Tensor, generator: torch.Generator | None = None) -> Observed:
        """Return positions as cells, and standardised normal scores as inputs."""
        position = self.scores.locate(x)
        return Observed(position.to(self.dtype), self._inputs(position).to(self.dtype))

    def _inputs(self, position: Tensor) -> Tensor:
        """Return standardised normal scores, float64. That of a value is in the middle of its share of the rows."""
        middle, width = self.scores.interval(position)
        of_share = ndtri(0.5 * (ndtr(middle - width / 2) + ndtr(middle + width / 2)))
        has_quantiles = (width > MAX_NARROW) & (middle.abs() < MAX_QUANTILE)
        return (of_share.where(has_quantiles, middle) - self.center) / self.scale

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""Translate probabilistic PCA of the inputs into a Gaussian copula.

        The score of a value with a large share of the rows varies less than the latent score: the standard deviation
        of the inputs, before they are standardised, is below 1. The loadings are divided by it, as in polyserial
        correlations. The scales given z are those with which the scores of all rows have variance 1.
        """
        maps = maps_of_inputs(ppca)
        loadings = maps["input_weight"] / self.scale.cpu().numpy()[:, None]
        square = np.square(loadings).sum(1)
        limited = np.minimum(square, 1 - MIN_NOISE)
        decoder = loadings * np.sqrt(limited / np.where(square > 0, square, 1.0))[:, None]
        with torch.no_grad():
            self.log_scale.copy_(torch.from_numpy(0.5 * np.log1p(-limited)))
        return LinearStart(
            posterior_variance=1 / (1 + (1 / (1 - limited)) @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=np.zeros(len(decoder)),
            **maps,
        )

    def noise_scale(self) -> Tensor:
        """Return the standard deviations of the normal scores given z; the gradient ignores their floor."""
        floor = math.log(MIN_SCALE)
        return (self.log_scale + (self.log_scale.clamp_min(floor) - self.log_scale).detach()).exp()

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of integers, and densities of other values."""
        middle, width = self.scores.interval(observed.cells)
        scale = self.noise_scale().to(raw.dtype)
        log_prob = log_prob_of_interval((middle - raw) / scale, width / scale)
        return log_prob - self.scores.resolution.log().to(raw.dtype)

    def mean(self, raw: Tensor) -> Tensor:
        """Return E[x|z], float64."""
        return self.scores.mean(raw.double(), self.noise_scale().detach().double())

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw normal scores, and return their values."""
        raw = raw.double()
        noise = torch.randn(raw.shape, generator=generator, dtype=raw.dtype, device=raw.device)
        return self.scores.values(raw + self.noise_scale().detach() * noise)


def log_prob_of_interval(middle: Tensor, width: Tensor) -> Tensor:
    r"""Return the logarithm of a standard normal variable's probability of an interval.

    Parameters
    ----------
    middle, width : Tensor
        Middle and width of the interval, which broadcast.

    Returns
    -------
    log_prob : Tensor
        :math:`\log(\Phi(m + w/2) - \Phi(m - w/2))`, without cancellation.
    """
    is_narrow = width <= MAX_NARROW
    narrow = width.clamp_min(torch.finfo(width.dtype).tiny).log() - 0.5 * middle.square() - HALF_LOG_2PI
    # Both ends are mirrored if the middle is above 0, so that the probabilities are those of the lower tail.
    center, half = -middle.abs(), width.clamp_min(MAX_NARROW) / 2
    upper, lower = log_ndtr(center + half), log_ndtr(center - half)
    return narrow.where(is_narrow, upper + (-torch.expm1(lower - upper)).log())
