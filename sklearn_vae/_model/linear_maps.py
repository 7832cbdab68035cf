"""The linear encoder and decoder, which training starts from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sklearn_vae._data.devices import FLOAT32
from sklearn_vae.likelihoods import LinearStart
from sklearn_vae.networks.base import empty

# Range of posterior log-scales, where the prior's scale is 1: exp(-12) to exp(6) is wider than posteriors need and well
# within float32.
LOG_SCALE_RANGE = (-12.0, 6.0)


class LinearMaps(nn.Module):
    """Linear encoder and decoder. The networks are added to them and learn the nonlinear part."""

    spread: Tensor

    def __init__(self, n_inputs: int, n_components: int, n_outputs: int):
        super().__init__()
        self.encoder = empty(nn.Linear, n_inputs, n_components)
        self.log_scale = nn.Parameter(torch.zeros(n_components, **FLOAT32))
        # The encoder network's input is divided by it: root mean variance of the inputs along the components.
        self.register_buffer("spread", torch.ones((), **FLOAT32))
        self.decoder = empty(nn.Linear, n_components, n_outputs)

    @torch.no_grad()
    def start_at(self, start: LinearStart) -> None:
        """Set the maps, log-scales and spread to a linear start."""
        self.encoder.weight.copy_(torch.from_numpy(start.encoder_weight))
        self.encoder.bias.copy_(torch.from_numpy(start.encoder_bias))
        self.log_scale.copy_(0.5 * torch.from_numpy(start.posterior_variance).log()).clamp_(*LOG_SCALE_RANGE)
        self.decoder.weight.copy_(torch.from_numpy(start.decoder_weight))
        self.decoder.bias.copy_(torch.from_numpy(start.decoder_bias))
        self.spread.fill_(start.spread)
