"""Batches, training that can be resumed, and inference in chunks."""

import copy

import numpy as np
import pytest
import torch
from running_mean import RunningMean
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.devices import to_tensor
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.evaluate import evaluate
from sklearn_vae._training.recipe import Settings
from sklearn_vae._training.step import AutogradStep
from sklearn_vae._training.trainer import Trainer, _Adam
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import Modules

CPU = torch.device("cpu")


def settings(**changes):
    values = {
        "batch_size": 32,
        "learning_rate": lambda step: 0.01,
        "beta": lambda step: 1.0,
        "n_steps": 1,
        "weight_decay": 1e-3,
        "averaging": 0.9,
        "input_noise": 0.0,
        "target_weight": lambda step: 1.0,
    }
    return Settings(**{**values, **changes})


def trainer_of(X, seed=0, **changes):
    vae = VAETransformer(2, hidden_layer_sizes=(6,), max_iter=0, random_state=0).fit(X)
    model = vae.module_.requires_grad_(True)
    model.input_noise = changes.get("input_noise", 0.0)
    return Trainer(model, settings(**changes), seed)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@pytest.fixture
def rows(iris):
    return DenseRows(to_tensor(iris))


# Trainer


def test_trainer_lowers_the_loss(iris, rows):
    trainer = trainer_of(iris, learning_rate=lambda step: 0.003)
    losses = [trainer.run_epoch(rows).loss for _ in range(60)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.05
    assert trainer.step == 60 * rows.n_batches(32)


def test_trainer_gives_equal_runs_for_equal_generators(iris, rows):
    trainers = [trainer_of(iris, seed) for seed in (0, 0, 1)]
    losses = [trainer.run_epoch(rows) for trainer in trainers]
    assert losses[0] == losses[1] != losses[2]
    assert_equal_weights(weights(trainers[0].model), weights(trainers[1].model))


@pytest.mark.parametrize("by_autograd", [False, True])
@pytest.mark.parametrize("size", [1.0, 1e-3, 1e3])
def test_trainer_returns_weighted_means_over_the_rows_that_are_trained_on(iris, size, by_autograd, monkeypatch):
    """Weights have mean 1 over all rows, and any mean over a part."""
    if by_autograd:
        monkeypatch.setattr("sklearn_vae._training.trainer.STEPS", (AutogradStep,))
    weight = torch.linspace(0.1, 1.9, 150)
    index = torch.arange(0, 150, 3)
    part = DenseRows(to_tensor(iris), size * weight, index)
    alone = DenseRows(to_tensor(iris[::3]), weight[index] / weight[index].mean())
    of_part, of_rows = (
        [trainer.run_epoch(rows) for _ in range(3)]
        for trainer, rows in ((trainer_of(iris, seed=1), part), (trainer_of(iris, seed=1), alone))
    )
    assert part.total_weight == pytest.approx(float(size * weight[index].sum()))
    np.testing.assert_allclose(of_part, of_rows, rtol=1e-3)


@pytest.mark.parametrize("input_noise", [0.0, 0.3])
def test_trainer_goes_on_from_its_state_as_if_never_interrupted(iris, rows, input_noise):
    whole = trainer_of(iris, input_noise=input_noise)
    whole.run_epoch(rows)
    state = copy.deepcopy(whole.state_dict())
    resumed = trainer_of(iris, seed=99, input_noise=input_noise)
    resumed.average.load_state_dict(whole.average.state_dict())
    resumed.load_state_dict(state)
    losses = [[trainer.run_epoch(rows) for _ in range(2)] for trainer in (whole, resumed)]
    assert losses[0] == losses[1] and whole.step == resumed.step
    assert_equal_weights(weights(whole.model), weights(resumed.model))
    assert_equal_weights(weights(whole.average), weights(resumed.average))


def test_trainer_state_holds_arrays_numbers_and_a_digest_only(iris, rows):
    trainer = trainer_of(iris)
    trainer.run_epoch(rows)

    def leaves(value):
        if isinstance(value, (dict, list)):
            for item in value.values() if isinstance(value, dict) else value:
                yield from leaves(item)
        else:
            yield value

    assert all(isinstance(leaf, (np.ndarray, int, float, str)) for leaf in leaves(trainer.state_dict()))


def test_trainer_without_averaging_keeps_the_last_weights(iris, rows):
    trainer = trainer_of(iris, averaging=0.0)
    trainer.run_epoch(rows)
    for average, last in zip(trainer.average.parameters(), trainer.model.parameters(), strict=True):
        torch.testing.assert_close(average, last, rtol=1e-6, atol=1e-7)


def averaged(model):
    """Return what training averages: weights, and the noise scale's sums."""
    return [tensor.detach() for tensor in (*model.parameters(), *model.likelihood.optima())]


def test_trainer_average_is_the_moving_average_of_weights_and_sums(iris, rows):
    """With the decay t / (t + 9) of step t, up to the limit."""
    trainer = trainer_of(iris, batch_size=150, averaging=0.2)
    expected = [tensor.clone() for tensor in averaged(trainer.model)]
    for step in range(1, 5):
        trainer.run_epoch(rows)
        decay = min(0.2, step / (step + 9))
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, averaged(trainer.model), strict=True)]
    for average, value in zip(averaged(trainer.average), expected, strict=True):
        torch.testing.assert_close(average, value, rtol=1e-5, atol=1e-6)


def test_trainer_follows_the_schedules_of_learning_rate_and_beta(iris, rows):
    asked = {"learning_rate": [], "beta": []}
    trainer = trainer_of(
        iris,
        batch_size=50,
        learning_rate=lambda step: asked["learning_rate"].append(step) or 0.0,
        beta=lambda step: asked["beta"].append(step) or 0.5,
    )
    before = weights(trainer.model)
    trainer.run_epoch(rows)
    trainer.run_epoch(rows)
    assert sorted(set(asked["learning_rate"])) == sorted(set(asked["beta"])) == list(range(6))
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, before[name]), name


def test_trainer_decays_networks_and_not_linear_maps(iris, rows):
    """Without a gradient only weight decay remains, because Adam's step is bounded by the learning rate."""
    trainers = {decay: trainer_of(iris, weight_decay=decay, batch_size=150) for decay in (0.0, 50.0)}
    for trainer in trainers.values():
        trainer.run_epoch(rows)
    plain, decayed = (dict(trainer.model.named_parameters()) for trainer in trainers.values())
    assert decayed["encoder.0.weight"].norm() < 0.6 * plain["encoder.0.weight"].norm()
    for name in plain:
        if name.startswith("linear."):
            assert torch.equal(plain[name], decayed[name]), name


@pytest.mark.parametrize("layer", [nn.BatchNorm1d, RunningMean])
def test_trainer_average_has_the_statistics_of_the_model(iris, rows, layer):
    """This includes counts, and tensors that a layer replaces."""
    network = Modules(lambda n: nn.Sequential(layer(n), nn.Linear(n, 5)), lambda n, d: nn.Linear(n, d))
    vae = VAETransformer(2, network=network, init="random", max_iter=0, random_state=0).fit(iris)
    trainer = Trainer(vae.module_.requires_grad_(True), settings(), 0)
    for n_epochs in (1, 2):
        trainer.run_epoch(rows)
        kept = dict(trainer.average.encoder.named_buffers())
        assert_equal_weights(kept, dict(trainer.model.encoder.named_buffers()))
        assert next(int(t) for t in kept.values() if not t.is_floating_point()) == n_epochs * rows.n_batches(32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_trainer_stops_when_the_loss_is_not_finite(iris, value):
    trainer = trainer_of(iris)
    x = torch.tensor(iris)
    x[17] = value
    with pytest.raises(ValueError, match=r"diverged: the loss is .* at step \d.*smaller learning_rate_init"):
        trainer.run_epoch(DenseRows(x))


def test_trainer_evaluates_with_the_same_noise_at_each_call(iris, rows):
    trainer = trainer_of(iris)
    before, state = weights(trainer.model), trainer.generator.get_state()
    first, second = evaluate(trainer.average, rows, 1.0), evaluate(trainer.average, rows, 1.0)
    assert first[0] == second[0] and all(map(torch.equal, first[1], second[1]))
    assert_equal_weights(weights(trainer.model), before)
    assert torch.equal(trainer.generator.get_state(), state)


def test_trainer_evaluates_rows_of_twice_the_weight_as_twice_the_rows(iris):
    """The score is a mean over rows, of weights with mean 1."""
    trainer, x = trainer_of(iris), to_tensor(iris)
    weight = torch.ones(150)
    weight[:50], weight[50:] = 2.0, 0.5
    few, _ = evaluate(trainer.average, DenseRows(x, weight), 1.0)
    many, _ = evaluate(
        trainer.average, DenseRows(x, None, torch.cat([*[torch.arange(50)] * 4, torch.arange(50, 150)])), 1.0
    )
    assert few == pytest.approx(many, abs=0.15)


@pytest.mark.parametrize("per_column", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate_sets_the_optimum_on_all_rows_whatever_the_chunks(iris, monkeypatch, per_column, weighted):
    """Chunks differ in their errors: the rows are sorted, and there is no noise."""
    vae = VAETransformer(1, hidden_layer_sizes=(6,), objective="autoencoder", max_iter=0, random_state=0)
    model = vae.set_params(likelihood=Gaussian(per_column=per_column)).fit(iris).module_
    weight = torch.linspace(0.1, 3, 150) if weighted else None
    rows, found = DenseRows(to_tensor(iris[iris[:, 0].argsort()]), weight).select(torch.arange(600) // 4), []
    for chunk in (600, 7):
        monkeypatch.setattr("sklearn_vae._data.rows.EVALUATION_BATCH", chunk)
        evaluate(model, rows, 1.0)
        found.append(model.likelihood.variance)
    torch.testing.assert_close(*found, rtol=1e-5, atol=0)


def test_evaluate_leaves_a_scale_alone_that_the_objective_does_not_score(iris):
    """Classifiers judge held-out rows by their labels."""
    model = VAEClassifier(2, hidden_layer_sizes=(6,), max_iter=0, random_state=0).fit(iris, np.arange(150) % 3).module_
    before = weights(model)
    evaluate(model, DenseRows(to_tensor(iris)).with_target(np.eye(3)[np.arange(150) % 3]), 1.0)
    assert_equal_weights(weights(model), before)


def test_adam_updates_as_torchs_adam_steps():
    rng = np.random.default_rng(0)
    gradients = torch.from_numpy(rng.normal(size=(6, 5)))
    ours, torchs = (nn.Parameter(torch.ones(5, dtype=torch.float64)) for _ in range(2))
    optimizer, expected = _Adam([ours], lr=0.1, fused=True), torch.optim.Adam([torchs], lr=0.1)
    for i, gradient in enumerate(gradients):
        ours.grad, torchs.grad = gradient.clone(), gradient.clone()
        expected.param_groups[0]["lr"] = 0.1 / (i + 1)
        optimizer.update(0.1 / (i + 1))
        expected.step()
        torch.testing.assert_close(ours, torchs)
