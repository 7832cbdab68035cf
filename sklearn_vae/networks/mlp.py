"""Multi-layer perceptrons as encoder and decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from sklearn_vae.networks.base import Network, linear

# In place where the gradient needs the output only: less memory to move.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "leaky_relu": partial(nn.LeakyReLU, 0.1, inplace=True),
    "logistic": nn.Sigmoid,
    "relu": partial(nn.ReLU, inplace=True),
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
}


class MLP(Network):
    """Fully connected networks of the widths in the estimator's `hidden_layer_sizes`.

    What ``network="mlp"`` stands for; an instance has options beside the widths.

    Parameters
    ----------
    activation : {"relu", "elu", "gelu", "leaky_relu", "logistic", "silu", "tanh"}, default="leaky_relu"
        Activation of the encoder's hidden layers. The default has slope 0.1 below 0: the
        steep first steps after a start at probabilistic PCA kill most plain ReLUs there.
    decoder_activation : same as `activation`, default="relu"
        Activation of the decoder's hidden layers.
    decoder_hidden_layer_sizes : sequence of int, default=None
        Widths of the decoder's hidden layers, from the latent side on. None: the encoder's,
        reversed.
    principal_coordinates : int or None, default=128
        Columns beyond which, with an isotropic Gaussian and init="ppca", the networks see and
        return this number of leading principal coordinates instead (8 per latent variable
        where that is more); what is dropped stays in the likelihood as noise. Networks of
        the same width do more in less time on wide data. None: always the columns.
    initializer : {"kaiming", "glorot"}, default="kaiming"
        Start of the weights: torch's default, or that of Glorot and Bengio (2010), which keeps
        the variance of what passes through. With init="random" and many latent variables
        more of them stay in use with the latter.

    See Also
    --------
    Conv : Convolutions, for rows that are images.
    Modules : Networks of your own.

    Examples
    --------
    The textbook image model, 784-128-64-32-2 and 2-256-128-64-32-784:

    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.networks import MLP
    >>> vae = VAETransformer(
    ...     2, hidden_layer_sizes=(128, 64, 32), init="random", likelihood="bernoulli",
    ...     network=MLP(decoder_hidden_layer_sizes=(256, 128, 64, 32)),
    ... )
    """

    _parameter_constraints: ClassVar[dict] = {
        "activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_activation": [StrOptions(set(ACTIVATIONS))],
        "decoder_hidden_layer_sizes": ["array-like", None],
        "principal_coordinates": [Interval(Integral, 1, None, closed="left"), None],
        "initializer": [StrOptions({"kaiming", "glorot"})],
    }

    def __init__(
        self,
        activation="leaky_relu",
        decoder_activation="relu",
        decoder_hidden_layer_sizes=None,
        principal_coordinates=128,
        initializer="kaiming",
    ):
        self.activation = activation
        self.decoder_activation = decoder_activation
        self.decoder_hidden_layer_sizes = decoder_hidden_layer_sizes
        self.principal_coordinates = principal_coordinates
        self.initializer = initializer

    def build(
        self,
        n_inputs: int,
        n_components: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        zero_output: bool,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Make the encoder and the decoder."""
        decoder_sizes = self.decoder_hidden_layer_sizes
        decoder_sizes = hidden_layer_sizes[::-1] if decoder_sizes is None else check_sizes(decoder_sizes)
        activation, decoder_activation = ACTIVATIONS[self.activation], ACTIVATIONS[self.decoder_activation]
        layer = partial(linear, generator=generator, initializer=self.initializer)
        encoder = hidden_layers((n_inputs, *hidden_layer_sizes), activation, layer)
        hidden = hidden_layers((n_components, *decoder_sizes), decoder_activation, layer)
        output = layer((n_components, *decoder_sizes)[-1], n_outputs, zero=zero_output)
        return encoder, nn.Sequential(*hidden, output)


def hidden_layers(
    sizes: Sequence[int], activation: Callable[[], nn.Module], layer: Callable[[int, int], nn.Linear]
) -> nn.Sequential:
    """Chain linear layers of these sizes, as `layer` makes them, each followed by an activation."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [layer(n_in, n_out), activation()]
    return nn.Sequential(*layers)


def check_sizes(sizes: Any, name: str = "decoder_hidden_layer_sizes") -> tuple[int, ...]:
    """Return layer widths as plain integers; raise ValueError for anything else."""
    widths = np.atleast_1d(np.asarray(sizes, dtype=object))
    if any(not isinstance(width, Integral) or width < 1 for width in widths):
        raise ValueError(f"expected {name} to be integers of at least 1, got {sizes!r}.")
    return tuple(int(width) for width in widths)
