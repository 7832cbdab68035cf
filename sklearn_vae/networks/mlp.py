"""Multi-layer perceptrons as encoder and decoder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils._param_validation import Interval, StrOptions
from torch import nn

from sklearn_vae.networks.base import Network, linear

# Activations whose gradient needs only the output work in place, which moves less memory.
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
    """Fully connected networks with the widths in the estimator's `hidden_layer_sizes`.

    ``network="mlp"`` is an instance with the default parameters.

    Parameters
    ----------
    activation : {"relu", "elu", "gelu", "leaky_relu", "logistic", "silu", "tanh"}, default="leaky_relu"
        Activation of the encoder's hidden layers. The default has slope 0.1 below 0. Plain
        ReLUs in the encoder mostly die in the large first steps after a start at probabilistic
        PCA.
    decoder_activation : same as `activation`, default="relu"
        Activation of the decoder's hidden layers.
    decoder_hidden_layer_sizes : sequence of int, default=None
        Widths of the decoder's hidden layers, starting at the latent variables. None: the
        encoder's widths in reverse order.
    principal_coordinates : int or None, default=128
        Largest number of columns that the networks see and return. Data with more columns are
        rotated to this number of leading principal coordinates, or to 8 per latent variable if
        that is more. The dropped coordinates stay in the likelihood as noise. Networks of the
        same width are then faster and fit better on wide data. This requires an isotropic
        Gaussian and init="ppca". None: the networks always see the columns.
    initializer : {"kaiming", "glorot"}, default="kaiming"
        Initialisation of the weights. "kaiming": torch's default. "glorot": the initialisation
        of Glorot and Bengio (2010), which preserves the variance of activations. With
        init="random" and many latent variables, "glorot" keeps more of them in use.
    layer_norm : bool or "auto", default="auto"
        Whether the outputs of the encoder's hidden layers are normalised, before the activation
        (Ba, Kiros and Hinton 2016). "auto" is True for maps, with objective="neighbors": the
        encoder then places rows much more exactly.

    See Also
    --------
    Conv : Convolutions, for rows that are images.
    Modules : Your own networks.

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
        "layer_norm": ["boolean", StrOptions({"auto"})],
    }

    def __init__(
        self,
        activation="leaky_relu",
        decoder_activation="relu",
        decoder_hidden_layer_sizes=None,
        principal_coordinates=128,
        initializer="kaiming",
        layer_norm="auto",
    ):
        self.activation = activation
        self.decoder_activation = decoder_activation
        self.decoder_hidden_layer_sizes = decoder_hidden_layer_sizes
        self.principal_coordinates = principal_coordinates
        self.initializer = initializer
        self.layer_norm = layer_norm

    def for_maps(self) -> MLP:
        """Return the network for an objective that keeps neighbours, normalised unless `layer_norm` is False.

        Returns
        -------
        network : MLP
            A copy with a `layer_norm` of True or False.
        """
        return clone(self).set_params(layer_norm=bool(self.layer_norm))

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
        norm = nn.LayerNorm if self.layer_norm and self.layer_norm != "auto" else None
        encoder = hidden_layers((n_inputs, *hidden_layer_sizes), activation, layer, norm)
        hidden = hidden_layers((n_components, *decoder_sizes), decoder_activation, layer)
        output = layer((n_components, *decoder_sizes)[-1], n_outputs, zero=zero_output)
        return encoder, nn.Sequential(*hidden, output)


def hidden_layers(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module],
    layer: Callable[[int, int], nn.Linear],
    norm: Callable[[int], nn.Module] | None = None,
) -> nn.Sequential:
    """Chain linear layers of these sizes, made by `layer` and each followed by `norm`, if given, and an activation."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [layer(n_in, n_out), *([norm(n_out)] if norm else []), activation()]
    return nn.Sequential(*layers)


def check_sizes(sizes: Any, name: str = "decoder_hidden_layer_sizes") -> tuple[int, ...]:
    """Return layer widths as plain integers; raise ValueError for anything else."""
    widths = np.atleast_1d(np.asarray(sizes, dtype=object))
    if any(not isinstance(width, Integral) or width < 1 for width in widths):
        raise ValueError(f"expected {name} to be integers of at least 1, got {sizes!r}.")
    return tuple(int(width) for width in widths)
