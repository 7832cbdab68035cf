"""The interfaces that components are added on: a toy of each kind, written as a user would."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Laplace

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.priors import Prior, PriorModule


class DoubleExponential(Prior):
    """Independent Laplace components of unit variance: a prior that brings no more than it must."""

    def build(self, n_components, n_inputs, generator):
        return DoubleExponentialModule(n_components)


class DoubleExponentialModule(PriorModule):
    def __init__(self, n_components):
        super().__init__()
        self.register_buffer("loc", torch.zeros(n_components, dtype=torch.float32, device="cpu"))

    def forward(self):
        return Independent(Laplace(self.loc, torch.full_like(self.loc, 0.5**0.5)), 1)

    def sample(self, n_samples, generator):
        u = torch.rand((n_samples, len(self.loc)), generator=generator, dtype=self.loc.dtype, device=self.loc.device)
        return Laplace(self.loc, torch.full_like(self.loc, 0.5**0.5)).icdf(u)


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_a_prior_is_its_distribution_and_its_draws(iris, cls):
    vae = cls(2, prior=DoubleExponential(), hidden_layer_sizes=(8,), max_iter=3, random_state=0)
    vae.fit(iris, np.arange(150) // 50)
    assert np.isfinite(vae.score_samples(iris)).all() and (vae.kl_per_component_ > 0).all()
    # An importance-weighted estimate of log p(x) under this prior, and not under another.
    normal = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=3, random_state=0).fit(iris)
    assert abs(vae.score_samples(iris).mean() - normal.score_samples(iris).mean()) > 1e-3
