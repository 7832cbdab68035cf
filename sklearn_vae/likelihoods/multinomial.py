"""Multinomial likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from sklearn_vae.likelihoods.counts import Counts, CountsModule, log_factorial, log_shares, total_of
from sklearn_vae.likelihoods.module import LikelihoodModule
from sklearn_vae.likelihoods.values import Observed


class Multinomial(Counts):
    r"""Multinomial distribution of a row of counts, given its total n.

    .. math:: P(x|z) = \frac{n!}{\prod_j x_j!} \prod_j \pi_j^{x_j}, \qquad \pi = \mathrm{softmax}(f(z)).

    A row is a document of n words or a basket of n items. Its total is taken as given, so it carries no
    information. The encoder sees standardised logarithms of the counts. ``inverse_transform`` returns the
    means :math:`n \pi` and ``sample`` draws counts, both with the mean total of the training rows, rounded.

    See Also
    --------
    Poisson : Counts whose totals the components explain.
    sklearn.decomposition.LatentDirichletAllocation : Topics of documents, whose words' shares are mixtures.

    Examples
    --------
    >>> from sklearn.feature_extraction.text import CountVectorizer
    >>> from sklearn_vae import VAETransformer
    >>> texts = ["a cat and a dog", "the cat sat", "stocks and bonds", "bonds fell", "a dog ran"]
    >>> X = CountVectorizer().fit_transform(texts).toarray()
    >>> vae = VAETransformer(1, likelihood="multinomial", max_iter=5, random_state=0).fit(X)
    >>> vae.sample(4, random_state=0).sum(axis=1).tolist()
    [3.0, 3.0, 3.0, 3.0]
    """

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return MultinomialModule(n_features)


class MultinomialModule(CountsModule):
    """Multinomial distribution whose raw outputs are logarithms of shares, up to a constant.

    Given the total of the observed cells, these are multinomial too, with their shares normalised.
    """

    sums_cells = True

    def __init__(self, n_features: int):
        super().__init__(n_features, shares_total=True)

    @property
    def mean_total(self) -> Tensor:
        """Mean total of the training rows, rounded, and at least 1."""
        return self.center.sum().round().clamp_min(1)

    def log_prob_cells(self, observed: Observed, raw: Tensor) -> Tensor:
        """Return log P(x|z) of each cell. The factorial of the total is divided in proportion to the counts."""
        total = total_of(observed)
        each = log_factorial(total) / total.clamp_min(1)
        return observed.cells * (log_shares(observed, raw) + each) - log_factorial(observed.cells)

    def log_prob_rows(self, observed: Observed, raw: Tensor, weight: Tensor | None) -> Tensor:
        """Return log P(x|z) per row. A vector product saves passes over the cells."""
        total = observed.cells.sum(-1)
        log_prob = torch.linalg.vecdot(raw, observed.cells) - total * raw.logsumexp(-1)
        return log_prob + (log_factorial(total) - log_factorial(observed.cells).sum(-1))

    def mean(self, raw: Tensor) -> Tensor:
        """Return the mean counts, float64."""
        return self.expected(raw.double())

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw the columns in turn: given the earlier ones, a count is binomial."""
        shares = raw.double().softmax(-1)
        rest = self.mean_total.double().expand(raw.shape[:-1])
        draws = torch.zeros_like(shares)
        remaining = shares.flip(-1).cumsum(-1).flip(-1)
        for j in range(raw.shape[-1]):
            share = (shares[..., j] / remaining[..., j].clamp_min(torch.finfo(shares.dtype).tiny)).clamp(0, 1)
            draws[..., j] = torch.binomial(rest.contiguous(), share, generator=generator)
            rest = rest - draws[..., j]
        return draws
