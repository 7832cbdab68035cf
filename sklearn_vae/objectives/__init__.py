"""Training objectives: one file each."""

from sklearn_vae.objectives.autoencoder import Autoencoder
from sklearn_vae.objectives.base import Batch, Classifier, Model, Objective, Terms
from sklearn_vae.objectives.elbo import ELBO
from sklearn_vae.objectives.joint import Joint

OBJECTIVES: dict[str, type[Objective]] = {
    "autoencoder": Autoencoder,
    "elbo": ELBO,
}

__all__ = ["ELBO", "OBJECTIVES", "Autoencoder", "Batch", "Classifier", "Joint", "Model", "Objective", "Terms"]
