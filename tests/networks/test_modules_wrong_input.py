"""Wrong user-defined modules raise an error before training that says what was expected and what was returned."""

import re

import pytest
import torch
from naming import shown
from own_modules import columns, features, small
from torch import nn

from sklearn_vae.networks import Modules


class Returns(nn.Module):
    """Encoder that returns a function of a linear layer's output."""

    def __init__(self, function, n_in=4, n_out=2):
        super().__init__()
        self.layer, self.function = nn.Linear(n_in, n_out), function

    def forward(self, x):
        return self.function(self.layer(x))


POSTERIOR = re.escape(
    "shape (2, any width), or loc and scale of shape (2, 2) with scale above 0, for an input of shape"
)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda h: h[0], POSTERIOR + r" \(2, 4\), got shape \(2,\); change the encoder's last layer"),
        (lambda h: h[:, None], POSTERIOR + r" \(2, 4\), got shape \(2, 1, 2\)"),
        (lambda h: [h, h.exp()], r"got a list of shape \(2, 2\), shape \(2, 2\); change what the encoder's forward"),
        (lambda h: (h, h.exp(), h), r"got a tuple of shape \(2, 2\), shape \(2, 2\), shape \(2, 2\)"),
        (lambda h: (h, h.exp()[:, :1]), r"got a tuple of shape \(2, 2\), shape \(2, 1\)"),
        (lambda h: (h[:, :1], h[:, :1].exp()), r"got a tuple of shape \(2, 1\), shape \(2, 1\)"),
        (lambda h: (h, h.exp().numpy()), r"got a tuple of shape \(2, 2\), a ndarray"),
        (lambda h: (h, 1.0), r"got a tuple of shape \(2, 2\), a float"),
        (lambda h: torch.distributions.Normal(h, h.exp()), "got a Normal; change what the encoder's forward returns"),
        (lambda h: None, "got a NoneType"),
        (
            lambda h: (h, torch.full_like(h, -1.5)),
            r"scale above 0, got a scale of -1\.5; end it with softplus, or with exp \(a log",
        ),
        (lambda h: (h, torch.zeros_like(h)), "scale above 0, got a scale of 0; end it with softplus"),
        (lambda h: (h, h * torch.nan), "scale above 0, got a scale of nan"),
        (lambda h: h.argmax(-1, keepdim=True), "expected the encoder to return float32 for float32, got int64"),
        (
            lambda h: (h, h.exp().double()),
            "float32 for float32, got float32, float64; keep the precision of the input",
        ),
        (lambda h: h.float(), "expected the encoder to return float64 for float64, got float32"),
        (lambda h: h @ torch.eye(2), "return float64 for float64 .* it failed: RuntimeError: .* same dtype"),
    ],
)
def test_encoder_that_returns_what_it_should_not(iris, function, message):
    with pytest.raises(ValueError, match=message):
        small(network=Modules(Returns(function), columns)).fit(iris)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda h: h[:, :3],
            r"decoder to return shape \(2, 4\) for an input of shape \(2, 2\), got shape \(2, 3\); cha",
        ),
        (lambda h: (h, h.exp()), r"got a tuple of shape \(2, 4\), shape \(2, 4\); change what the decoder's forward"),
        (lambda h: h.numpy(), "got a ndarray"),
        (lambda h: h.round().int(), "expected the decoder to return float32 for float32, got int32"),
    ],
)
def test_decoder_that_returns_what_it_should_not(iris, function, message):
    with pytest.raises(ValueError, match=message):
        small(network=Modules(features, Returns(function, 2, 4))).fit(iris)


class Broken(Exception):
    """A user-defined exception."""


def fail(error):
    raise error


@pytest.mark.parametrize("error", [Broken("no"), KeyError("no"), RuntimeError("no"), AssertionError("no")], ids=repr)
def test_module_that_raises(iris, error):
    failing = Returns(lambda h: fail(error), 2, 4)
    message = rf"tried on two rows: expected the decoder .* but it failed: {type(error).__name__}: '?no"
    with pytest.raises(ValueError, match=message) as caught:
        small(network=Modules(features, failing)).fit(iris)
    assert caught.value.__cause__ is error
    with pytest.raises((TypeError, ValueError), match=rf"expected encoder .*failed: {type(error).__name__}: '?no"):
        small(network=Modules(lambda n_features: fail(error), columns)).fit(iris)


def test_module_without_forward(iris):
    with pytest.raises(ValueError, match='NotImplementedError: Module .* is missing the required "forward"'):
        small(network=Modules(nn.Module(), columns)).fit(iris)


@pytest.mark.parametrize("encoder", ["linear", None, 3, {}, lambda n: nn.Linear, lambda n: "linear"], ids=shown)
def test_encoder_that_is_no_module(iris, encoder):
    message = (
        r"expected encoder to be a torch.nn.Module, or a class or factory .* \(n_features\) and the encoder__<name>"
    )
    with pytest.raises(TypeError, match=message):
        small(network=Modules(encoder, columns)).fit(iris)


def test_modules_without_decoder():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'decoder'"):
        Modules(features)


def test_class_of_networks_in_place_of_an_instance(iris):
    with pytest.raises(ValueError, match="'network' parameter .* an instance of 'sklearn_vae.networks.base.Network'"):
        small(network=Modules).fit(iris)


def test_wrong_module_is_found_before_training(iris):
    """The encoder has seen only two rows when the decoder's shape raises an error."""
    seen = []

    def encoder(n_features):
        return Returns(lambda h: seen.append(len(h)) or h)

    with pytest.raises(ValueError, match="decoder"):
        small(network=Modules(encoder, nn.Linear(2, 5))).fit(iris)
    assert set(seen) == {2}


@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_module_that_writes_to_its_input(iris, role):
    """Rows and latents are read again, so a layer that changes them would silently give a wrong model."""
    modules = {"encoder": nn.Linear(4, 6), "decoder": nn.Linear(2, 4)}
    modules[role] = nn.Sequential(nn.ReLU(inplace=True), modules[role])
    with pytest.raises(ValueError, match=f"expected the {role} to leave its input as it is, .* use inplace=False"):
        small(network=Modules(**modules)).fit(iris)


def decoder(n_components, n_features):
    return nn.Linear(n_components, n_features)


@pytest.mark.parametrize(
    ("encoder", "user_decoder", "message"),
    [
        (
            nn.Linear(4, 3),
            nn.Linear(2, 5),
            r"expected the decoder to return shape \(2, 4\) .* \(2, 2\), got shape \(2, 5\)",
        ),
        (
            nn.Linear(3, 3),
            decoder,
            r"encoder to return shape .* for an input of shape \(2, 4\), but it failed",
        ),
        (nn.Flatten(0), decoder, r"expected the encoder to return shape \(2, any width\), .* got shape \(8,\)"),
        (nn.LSTM(4, 3), decoder, "expected the encoder to return shape .* got a tuple"),
        (
            nn.Linear(4, 3),
            nn.Linear(3, 4),
            r"decoder to return shape .* for an input of shape \(2, 2\), but it failed",
        ),
    ],
    ids=shown,
)
def test_user_network_of_wrong_shape(iris, encoder, user_decoder, message):
    with pytest.raises(ValueError, match=message):
        small(network=Modules(encoder, user_decoder)).fit(iris)


@pytest.mark.parametrize("encoder", ["linear", 3, lambda n_features: None, dict], ids=shown)
def test_user_network_that_is_no_module(iris, encoder):
    with pytest.raises((TypeError, ValueError), match=r"expected encoder to be a torch.nn.Module.*got "):
        small(network=Modules(encoder, decoder)).fit(iris)
