"""A user's own torch modules as encoder and decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from sklearn_vae.networks.base import Network, check_output, seeded_global_generator


class Modules(Network):
    """Any two ``nn.Module``: an encoder that returns features and a decoder that returns columns.

    Parameters
    ----------
    encoder : nn.Module, or callable returning one
        (n_rows, n_features) -> (n_rows, any width): features, from which one linear layer
        makes the posterior's means and scales. A class or factory is called with
        ``(n_features,)``; an instance is copied and trained from the weights it has.
    decoder : nn.Module, or callable returning one
        (n_rows, n_components) -> (n_rows, n_features): the mean in standardised units
        (Gaussian) or the logits (Bernoulli). A class or factory is called with
        ``(n_components, n_features)``.

    Raises
    ------
    TypeError
        If `encoder` or `decoder` does not give an ``nn.Module``.
    ValueError
        If a module's output has another shape, found on two rows before training.

    Notes
    -----
    With init="ppca" the encoder sees the columns centred and divided by the spread of the
    leading components, and what the modules return is added to linear maps. Layers that
    draw random numbers (dropout) do so from torch's global generator, which is seeded for
    each step and put back; fits in several threads then take turns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torch import nn
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.networks import Modules
    >>> def encoder(n_features):
    ...     return nn.Sequential(nn.Linear(n_features, 16), nn.Tanh())
    >>> def decoder(n_components, n_features):
    ...     return nn.Sequential(nn.Linear(n_components, 16), nn.Tanh(), nn.Linear(16, n_features))
    >>> vae = VAETransformer(2, network=Modules(encoder, decoder), max_iter=10, random_state=0)
    >>> vae.fit_transform(load_iris().data).shape
    (150, 2)
    """

    uses_global_generator = True

    def __init__(self, encoder, decoder):
        self.encoder = encoder
        self.decoder = decoder

    def build(
        self,
        n_inputs: int,
        n_components: int,
        n_outputs: int,
        hidden_layer_sizes: Sequence[int],
        zero_output: bool,
        generator: torch.Generator,
    ) -> tuple[nn.Module, nn.Module]:
        """Make the encoder and the decoder, and try both on two rows."""
        with seeded_global_generator(generator):
            encoder = instantiate("encoder", self.encoder, n_inputs)
            decoder = instantiate("decoder", self.decoder, n_components, n_outputs)
            check_output("encoder", encoder, n_inputs, None)
            check_output("decoder", decoder, n_components, n_outputs)
        return encoder, Gated(decoder) if zero_output else decoder


class Gated(nn.Module):
    """A module's output times a trained scalar that starts at zero (ReZero, Bachlechner et al. 2021)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return gate * module(x)."""
        return self.gate * self.module(x)


def instantiate(role: str, module: nn.Module | Callable[..., nn.Module], *sizes: int) -> nn.Module:
    """Copy an instance; call a class or factory with its sizes."""
    if isinstance(module, nn.Module):
        return copy.deepcopy(module).to("cpu", torch.float32)
    try:
        made = module(*sizes)
    except TypeError as error:
        raise TypeError(
            f"network Modules: expected {role} to be a torch.nn.Module, or a callable with the sizes {sizes} that "
            f"returns one, got {module!r}: {error}"
        ) from error
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"network Modules: expected {role} to be a torch.nn.Module, or a callable that returns one, got {made!r}."
        )
    return made.to("cpu", torch.float32)
