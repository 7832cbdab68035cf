"""A user's own torch modules as encoder and decoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from sklearn_vae._data.devices import FLOAT32, seeded_global_generator
from sklearn_vae.networks.base import (
    POSITIVE,
    Network,
    PosteriorEncoder,
    check_output,
    check_precision,
    try_out,
    wrong_output,
)

# What a class or factory is called with.
SIZES = {"encoder": "n_features", "decoder": "n_components, n_features"}
ARGUMENTS = "expected encoder, decoder, encoder__<name> or decoder__<name>"


class Modules(Network):
    """Any two ``nn.Module``: an encoder that returns features and a decoder that returns columns.

    Whatever torch can express goes in as it is, without a class derived from one of this
    package's: layers, connections and outputs are yours.

    Parameters
    ----------
    encoder : nn.Module, or callable returning one
        (n_rows, n_features) -> (n_rows, any width): features, from which one linear layer
        makes the posterior's means and scales. Or a pair (loc, scale), each of shape
        (n_rows, n_components): these means and scales, scale above 0. A class or factory is
        called with ``(n_features,)``; an instance is copied and trained from the weights it has.
        Layers and weights that encoder and decoder share stay shared.
    decoder : nn.Module, or callable returning one
        (n_rows, n_components) -> (n_rows, n_features): the mean in standardised units
        (Gaussian) or the logits (Bernoulli). A class or factory is called with
        ``(n_components, n_features)``.
    **params
        Further arguments of a class or factory, as ``encoder__<name>`` and
        ``decoder__<name>``; searchable as ``network__encoder__<name>``.

    Raises
    ------
    TypeError
        If `encoder` or `decoder` does not give an ``nn.Module``.
    ValueError
        If a module fails, or its output has another shape or precision, found on two rows
        before training; or if a scale falls below 0 later.

    See Also
    --------
    MLP : Fully connected networks.
    Conv : Convolutions, for rows that are images.
    Network : The base class of networks with parameters of their own.

    Notes
    -----
    With init="ppca" the encoder sees the columns centred and divided by the spread of the
    leading components, and what the modules return is added to linear maps: a pair
    (loc, scale) as loc and log(scale), times a trained number that starts at 0. Modules work
    in the precision of their input, which is float64 for rows of float64 after training, and
    treat each row by itself outside of training. Layers that
    draw random numbers (dropout) do so from torch's global generator, which is seeded for
    each step and put back; fits in several threads then take turns.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from torch import nn
    >>> from sklearn_vae import VAETransformer
    >>> from sklearn_vae.networks import Modules
    >>> def encoder(n_features, width=8):
    ...     return nn.Sequential(nn.Linear(n_features, width), nn.Tanh())
    >>> def decoder(n_components, n_features):
    ...     return nn.Sequential(nn.Linear(n_components, 16), nn.Tanh(), nn.Linear(16, n_features))
    >>> network = Modules(encoder, decoder, encoder__width=16)
    >>> vae = VAETransformer(2, network=network, max_iter=10, random_state=0)
    >>> vae.fit_transform(load_iris().data).shape
    (150, 2)
    >>> vae.set_params(network__encoder__width=4).network.encoder__width
    4
    """

    uses_global_generator = True

    def __init__(self, encoder, decoder, **params):
        self.encoder = encoder
        self.decoder = decoder
        if unknown := [name for name in params if not is_argument(name)]:
            raise TypeError(f"Modules() got an unexpected keyword argument {unknown[0]!r}; {ARGUMENTS}.")
        self.__dict__.update(params)

    def get_params(self, deep=True):
        """Return the modules and the arguments that they are called with."""
        return super().get_params(deep=False) | {k: v for k, v in vars(self).items() if k.partition("__")[0] in SIZES}

    def set_params(self, **params):
        """Set the modules, or arguments that they are called with."""
        if unknown := [name for name in params if name not in SIZES and not is_argument(name)]:
            raise ValueError(f"Invalid parameter {unknown[0]!r} for estimator {self}; {ARGUMENTS}.")
        self.__dict__.update(params)
        return self

    def __sklearn_clone__(self):
        """Copy modules and arguments, all at once, so that what they share stays shared; classes and factories stay.

        Two copies are seen to be alike by their factories.
        """
        made = {role: getattr(self, role) for role in SIZES if not isinstance(getattr(self, role), nn.Module)}
        return type(self)(**copy.deepcopy({k: v for k, v in self.get_params().items() if k not in made}), **made)

    def __getstate__(self):
        """Return modules and arguments with arrays in place of tensors, whose own pickles differ each time."""
        state = super().__getstate__()
        tensors = {id(tensor): StoredTensor(tensor) for *_, tensor in tensors_in(state.values())}
        return copy.deepcopy(state, tensors)

    def __setstate__(self, state):
        """Put tensors back in their places; those that were one are one again."""
        super().__setstate__(state)
        restored: dict[int, Tensor] = {}
        for places, name, stored in tensors_in(vars(self).values(), StoredTensor):
            places[name] = restored.setdefault(id(stored), stored.tensor())

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
        # Trying them out changes lazy layers, and their precision is set: not that of the specification's own.
        own = clone(self)
        with seeded_global_generator(generator):
            encoder = instantiate("encoder", own.encoder, own._arguments("encoder"), n_inputs)
            decoder = instantiate("decoder", own.decoder, own._arguments("decoder"), n_components, n_outputs)
            posterior = gives_posterior(encoder, n_inputs, n_components)
            check_output("decoder", decoder, n_components, n_outputs)
            check_precision("encoder", encoder, n_inputs)
            check_precision("decoder", decoder, n_components)
        if posterior:
            encoder = PosteriorEncoder(encoder, zero_output)
        # Both at once, because they may share layers; a factory may return the same module at each call.
        return copy.deepcopy((encoder, Gated(decoder) if zero_output else decoder))

    def _arguments(self, role: str) -> dict[str, Any]:
        prefix = f"{role}__"
        return {name.removeprefix(prefix): value for name, value in vars(self).items() if name.startswith(prefix)}


def instantiate(
    role: str, module: nn.Module | Callable[..., nn.Module], arguments: dict[str, Any], *sizes: int
) -> nn.Module:
    """Take an instance; call a class or factory with its sizes and arguments."""
    if isinstance(module, nn.Module):
        if arguments:
            name = f"{role}__{next(iter(arguments))}"
            raise TypeError(
                f"network Modules: expected {role} to be a class or factory, because {name} is given, got an instance "
                f"of {type(module).__name__}; pass its class, or leave {name} out."
            )
        return module.to("cpu", torch.float32)
    expected = (
        f"network Modules: expected {role} to be a torch.nn.Module, or a class or factory that returns one when called "
        f"with ({SIZES[role]}) and the {role}__<name> arguments"
    )
    if not callable(module):
        raise TypeError(f"{expected}, got {module!r}.")
    call = ", ".join([*map(str, sizes), *(f"{name}={value!r}" for name, value in arguments.items())])
    call = f"{getattr(module, '__name__', repr(module))}({call})"
    try:
        made = module(*sizes, **arguments)
    except Exception as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{expected}, got {call}, which failed: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise TypeError(f"{expected}, got {made!r} from {call}.")
    return made.to("cpu", torch.float32)


def gives_posterior(encoder: nn.Module, n_inputs: int, n_components: int) -> bool:
    """Try an encoder on two rows: whether it returns (loc, scale), or features; raise ValueError for anything else."""
    shape = (2, n_components)
    expected = f"shape (2, any width), or loc and scale of shape {shape} with scale above 0,"
    out = try_out("encoder", encoder, n_inputs, expected)
    if isinstance(out, Tensor) and out.ndim == 2 and len(out) == 2:
        return False
    if not is_pair(out, shape):
        raise wrong_output("encoder", n_inputs, expected, out)
    if not out[1].min() > 0:
        raise ValueError(
            f"network, tried on two rows: expected the encoder to return loc and scale with scale above 0, got a scale "
            f"of {out[1].min().item():.3g}; {POSITIVE}."
        )
    return True


def is_pair(out: Any, shape: tuple[int, ...]) -> bool:
    """Whether these are two tensors of this shape."""
    return isinstance(out, tuple) and len(out) == 2 and all(isinstance(t, Tensor) and t.shape == shape for t in out)


def is_argument(name: str) -> bool:
    """Whether a parameter's name is that of a module's argument."""
    role, _, argument = name.partition("__")
    return role in SIZES and bool(argument)


def tensors_in(values: Iterable[Any], kind: type = Tensor) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield the tensors of modules among `values`: the dictionary that each is in, its name there, and itself.

    Lazy layers' weights, which have no values yet, are left out, and so are tensors in lists of a user's.
    """
    for module in (m for value in values if isinstance(value, nn.Module) for m in value.modules()):
        for places in (module._parameters, module._buffers, vars(module)):
            for name, tensor in places.items():
                if isinstance(tensor, kind) and not isinstance(tensor, UninitializedBuffer | UninitializedParameter):
                    yield places, name, tensor


class StoredTensor:
    """A tensor as an array.

    Parameters
    ----------
    tensor : Tensor
    """

    def __init__(self, tensor: Tensor):
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.is_parameter = isinstance(tensor, nn.Parameter)
        self.requires_grad = tensor.requires_grad
        values = tensor.detach().cpu()
        try:
            self.array = values.numpy()
        except TypeError:
            # numpy has no such type; float32 has all of its values.
            self.array = values.float().numpy()

    def tensor(self) -> Tensor:
        """Return the tensor, on the CPU; raise ValueError if it was changed so that there is none."""
        try:
            values = torch.from_numpy(np.array(self.array)).to(getattr(torch, self.dtype))
            return nn.Parameter(values, self.requires_grad) if self.is_parameter else values
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"expected a module's tensor of type {self.dtype!r}, got {self.array!r}; the file is damaged or was "
                "changed."
            ) from error


class Gated(nn.Module):
    """A module's output times a trained scalar that starts at zero (ReZero, Bachlechner et al. 2021)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros((), **FLOAT32))

    def forward(self, x: Tensor) -> Tensor:
        """Return gate * module(x)."""
        return self.gate * self.module(x)
