"""Encoder and decoder networks, one file for each kind."""

from sklearn_vae.networks.base import Network, PosteriorEncoder
from sklearn_vae.networks.conv import Conv
from sklearn_vae.networks.mlp import MLP
from sklearn_vae.networks.modules import Modules

NETWORKS: dict[str, type[Network]] = {
    "mlp": MLP,
    "conv": Conv,
}

__all__ = ["MLP", "NETWORKS", "Conv", "Modules", "Network", "PosteriorEncoder"]
