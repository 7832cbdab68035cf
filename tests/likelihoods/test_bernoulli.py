"""The Bernoulli likelihood: the probabilities of all rows sum to one."""

import itertools

import pytest
import torch
from component_cases import normal
from likelihood_modules import started

from sklearn_vae.likelihoods import Bernoulli


def test_bernoulli_probabilities_sum_to_one():
    vectors = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    module, _ = started(Bernoulli(), vectors.numpy())
    for raw in normal(4, 3) * 5:
        log_prob = module.log_prob(module.observe(vectors), raw.expand(8, 3))
        assert float(log_prob.exp().sum()) == pytest.approx(1, abs=1e-12)
