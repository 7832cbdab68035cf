"""The closed-form training step against autograd's."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm

from sklearn_vae import VAETransformer
from sklearn_vae._data.devices import to_tensor
from sklearn_vae._model.vae import LOG_SCALE_RANGE
from sklearn_vae._training.closed_form_step import ClosedFormStep
from sklearn_vae._training.progress import Progress
from sklearn_vae._training.recipe import TransformerRules
from sklearn_vae._training.step import AutogradStep
from sklearn_vae._training.trainer import STEPS
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP, Modules

N_ROWS = 60


def user_network(encoder):
    """Return parameters for networks of a user with this encoder, and a decoder that has the closed form."""
    network = Modules(encoder, lambda d, n: nn.Sequential(nn.Linear(d, 8), nn.ReLU(), nn.Linear(8, n)))
    return {"network": network, "init": "random"}


def repeated_activation(n):
    """Return an encoder whose activation is one module."""
    activation = nn.ReLU()
    return nn.Sequential(nn.Linear(n, 8), activation, nn.Linear(8, 8), activation)


def hooked_layer(n):
    """Return an encoder in which one layer has a gradient hook."""
    activation = nn.ReLU()
    activation.register_full_backward_hook(lambda *_: None)
    return nn.Sequential(nn.Linear(n, 8), activation)


def frozen_layer(n):
    """Return an encoder that is not trained."""
    return nn.Sequential(nn.Linear(n, 8), nn.ReLU()).requires_grad_(False)


def shared(*names):
    """Return parameters for networks, the decoder's middle layer being the encoder's, or having these parts of it."""
    layers = []

    def encoder(n_features):
        layers[:] = [nn.Linear(8, 8)]
        return nn.Sequential(nn.Linear(n_features, 8), nn.ReLU(), *layers, nn.ReLU())

    def decoder(n_components, n_features):
        middle = nn.Linear(8, 8) if names else layers[0]
        for name in names:
            setattr(middle, name, getattr(layers[0], name))
        return nn.Sequential(nn.Linear(n_components, 8), nn.ReLU(), middle, nn.ReLU(), nn.Linear(8, n_features))

    return {"network": Modules(encoder, decoder), "init": "random"}


CLOSED_FORM = {
    "defaults": {},
    "networks alone": {"init": "random"},
    "ReLUs": {"network": MLP("relu", "leaky_relu"), "hidden_layer_sizes": (7, 6, 5)},
    "principal coordinates": {"network": MLP(principal_coordinates=5), "n_components": 1, "input_noise": 0.0},
    "fixed scale": {"likelihood": Gaussian(scale=0.5)},
    "no hidden layers": {"hidden_layer_sizes": []},
    "layer normalisation": {"network": MLP(layer_norm=True)},
    "layer normalisation without activation": user_network(lambda n: nn.Sequential(nn.Linear(n, 8), nn.LayerNorm(8))),
    "activation used twice": user_network(repeated_activation),
}
LEFT_TO_AUTOGRAD = {
    "smooth activation": {"network": MLP("silu")},
    "learned scale": {"likelihood": Gaussian("learned")},
    "scale per column": {"likelihood": Gaussian(per_column=True)},
    "likelihood": {"likelihood": "bernoulli"},
    "prior": {"prior": "mixture"},
    "objective": {"objective": "iwae"},
    "network": {"network": "conv"},
    "normalised weights": user_network(lambda n: nn.Sequential(spectral_norm(nn.Linear(n, 8)), nn.ReLU())),
    "layer used twice": user_network(lambda n: nn.Sequential(*2 * [nn.Linear(n, n)])),
    "slope below 0": user_network(lambda n: nn.Sequential(nn.Linear(n, 8), nn.LeakyReLU(-0.1))),
    "layer's hook": user_network(hooked_layer),
    "frozen layer": user_network(frozen_layer),
    "layer in encoder and decoder": shared(),
    "layer in encoder and decoder, around linear maps": shared() | {"init": "ppca"},
    "weight in encoder and decoder": shared("weight"),
    "bias in encoder and decoder": shared("bias"),
    "layer normalisation without biases": user_network(
        lambda n: nn.Sequential(nn.Linear(n, 8), nn.LayerNorm(8, bias=False), nn.ReLU())
    ),
    "layer normalisation after the activation": user_network(
        lambda n: nn.Sequential(nn.Linear(n, 8), nn.ReLU(), nn.LayerNorm(8))
    ),
    "no bias": user_network(lambda n: nn.Sequential(nn.Linear(n, 8, bias=False))),
}


def make_trainer(n_features=12, **params):
    """Return a trainer some steps after the start, and rows."""
    X = np.random.default_rng(0).random((N_ROWS, n_features), dtype=np.float32)
    vae = VAETransformer(**{"n_components": 3, "hidden_layer_sizes": (8, 6), "random_state": 0, **params})
    rows = vae._rows(X, None)
    procedure = vae._procedure(rows, TransformerRules(N_ROWS), Progress(vae))
    trainer = procedure.trainer(procedure.start(rows), rows.device, n_steps=100)
    trainer.run_epoch(rows)
    return trainer, to_tensor(X)


def by_autograd(trainer, x, beta, weight, mask=None):
    """Return terms and gradients, and leave the noise scale's sums as they were."""
    sums = [(t, t.clone()) for t in trainer.model.likelihood.optima()]
    trainer.weights.gradient.zero_()
    terms = trainer.model(x, beta, torch.Generator().manual_seed(1), mask, weight)
    (terms.loss if weight is None else terms.loss * weight).mean().backward()
    for tensor, before in sums:
        tensor.copy_(before)
    return terms, trainer.weights.gradient.clone()


def with_gaps(x):
    """Return rows with a third of the cells missing, none observed in the first row, and the mask."""
    mask = torch.rand(x.shape, generator=torch.Generator().manual_seed(3)) > 1 / 3
    mask[0] = False
    return x.where(mask, torch.nan), mask


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("params", CLOSED_FORM.values(), ids=CLOSED_FORM)
def test_closed_form_gradient_is_autograds(params, weighted, gaps):
    trainer, x = make_trainer(**params)
    weight = torch.rand(N_ROWS, generator=torch.Generator().manual_seed(2)) if weighted else None
    x, mask = with_gaps(x) if gaps else (x, None)
    expected_terms, expected = by_autograd(trainer, x, 0.7, weight, mask)
    for parameter in trainer.model.parameters():
        parameter.grad.fill_(torch.nan)
    batch = {"x": x} | ({"weight": weight} if weighted else {}) | ({"mask": mask} if gaps else {})
    sums = ClosedFormStep(trainer.model, trainer.weights)(batch, 0.7, torch.Generator().manual_seed(1))
    for value, term in zip(sums, expected_terms, strict=True):
        expected_sum = float((term if weight is None else term * weight).detach().sum())
        assert value == pytest.approx(expected_sum, rel=1e-5, abs=1e-3)
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(trainer.weights.gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_closed_form_gradient_with_points_is_autograds(weighted, gaps):
    trainer, x = make_trainer(objective="neighbors")
    assert ClosedFormStep.supports(trainer.model)
    generator = torch.Generator().manual_seed(2)
    batch = {"x": x, "point": torch.randn(N_ROWS, 3, generator=generator)}
    if weighted:
        batch["weight"] = torch.rand(N_ROWS, generator=generator)
    if gaps:
        batch["x"], batch["mask"] = with_gaps(x)
    results, state = [], copy.deepcopy(trainer.model.state_dict())
    for step in (AutogradStep, ClosedFormStep):
        # A step updates the sums of the noise scale.
        trainer.model.load_state_dict(state)
        sums = step(trainer.model, trainer.weights)(batch, 0.7, torch.Generator().manual_seed(1))
        results.append((sums, trainer.weights.gradient.clone()))
    (expected_sums, expected), (sums, gradient) = results
    assert list(sums) == pytest.approx(list(expected_sums), rel=1e-5, abs=1e-3)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("shift", [-20.0, 20.0])
def test_closed_form_gradient_of_scales_out_of_range_is_zero(shift):
    trainer, x = make_trainer()
    with torch.no_grad():
        trainer.model.linear.log_scale += shift
    _, expected = by_autograd(trainer, x, 1e-9, None)
    ClosedFormStep(trainer.model, trainer.weights)({"x": x}, 1e-9, torch.Generator().manual_seed(1))
    assert (trainer.model.linear.log_scale.grad == 0).all()
    torch.testing.assert_close(trainer.weights.gradient, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("end", LOG_SCALE_RANGE)
def test_closed_form_gradient_of_scales_at_an_end_of_the_range_is_autograds(end):
    """Training starts there if a fixed noise is tiny."""
    trainer, x = make_trainer()
    with torch.no_grad():
        trainer.model.encoder_head.weight.zero_()
        trainer.model.encoder_head.bias.zero_()
        trainer.model.linear.log_scale.fill_(end)
    _, expected = by_autograd(trainer, x, 1.0, None)
    ClosedFormStep(trainer.model, trainer.weights)({"x": x}, 1.0, torch.Generator().manual_seed(1))
    assert trainer.model.linear.log_scale.grad.all()
    torch.testing.assert_close(trainer.weights.gradient, expected, rtol=1e-3, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("params", LEFT_TO_AUTOGRAD.values(), ids=LEFT_TO_AUTOGRAD)
def test_other_models_are_left_to_autograd(params):
    trainer, _ = make_trainer(n_features=16, **params)
    assert not ClosedFormStep.supports(trainer.model)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("params", (CLOSED_FORM | LEFT_TO_AUTOGRAD).values(), ids=CLOSED_FORM | LEFT_TO_AUTOGRAD)
def test_a_step_has_autograds_gradient(params, weighted):
    trainer, x = make_trainer(n_features=16, **params)
    weight = torch.rand(N_ROWS, generator=torch.Generator().manual_seed(2)) if weighted else None
    batch = {"x": x, "weight": weight} if weighted else {"x": x}
    # A user's modules may draw from torch's global generator, which is seeded from the trainer's generator.
    trainer.model.uses_global_generator = False
    state = copy.deepcopy(trainer.model.state_dict())
    _, expected = by_autograd(trainer, x, 1.0, weight)
    # Spectral normalisation changes its buffers in each pass.
    trainer.model.load_state_dict(state)
    trainer.generator.manual_seed(1)
    trainer.differentiate(batch)
    torch.testing.assert_close(trainer.weights.gradient, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("module", ["encoder_head", "linear.encoder", "linear.decoder"])
def test_a_model_that_uses_one_of_its_own_parameters_twice_is_left_to_autograd(module):
    trainer, _ = make_trainer()
    layer = trainer.model.get_submodule(module)
    trainer.model.decoder[0].bias = layer.bias
    assert not ClosedFormStep.supports(trainer.model)


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_a_model_with_a_hook_on_a_gradient_is_left_to_autograd(register):
    trainer, _ = make_trainer()
    getattr(trainer.model.encoder[0].weight, register)(lambda _: None)
    assert not ClosedFormStep.supports(trainer.model)


def test_a_model_with_two_parameters_in_one_memory_is_left_to_autograd():
    trainer, _ = make_trainer()
    trainer.model.decoder[0].bias = nn.Parameter(trainer.model.encoder[2].bias.detach())
    assert not ClosedFormStep.supports(trainer.model)


@pytest.mark.parametrize("component", ["objective", "prior", "likelihood"])
@pytest.mark.parametrize("declared", [False, True])
def test_a_users_subclass_is_left_to_autograd_unless_it_declares_the_capability(component, declared):
    """A subclass may override the methods that the capability depends on."""
    trainer, _ = make_trainer()
    base = getattr(trainer.model, component)
    names = {"objective": "is_elbo", "prior": "is_standard_normal", "likelihood": "has_gradient"}
    base.__class__ = type("Users", (type(base),), {names[component]: True} if declared else {})
    assert ClosedFormStep.supports(trainer.model) == declared


@pytest.mark.parametrize("n_features", [12, 140])
def test_training_is_the_same_with_either_step(n_features, monkeypatch):
    X = np.random.default_rng(0).random((N_ROWS, n_features))
    vae = VAETransformer(2, max_iter=20, random_state=0)
    closed_form = vae.fit(X).score_samples(X)
    monkeypatch.setattr("sklearn_vae._training.trainer.STEPS", (AutogradStep,))
    np.testing.assert_allclose(vae.fit(X).score_samples(X), closed_form, rtol=1e-3, atol=1e-3)


def test_the_step_that_every_model_has_comes_last():
    assert STEPS[-1] is AutogradStep and ClosedFormStep in STEPS
