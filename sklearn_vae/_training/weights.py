"""A model's parameters in one flat tensor, so that a single call updates all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_vae._model.vae import VAE

# Number of float32 values in 64 bytes, torch's memory alignment.
ALIGNMENT = 16


class Weights:
    """A model's parameters as views of one flat tensor.

    Parameters
    ----------
    model : VAE
    trains : bool
        Whether to allocate gradients.

    Attributes
    ----------
    values : Tensor of shape (n_values,)
        Values of the networks, followed by all others, padded with zeros for alignment.
    networks : Tensor
        The part of `values` that belongs to the networks, to which weight decay applies.
    trained : nn.Parameter
        `values` as a parameter for an optimiser.
    gradient : Tensor
        Gradient of `trained`. The parameters' gradients are views of it, so it must be written in place.
    """

    def __init__(self, model: VAE, trains: bool = True):
        networks = _parameters(model.encoder, model.encoder_head, model.decoder)
        parameters = list(dict.fromkeys([*networks, *_parameters(model)]))
        self.values = flatten(parameters)
        self.networks = self.values[: sum(map(_size, networks))]
        self.trained = nn.Parameter(self.values)
        if trains:
            self.gradient = torch.zeros_like(self.values)
            for tensor, part in zip(parameters, _split(self.gradient, parameters), strict=True):
                tensor.grad = part
            self.trained.grad = self.gradient


def n_values(model: VAE) -> int:
    """Return the length of the flat tensor that `Weights` makes for a model."""
    return sum(map(_size, _parameters(model)))


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Make the tensors views of one flat tensor, and return it, (n_values,)."""
    flat = tensors[0].new_zeros(sum(map(_size, tensors)), requires_grad=False)
    for tensor, part in zip(tensors, _split(flat, tensors), strict=True):
        tensor.data = part.copy_(tensor.detach())
    return flat


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = flat.split([_size(tensor) for tensor in like])
    return [part[: tensor.numel()].view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


def _size(tensor: Tensor) -> int:
    """Return the number of values that a tensor takes, padded to a multiple of 64 bytes.

    The rounding of matrix products depends on alignment. A loaded model must give the same results.
    """
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    """Return the trainable parameters of the modules, each once."""
    parameters = (p for module in modules if module is not None for p in module.parameters() if p.requires_grad)
    return list(dict.fromkeys(parameters))
