"""Parameters are compared by structure."""

import functools

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn

from sklearn_vae import VAETransformer
from sklearn_vae._model.same import same
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP, Modules


class Options:
    """An object without equality and without a representation of its own."""

    def __init__(self, width, other=None):
        self.width, self.other = width, other

    def build(self, n):
        return nn.Linear(n, self.width)


class Slotted:
    __slots__ = ("width",)

    def __init__(self, width):
        self.width = width


def chain(middle, slope=0.1):
    """A long chain, of which scikit-learn's representation shows the ends."""
    ends = [m for _ in range(8) for m in (nn.Linear(8, 8), nn.LeakyReLU(slope))]
    return nn.Sequential(*ends, nn.Linear(8, middle), nn.Linear(middle, 8), *ends)


def factory(n, options=None):
    return nn.Linear(n, 3)


EQUAL = {
    "numbers": (1, np.int64(1)),
    "NaN": (float("nan"), float("nan")),
    "sequences": ((8, 4), [8, 4]),
    "arrays": (np.arange(3), np.arange(3)),
    "dictionaries": ({"a": [1]}, {"a": [1]}),
    "estimators": (Gaussian(scale=0.5), Gaussian(scale=0.5)),
    "networks": (MLP(), MLP()),
    "objects": (Options(3, Options(1)), Options(3, Options(1))),
    "slots": (Slotted(3), Slotted(3)),
    "methods": (Options(3).build, Options(3).build),
    "partial functions": (
        functools.partial(factory, options=Options(2)),
        functools.partial(factory, options=Options(2)),
    ),
    "modules": (chain(5), chain(5)),
    "tensors": (torch.zeros(2), torch.ones(2)),
    "functions": (factory, factory),
}
DIFFERENT = {
    "numbers": (1, 2),
    "lengths": ((8, 4), (8, 4, 4)),
    "arrays": (np.arange(2000), np.where(np.arange(2000) == 1000, 0, np.arange(2000))),
    "dictionaries": ({"a": 1}, {"b": 1}),
    "estimators": (Gaussian(scale=0.5), Gaussian(scale=0.25)),
    "kinds": (Gaussian(), MLP()),
    "objects": (Options(3, Options(1)), Options(3, Options(2))),
    "slots": (Slotted(3), Slotted(4)),
    "methods": (Options(3).build, Options(4).build),
    "partial functions": (
        functools.partial(factory, options=Options(2)),
        functools.partial(factory, options=Options(3)),
    ),
    "middle layers": (chain(5), chain(9)),
    "options of layers": (chain(5), chain(5, slope=0.2)),
    "kinds of layers": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
    "tensors": (torch.zeros(2), torch.zeros(3)),
    "functions": (factory, chain),
    "unknown": (object(), object()),
}


@pytest.mark.parametrize("name", EQUAL)
def test_same_of_equal_parameters_and_of_copies(name):
    a, b = EQUAL[name]
    assert same(a, b) and same(b, a)
    assert same(a, clone(a, safe=False))


@pytest.mark.parametrize("name", DIFFERENT)
def test_same_of_different_parameters(name):
    a, b = DIFFERENT[name]
    assert not same(a, b) and not same(b, a)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"hidden_layer_sizes": [8] * 40 + [5] + [8] * 40}, {"hidden_layer_sizes": [8] * 40 + [9] + [8] * 40}),
        (
            {"network": Modules(chain(5), nn.Linear(2, 8))},
            {"network": Modules(chain(9), nn.Linear(2, 8))},
        ),
    ],
    ids=["hidden_layer_sizes", "network"],
)
def test_warm_start_refuses_another_architecture_of_the_same_printed_form(first, second):
    X = np.random.default_rng(0).normal(size=(30, 8))
    vae = VAETransformer(2, max_iter=1, early_stopping=False, warm_start=True, random_state=0, **first).fit(X)
    assert repr(vae) == repr(clone(vae).set_params(**second))
    with pytest.raises(ValueError, match=f"expected {next(iter(first))} as in the first call"):
        vae.set_params(**second).fit(X)


def test_partial_fit_goes_on_with_arguments_that_have_no_representation(iris):
    network = Modules(lambda n, options: options.build(n), nn.Linear(2, 4), encoder__options=Options(3))
    vae = VAETransformer(2, network=network, random_state=0).partial_fit(iris).partial_fit(iris)
    assert vae.n_iter_ == 2
    with pytest.raises(ValueError, match="expected network as in the first call"):
        vae.set_params(network__encoder__options=Options(4)).partial_fit(iris)


def test_same_of_objects_that_contain_themselves():
    def circle(width):
        options = Options(width)
        options.other = [options]
        return options

    assert same(circle(1), circle(1)) and not same(circle(1), circle(2))


class Ambiguous(Options):
    def __eq__(self, other):
        raise ValueError("neither")

    __hash__ = None


def test_values_whose_comparison_fails_are_compared_by_their_contents():
    assert same(Ambiguous(1), Ambiguous(1)) and not same(Ambiguous(1), Ambiguous(2))
