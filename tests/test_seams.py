"""The interfaces that components are added on: a toy of each kind, written as a user would."""

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Laplace

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._progress import Progress
from sklearn_vae._recipe import TransformerRules
from sklearn_vae._rows import DenseRows, Rows
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


class GeneratedRows(Rows):
    """Rows of a linear model with noise that are made when they are asked for, and held nowhere."""

    n_features, dtype, device = 6, torch.float32, torch.device("cpu")

    def __init__(self, index):
        self.index = index

    def __len__(self):
        return len(self.index)

    def __getitem__(self, index):
        z = torch.stack([torch.sin(self.index[index] * k) for k in (1.0, 2.0)], -1)
        noise = torch.stack([torch.sin(self.index[index] * k) for k in range(3, 9)], -1)
        return {"x": (z @ torch.arange(1.0, 13).view(2, 6) + 0.1 * noise).float()}

    def select(self, index):
        return GeneratedRows(self.index[index])

    @property
    def total_weight(self):
        return float(len(self))


def test_rows_may_come_from_anywhere():
    rows = GeneratedRows(torch.arange(200.0))
    dense = DenseRows(rows[torch.arange(200)]["x"])
    vae = VAETransformer(2, hidden_layer_sizes=(8,), max_iter=5, random_state=0)
    runs = [vae._run(vae._fitter(X, TransformerRules(200), Progress(vae)), X, None) for X in (rows, dense)]
    # Sums over blocks of other sizes round otherwise.
    np.testing.assert_allclose(runs[0].scores, runs[1].scores, rtol=1e-4)
    assert len(runs[0].scores) > 1 and len(runs[0].curve) == len(runs[1].curve)
