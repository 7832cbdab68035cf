"""Components of every family, and small data, for tests over all of them."""

import numpy as np
import torch
from torch import nn

from sklearn_vae.likelihoods import (
    LIKELIHOODS,
    Bernoulli,
    Columns,
    DiscretizedLogistic,
    Gaussian,
    NegativeBinomial,
    Poisson,
)
from sklearn_vae.networks import MLP, NETWORKS, Modules
from sklearn_vae.networks.mlp import ACTIVATIONS
from sklearn_vae.objectives import OBJECTIVES
from sklearn_vae.priors import PRIORS

# Nine columns can also be a 3 x 3 image.
N_ROWS, N_FEATURES, N_COMPONENTS = 12, 9, 2


def make_encoder(n_features):
    return nn.Sequential(nn.Linear(n_features, 6), nn.Tanh())


def make_decoder(n_components, n_features):
    return nn.Sequential(nn.Linear(n_components, 6), nn.Tanh(), nn.Linear(6, n_features))


GAUSSIANS = [
    Gaussian(),
    Gaussian(per_column=True),
    Gaussian(scale="learned"),
    Gaussian(scale="learned", per_column=True),
    Gaussian(scale=0.7),
]
LIKELIHOOD_CASES = [
    *(cls() for cls in LIKELIHOODS.values()),
    *GAUSSIANS[1:],
    Bernoulli(dynamic_binarization=True),
    DiscretizedLogistic(levels=2, per_column=False),
    NegativeBinomial(per_column=False),
    NegativeBinomial(library_size=True),
    Poisson(library_size=True),
    Columns([("real", Gaussian(), [5, 0]), ("binary", Bernoulli(), slice(1, 4)), ("counts", Poisson(), [4])]),
    Columns([("real", Gaussian(scale=0.7), [0, 1])], remainder=Bernoulli()),
]
PRIOR_CASES = [cls() for cls in PRIORS.values()]
NETWORK_CASES = [
    *(cls() for cls in NETWORKS.values()),
    *(MLP(activation=name, decoder_activation=name) for name in ACTIVATIONS),
    MLP(decoder_hidden_layer_sizes=(3, 4)),
    MLP(principal_coordinates=None),
    Modules(make_encoder, make_decoder),
]
OBJECTIVE_CASES = [cls() for cls in OBJECTIVES.values()]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def binary_rows(n_rows=N_ROWS, n_features=N_FEATURES):
    """Zeros and ones, which every likelihood accepts; both occur in every column."""
    rows = np.random.default_rng(0).integers(0, 2, (n_rows, n_features)).astype(float)
    rows[0], rows[1] = 0.0, 1.0
    return rows
