"""User-defined modules, and small estimators that take them."""

from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sklearn_vae import VAEClassifier, VAETransformer


def features(n_features, width=8):
    return nn.Sequential(nn.Linear(n_features, width), nn.Tanh())


def columns(n_components, n_features, width=8):
    return nn.Sequential(nn.Linear(n_components, width), nn.Tanh(), nn.Linear(width, n_features))


class Features(nn.Module):
    def __init__(self, n_features, width=8):
        super().__init__()
        self.layers = features(n_features, width)

    def forward(self, x):
        return self.layers(x)


class Posterior(nn.Module):
    """An encoder that returns (loc, scale)."""

    def __init__(self, n_features, n_components=2, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, 2 * n_components))

    def forward(self, x):
        loc, raw = self.layers(x).chunk(2, -1)
        return loc, F.softplus(raw)


def small(**params):
    return VAETransformer(2, **{"max_iter": 2, "early_stopping": False, "random_state": 0, **params})


def small_classifier(**params):
    return VAEClassifier(2, **{"max_iter": 100, "random_state": 0, **params})


def observed(vae, X):
    """Return the encoder's inputs for the rows."""
    return vae.module_.likelihood.observe(torch.from_numpy(np.asarray(X, dtype=np.float32))).inputs


WAYS_TO_LATENTS = [Posterior, partial(Posterior, width=3), Posterior(4)]
