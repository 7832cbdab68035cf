"""Poisson likelihood."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.distributions import Poisson as TorchPoisson

from sklearn_vae.likelihoods.counts import Counts, CountsModule, log_factorial
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed


class Poisson(Counts):
    r"""Poisson distribution per column, :math:`P(x|z) = \prod_j \lambda_j^{x_j} e^{-\lambda_j} / x_j!`.

    The encoder sees standardised logarithms of the counts. ``inverse_transform`` returns the means
    :math:`\lambda_j`, and ``sample`` draws counts.

    Parameters
    ----------
    library_size : bool, default=False
        False: the means are :math:`\lambda = \exp(f(z))`, so the components also explain the rows' totals. Means
        above 20 times that of the column grow linearly instead.
        True: the means are :math:`\lambda = n \, \mathrm{softmax}(f(z))`, with n the total of the row, its library
        size in single-cell genomics. Totals then carry no information. Log-probabilities take the total as given, and
        differ from those of `Multinomial` by the probability of the total alone. ``inverse_transform`` and ``sample``
        use the mean total of the training rows.

    See Also
    --------
    NegativeBinomial : Counts that vary more.
    Multinomial : Counts given their total.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> X = load_digits().data[:200]  # 0, 1, ..., 16
    >>> vae = VAETransformer(2, likelihood="poisson", max_iter=5, early_stopping=False, random_state=0).fit(X)
    >>> draws = vae.sample(10, random_state=0)
    >>> bool((draws == draws.round()).all() and (draws >= 0).all())
    True
    """

    _parameter_constraints: ClassVar[dict] = {"library_size": ["boolean"]}

    def __init__(self, library_size=False):
        self.library_size = library_size

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return PoissonModule(n_features, self.library_size)


class PoissonModule(CountsModule):
    """Poisson distribution whose raw outputs are logarithms of means or of shares."""

    sums_cells = True

    def forward(self, raw: Tensor) -> TorchPoisson:
        """Return the Poisson distribution per column."""
        return TorchPoisson(self.expected(raw), validate_args=False)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x_j|z) of each cell."""
        log_mean = self.log_mean(observed, raw)
        return observed.cells * log_mean - log_mean.exp() - log_factorial(observed.cells)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log P(x|z) per row. A vector product saves passes over the cells."""
        log_mean = self.log_mean(observed, raw)
        log_prob = torch.linalg.vecdot(log_mean, observed.cells) - log_mean.exp().sum(-1)
        return log_prob - log_factorial(observed.cells).sum(-1)
