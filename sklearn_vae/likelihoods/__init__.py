"""Likelihoods p(x|z): one file each."""

from sklearn_vae.likelihoods.base import Likelihood, LikelihoodModule, LinearStart
from sklearn_vae.likelihoods.bernoulli import Bernoulli
from sklearn_vae.likelihoods.gaussian import Gaussian

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "gaussian": Gaussian,
}

__all__ = ["LIKELIHOODS", "Bernoulli", "Gaussian", "Likelihood", "LikelihoodModule", "LinearStart"]
