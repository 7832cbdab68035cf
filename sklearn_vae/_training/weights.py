"""What training changes in a model, laid out in one piece of memory, so that one call updates all of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sklearn_vae._model.vae import VAE

# Numbers of float32 in 64 bytes, to which torch aligns memory.
ALIGNMENT = 16


class Weights:
    """A model's parameters, which become views of one tensor.

    Parameters
    ----------
    model : VAE
    trains : bool
        Whether gradients are needed.

    Attributes
    ----------
    values : Tensor of shape (n_values,)
        Those of the networks, then all others; zeros between them.
    networks : Tensor
        The first of them, which weight decay is for.
    trained : nn.Parameter
        The values, as what an optimiser takes.
    gradient : Tensor
        Its gradient, of which the parameters' are parts: to be written to in place.
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
    """Return the number of values that `Weights` makes of a model's parameters."""
    return sum(map(_size, _parameters(model)))


def flatten(tensors: Sequence[Tensor]) -> Tensor:
    """Make tensors views of one, which is returned, (n_values,)."""
    flat = tensors[0].new_zeros(sum(map(_size, tensors)), requires_grad=False)
    for tensor, part in zip(tensors, _split(flat, tensors), strict=True):
        tensor.data = part.copy_(tensor.detach())
    return flat


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    parts = flat.split([_size(tensor) for tensor in like])
    return [part[: tensor.numel()].view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]


def _size(tensor: Tensor) -> int:
    """Return how many numbers a tensor takes, with what fills up its last 64 bytes.

    Products round by how their factors are aligned: a model that is loaded has to give the same.
    """
    return -(-tensor.numel() // ALIGNMENT) * ALIGNMENT


def _parameters(*modules: nn.Module | None) -> list[nn.Parameter]:
    """Return what is to be trained, each once."""
    parameters = (p for module in modules if module is not None for p in module.parameters() if p.requires_grad)
    return list(dict.fromkeys(parameters))
