"""Training objectives, one file for each."""

from sklearn_vae.objectives.autoencoder import Autoencoder
from sklearn_vae.objectives.base import Batch, Objective, Terms, draw
from sklearn_vae.objectives.elbo import ELBO
from sklearn_vae.objectives.free_bits import FreeBits
from sklearn_vae.objectives.iwae import IWAE
from sklearn_vae.objectives.neighbor_embedding import NeighborEmbedding

OBJECTIVES: dict[str, type[Objective]] = {
    "autoencoder": Autoencoder,
    "elbo": ELBO,
    "free_bits": FreeBits,
    "iwae": IWAE,
    "neighbors": NeighborEmbedding,
}

__all__ = [
    "ELBO",
    "IWAE",
    "OBJECTIVES",
    "Autoencoder",
    "Batch",
    "FreeBits",
    "NeighborEmbedding",
    "Objective",
    "Terms",
    "draw",
]
