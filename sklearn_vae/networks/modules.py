"""A user's own torch modules as encoder and decoder."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from sklearn_vae.networks.base import Network
from sklearn_vae.networks.mlp import mlp

_GLOBAL_GENERATOR = threading.Lock()


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
    Layers that draw random numbers while training (dropout) draw them from torch's
    global generator.

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
            features = try_out("encoder", encoder, n_inputs, "n_hidden", None)
            try_out("decoder", decoder, n_components, "n_features", n_outputs)
        head = mlp((features, 2 * n_components), nn.Identity, zero_output, generator)
        return nn.Sequential(encoder, head), Gated(decoder) if zero_output else decoder


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
        return copy.deepcopy(module)
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
    return made


def try_out(role: str, module: nn.Module, n_in: int, width_name: str, width: int | None) -> int:
    """Return the module's output width on two rows; raise ValueError for a wrong shape."""
    module.eval()
    expected = f"(2, {width_name if width is None else width})"
    try:
        with torch.no_grad():
            out = module(torch.zeros(2, n_in))
    except RuntimeError as error:
        raise ValueError(
            f"network Modules: the {role} failed on an input of shape (2, {n_in}), "
            f"where an output of shape {expected} was expected: {error}"
        ) from error
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != 2 or (width is not None and out.shape[1] != width):
        came = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise ValueError(
            f"network Modules: expected the {role} to return shape {expected} for an input of shape (2, {n_in}), "
            f"got {came}; change the {role}'s last layer."
        )
    return out.shape[1]


@contextmanager
def seeded_global_generator(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generator from `generator` for a moment, one thread at a time."""
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(seed)
        yield
