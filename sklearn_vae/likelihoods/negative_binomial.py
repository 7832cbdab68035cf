"""Negative binomial likelihood."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import NegativeBinomial as TorchNegativeBinomial
from torch.nn.functional import softplus

from sklearn_vae._data.devices import FLOAT32, FLOAT64
from sklearn_vae._data.ppca import PPCA, Moments
from sklearn_vae.likelihoods.counts import Counts, CountsModule, log_factorial
from sklearn_vae.likelihoods.linear_start import LinearStart
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed

# Smallest initial dispersion.
MIN_START = 0.01
# Range of log-dispersions. At the lower end, the distribution is Poisson up to counts of 1e5.
LOG_RANGE = (-12.0, 12.0)


class NegativeBinomial(Counts):
    r"""Negative binomial distribution per column, for counts that vary more than Poisson's.

    With the mean :math:`\mu_j` and the dispersion :math:`\alpha_j`, the variance is
    :math:`\mu_j + \alpha_j \mu_j^2`. The distribution becomes Poisson as the dispersion vanishes. Dispersions
    are trained by gradient. The encoder sees standardised logarithms of the counts.
    ``inverse_transform`` returns the means, and ``sample`` draws counts.

    Parameters
    ----------
    per_column : bool, default=True
        Whether each column has its own dispersion :math:`\alpha_j`, instead of one for all columns.
    library_size : bool, default=False
        False: the means are :math:`\mu = \exp(f(z))`, so the components also explain the rows' totals. Means
        above 20 times that of the column grow linearly instead.
        True: the means are :math:`\mu = n \, \mathrm{softmax}(f(z))`, with n the total of the row, its library size in
        single-cell genomics [1]_. Totals then carry no information, and log-probabilities take them as given.
        ``inverse_transform`` and ``sample`` use the mean total of the training rows.

    See Also
    --------
    Poisson : Counts whose variance is their mean.
    Multinomial : Counts given their total.

    References
    ----------
    .. [1] R. Lopez, J. Regier, M. B. Cole, M. I. Jordan and N. Yosef (2018). Deep generative modeling for single-cell
       transcriptomics. Nature Methods 15.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_vae import VAETransformer
    >>> X = np.random.default_rng(0).negative_binomial(2, 0.1, size=(200, 5))
    >>> vae = VAETransformer(1, likelihood="negative_binomial", max_iter=5, random_state=0).fit(X)
    >>> draws = vae.sample(10, random_state=0)
    >>> bool((draws == draws.round()).all() and (draws >= 0).all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {"per_column": ["boolean"], "library_size": ["boolean"]}

    def __init__(self, per_column=True, library_size=False):
        self.per_column = per_column
        self.library_size = library_size

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return NegativeBinomialModule(n_features, n_features if self.per_column else 1, self.library_size)


class NegativeBinomialModule(CountsModule):
    """Negative binomial distribution whose raw outputs are logarithms of means or of shares.

    `log_dispersion`, of shape (1,) or (n_features,), is the logarithm of the dispersion.
    """

    sums_cells = True

    marginal_dispersion: Tensor

    def __init__(self, n_features: int, n_dispersions: int, shares_total: bool):
        super().__init__(n_features, shares_total)
        # Dispersion in a model of independent columns.
        self.register_buffer("marginal_dispersion", torch.zeros(n_dispersions, **FLOAT64))
        self.log_dispersion = nn.Parameter(torch.zeros(n_dispersions, **FLOAT32))

    @torch.no_grad()
    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Store the mean counts; estimate the dispersions of independent columns from their moments."""
        super().set_units(moments, axes)
        excess, square = moments.variance.cpu() - self.center, self.center.square()
        if len(self.log_dispersion) == 1:
            excess, square = excess.sum(0, keepdim=True), square.sum(0, keepdim=True)
        self.marginal_dispersion.copy_((excess / square).clamp_min(MIN_START))
        self.log_dispersion.copy_(self.marginal_dispersion.log())

    def marginal_variance(self, mean: Tensor) -> Tensor:
        """Return the variances of counts with these means in a model of independent columns."""
        return mean + self.marginal_dispersion.to(mean) * mean.square()

    @torch.no_grad()
    def linear_start(self, ppca: PPCA) -> LinearStart:
        """Return log-linear means; the dispersions are what these leave unexplained.

        Variances multiply: one plus the marginal dispersion is one plus the dispersion given z, times the relative
        second moment of the log-normal means.
        """
        start = super().linear_start(ppca)
        explained = torch.from_numpy(np.exp(np.square(start.decoder_weight).sum(1)))
        if len(self.log_dispersion) == 1:
            weight = self.center.cpu().square()
            explained = ((weight @ explained) / weight.sum())[None]
        rest = (1 + self.marginal_dispersion.cpu()) / explained - 1
        self.log_dispersion.copy_(rest.clamp_min(MIN_START).log())
        return start

    @property
    def log_size(self) -> Tensor:
        """Logarithm of the reciprocal dispersion."""
        return -self.log_dispersion.clamp(*LOG_RANGE)

    def forward(self, raw: Tensor) -> TorchNegativeBinomial:
        """Return the negative binomial distribution per column."""
        log_size = self.log_size.to(raw.dtype)
        logits = self.expected(raw).log() - log_size
        return TorchNegativeBinomial(log_size.exp(), logits=logits, validate_args=False)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of each cell."""
        x, log_size = observed.cells, self.log_size
        log_mean = self.log_mean(observed, raw)
        log_prob = x * log_mean - (x + log_size.exp()) * softplus(log_mean - log_size)
        return log_prob + log_rising_factorial(x, log_size.expand(x.shape)) - log_factorial(x)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log P(x|z) per row; factorials are computed for positive counts only, because many cells are 0."""
        x, log_size = observed.cells, self.log_size
        log_mean = self.log_mean(observed, raw)
        log_prob = ((x + log_size.exp()) * softplus(log_mean - log_size)).sum(-1)
        log_prob = torch.linalg.vecdot(log_mean, x) - log_prob
        rows, columns = x.nonzero(as_tuple=True)
        positive = x[rows, columns]
        terms = log_rising_factorial(positive, log_size.expand(x.shape[-1])[columns]) - log_factorial(positive)
        return log_prob + x.new_zeros(len(x)).index_add(0, rows, terms)


def log_rising_factorial(x: Tensor, log_size: Tensor) -> Tensor:
    r"""Return :math:`\log \Gamma(x + r) - \log \Gamma(r) - x \log r`, computed in float64: it is a small difference."""
    size = log_size.double().exp()
    return ((x + size).lgamma() - size.lgamma() - x * log_size.double()).to(x.dtype)
