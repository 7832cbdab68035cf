"""Priors p(z), one file for each."""

from sklearn_vae.priors.base import Prior, PriorModule
from sklearn_vae.priors.mixture import Mixture
from sklearn_vae.priors.standard_normal import StandardNormal
from sklearn_vae.priors.vamp_prior import VampPrior

PRIORS: dict[str, type[Prior]] = {
    "mixture": Mixture,
    "standard_normal": StandardNormal,
    "vamp": VampPrior,
}

__all__ = ["PRIORS", "Mixture", "Prior", "PriorModule", "StandardNormal", "VampPrior"]
