"""User-defined torch modules as encoder and decoder."""

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
    POSITIVE_SCALE_HINT,
    Network,
    PosteriorEncoder,
    check_output,
    check_precision,
    try_out,
    wrong_output,
)

# Positional arguments that a class or factory of each role is called with.
SIZES = {"encoder": "n_features", "decoder": "n_components, n_features"}
# End of error messages for unknown parameters.
ARGUMENTS = "expected encoder, decoder, encoder__<name> or decoder__<name>"


class Modules(Network):
    """Any two ``nn.Module``: an encoder that returns features and a decoder that returns columns.

    The modules need not derive from a class of this package.

    Parameters
    ----------
    encoder : nn.Module, or callable returning one
        Maps rows (n_rows, n_features) to features (n_rows, any width). One linear layer maps
        the features to the posterior's means and scales. Alternatively, the module returns these
        as a pair (loc, scale), each of shape (n_rows, n_components), with scale above 0. A class
        or factory is called with ``(n_features,)``. An instance is copied, and training starts
        at its weights. Layers and weights that encoder and decoder share stay shared.
    decoder : nn.Module, or callable returning one
        Maps latents (n_rows, n_components) to (n_rows, n_features): the mean in standardised
        units (Gaussian) or the logits (Bernoulli). A class or factory is called with
        ``(n_components, n_features)``.
    **params
        Further arguments of a class or factory, as ``encoder__<name>`` and
        ``decoder__<name>``. They can be searched as ``network__encoder__<name>``.

    Raises
    ------
    TypeError
        If `encoder` or `decoder` is not an ``nn.Module`` and does not return one when called.
    ValueError
        If a module fails on two rows before training, or if its output there has the wrong shape
        or precision. Also if the encoder returns a scale below 0 in training.

    See Also
    --------
    MLP : Fully connected networks.
    Conv : Convolutions, for rows that are images.
    Network : The base class of networks with parameters of their own.

    Notes
    -----
    With init="ppca" the encoder sees centred columns, divided by the spread of the leading
    components. The modules' outputs are added to linear maps. A pair (loc, scale) is added as
    loc and log(scale), multiplied by a trained number that starts at 0.

    Modules must compute in the precision of their input. After training this is float64 for rows
    of float64. Outside of training, the output for a row must not depend on other rows.

    Layers that draw random numbers, such as dropout, draw from torch's global generator. This
    generator is seeded before each step and restored afterwards, so fits in several threads take
    turns.

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
        """Return the modules and the arguments of their classes or factories."""
        return super().get_params(deep=False) | {k: v for k, v in vars(self).items() if k.partition("__")[0] in SIZES}

    def set_params(self, **params):
        """Set the modules, or arguments of their classes or factories."""
        if unknown := [name for name in params if name not in SIZES and not is_argument(name)]:
            raise ValueError(f"Invalid parameter {unknown[0]!r} for estimator {self}; {ARGUMENTS}.")
        self.__dict__.update(params)
        return self

    def __sklearn_clone__(self):
        """Copy modules and arguments in one deep copy, so that shared layers stay shared.

        Classes and factories are not copied, because two clones are compared by the identity of their factories.
        """
        factories = {role: getattr(self, role) for role in SIZES if not isinstance(getattr(self, role), nn.Module)}
        copied = copy.deepcopy({k: v for k, v in self.get_params().items() if k not in factories})
        return type(self)(**copied, **factories)

    def __getstate__(self):
        """Return modules and arguments with tensors as arrays, because pickles of tensors are not reproducible."""
        state = super().__getstate__()
        tensors = {id(tensor): StoredTensor(tensor) for *_, tensor in tensors_in(state.values())}
        return copy.deepcopy(state, tensors)

    def __setstate__(self, state):
        """Replace arrays by tensors; a tensor that was shared is shared again."""
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
        # The trial initialises lazy layers, and `instantiate` sets the precision. Both must not change `self`.
        copied = clone(self)
        with seeded_global_generator(generator):
            encoder = instantiate("encoder", copied.encoder, copied._arguments("encoder"), n_inputs)
            arguments = copied._arguments("decoder")
            decoder = instantiate("decoder", copied.decoder, arguments, n_components, n_outputs)
            posterior = gives_posterior(encoder, n_inputs, n_components)
            check_output("decoder", decoder, n_components, n_outputs)
            check_precision("encoder", encoder, n_inputs)
            check_precision("decoder", decoder, n_components)
        if posterior:
            encoder = PosteriorEncoder(encoder, zero_output)
        # A factory may return the same module at each call, so modules are copied; one deep copy keeps layers shared.
        return copy.deepcopy((encoder, Gated(decoder) if zero_output else decoder))

    def _arguments(self, role: str) -> dict[str, Any]:
        prefix = f"{role}__"
        return {name.removeprefix(prefix): value for name, value in vars(self).items() if name.startswith(prefix)}


def instantiate(
    role: str, module: nn.Module | Callable[..., nn.Module], arguments: dict[str, Any], *sizes: int
) -> nn.Module:
    """Return the module if it is an instance; otherwise call the class or factory with sizes and arguments."""
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
    """Return True if the encoder returns (loc, scale) for two rows, False for features; else raise ValueError."""
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
            f"of {out[1].min().item():.3g}; {POSITIVE_SCALE_HINT}."
        )
    return True


def is_pair(out: Any, shape: tuple[int, ...]) -> bool:
    """Return whether `out` is a tuple of two tensors of this shape."""
    return isinstance(out, tuple) and len(out) == 2 and all(isinstance(t, Tensor) and t.shape == shape for t in out)


def is_argument(name: str) -> bool:
    """Return whether a parameter's name is ``encoder__<name>`` or ``decoder__<name>``."""
    role, _, argument = name.partition("__")
    return role in SIZES and bool(argument)


def tensors_in(values: Iterable[Any], kind: type = Tensor) -> Iterator[tuple[dict[str, Any], str, Any]]:
    """Yield (dictionary, name, tensor) for each tensor that belongs to a module among `values`.

    `dictionary[name]` is the tensor. Weights of lazy layers, which have no values yet, are left out. So are tensors
    inside lists or other containers that are attributes of a module.
    """
    for module in (m for value in values if isinstance(value, nn.Module) for m in value.modules()):
        for places in (module._parameters, module._buffers, vars(module)):
            for name, tensor in places.items():
                if isinstance(tensor, kind) and not isinstance(tensor, UninitializedBuffer | UninitializedParameter):
                    yield places, name, tensor


class StoredTensor:
    """Tensor stored as a numpy array.

    Parameters
    ----------
    tensor : Tensor
        The tensor, which may be a parameter.
    """

    def __init__(self, tensor: Tensor):
        self.dtype = str(tensor.dtype).removeprefix("torch.")
        self.is_parameter = isinstance(tensor, nn.Parameter)
        self.requires_grad = tensor.requires_grad
        values = tensor.detach().cpu()
        try:
            self.array = values.numpy()
        except TypeError:
            # numpy lacks some types, such as bfloat16; float32 represents their values exactly.
            self.array = values.float().numpy()

    def tensor(self) -> Tensor:
        """Return the tensor on the CPU; raise ValueError if the stored values are damaged."""
        try:
            values = torch.from_numpy(np.array(self.array)).to(getattr(torch, self.dtype))
            return nn.Parameter(values, self.requires_grad) if self.is_parameter else values
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"expected a module's tensor of type {self.dtype!r}, got {self.array!r}; the file is damaged or was "
                "changed."
            ) from error


class Gated(nn.Module):
    """Module whose output is multiplied by a trained scalar that starts at 0 (ReZero, Bachlechner et al. 2021)."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module
        self.gate = nn.Parameter(torch.zeros((), **FLOAT32))

    def forward(self, x: Tensor) -> Tensor:
        """Return gate * module(x)."""
        return self.gate * self.module(x)
