"""Bernoulli likelihood for columns in [0, 1]."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Bernoulli as TorchBernoulli

from sklearn_vae._ppca import PPCA, Moments
from sklearn_vae.likelihoods.base import Likelihood, LikelihoodModule, LinearStart

# Probabilities of the start stay this far from 0 and 1, so that logits and Newton steps are finite.
MARGIN = 0.02


class Bernoulli(Likelihood):
    r"""Bernoulli distribution per column, :math:`p(x|z) = \prod_j \pi_j^{x_j} (1 - \pi_j)^{1 - x_j}`.

    Values between 0 and 1 are taken as probabilities of a one (the usual cross-entropy
    on grey pixels); log-likelihoods are true log-probabilities for values 0 and 1 only.
    ``sample`` draws zeros and ones, ``inverse_transform`` gives the probabilities.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_vae import VAETransformer
    >>> X = load_digits().data[:200] > 7
    >>> vae = VAETransformer(2, likelihood="bernoulli", max_iter=5, random_state=0).fit(X)
    >>> sorted(set(vae.sample(10, random_state=0).ravel().tolist()))
    [0.0, 1.0]
    """

    def build(self, n_features: int, n_coordinates: int | None) -> LikelihoodModule:
        """Make the torch module for `n_features` columns."""
        return BernoulliModule(n_features)

    def check_data(self, X: np.ndarray) -> None:
        """Raise ValueError unless all values lie in [0, 1]."""
        low, high = X.min(), X.max()
        if low < 0 or high > 1:
            raise ValueError(
                f"likelihood 'bernoulli': expected values in [0, 1], got values from {low:.6g} to {high:.6g}; "
                "scale the columns (MinMaxScaler) or use likelihood='gaussian'."
            )


class BernoulliModule(LikelihoodModule):
    """Logits in, Bernoulli distribution out; the encoder sees the columns as they are."""

    unit: Tensor

    def __init__(self, n_features: int):
        super().__init__()
        self.n_inputs = self.n_outputs = n_features
        self.register_buffer("unit", torch.ones(()))

    @property
    def input_unit(self) -> Tensor:
        """Root mean variance of the columns."""
        return self.unit

    def set_units(self, moments: Moments, axes: np.ndarray | None) -> None:
        """Take over the unit of the data."""
        self.unit.fill_(moments.unit)

    def linear_start(self, ppca: PPCA) -> LinearStart:
        r"""One Newton step of logistic PCA from independent columns.

        With logits b + V z and b = logit(mean), the step from V = 0 is the least-squares
        fit of the working response (x - mean) / (mean (1 - mean)) on z, that is
        W / (mean (1 - mean)); the posterior's variance is Laplace's at the mean row.
        """
        center, unit = ppca.moments.center.cpu().numpy(), ppca.moments.unit
        mean = center.clip(MARGIN, 1 - MARGIN)
        variance = mean * (1 - mean)
        maps = ppca.maps(ppca.noise_variance)
        encoder, decoder = maps.encoder / unit, maps.decoder * unit / variance[:, None]
        return LinearStart(
            encoder_weight=encoder,
            encoder_bias=-encoder @ center,
            posterior_variance=1 / (1 + variance @ np.square(decoder)),
            decoder_weight=decoder,
            decoder_bias=np.log(mean / (1 - mean)),
            spread=maps.spread * unit,
        )

    def observe(self, x: Tensor) -> Tensor:
        """Return the columns, in the model's precision."""
        return x.to(self.unit.dtype)

    def forward(self, raw: Tensor) -> TorchBernoulli:
        """Return Bernoulli(logits=raw) per column."""
        return TorchBernoulli(logits=raw, validate_args=False)

    def log_prob(self, y: Tensor, raw: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return minus the cross-entropy per row."""
        return self(raw).log_prob(y.expand_as(raw)).sum(-1)

    def mean(self, raw: Tensor) -> Tensor:
        """Return the probabilities of a one."""
        return raw.double().sigmoid()

    def sample(self, raw: Tensor, generator: torch.Generator) -> Tensor:
        """Draw zeros and ones."""
        return torch.bernoulli(self.mean(raw), generator=generator)
