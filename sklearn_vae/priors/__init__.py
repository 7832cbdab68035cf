"""Priors p(z): one file each."""

from sklearn_vae.priors.base import Prior, PriorModule
from sklearn_vae.priors.class_mixture import ClassMixture
from sklearn_vae.priors.standard_normal import StandardNormal

PRIORS: dict[str, type[Prior]] = {
    "standard_normal": StandardNormal,
}

__all__ = ["PRIORS", "ClassMixture", "Prior", "PriorModule", "StandardNormal"]
