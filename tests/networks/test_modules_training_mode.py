"""Dropout, and layers with running statistics, in user-defined modules."""

import copy
import operator
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from naming import shown
from own_modules import columns, features, observed, small, small_classifier
from running_mean import RunningMean
from sklearn.base import clone
from sklearn.datasets import load_iris
from small_estimators import CLASS
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.networks import Modules
from sklearn_vae.priors import VampPrior


@pytest.mark.parametrize("init", ["ppca", "random"])
def test_modules_train_in_training_mode_and_keep_their_statistics(iris, global_random_state, init):
    """Dropout and batch normalisation work as the user means them, from a seed, global generators untouched."""

    def layers(n_in, n_out=8):
        return nn.Sequential(nn.BatchNorm1d(n_in), nn.Dropout(0.5), nn.Linear(n_in, n_out))

    network = Modules(layers, layers)
    before = global_random_state()
    params = {"network": network, "init": init, "max_iter": 3, "early_stopping": False, "random_state": 0}
    fits = [VAETransformer(2, **params).fit(iris) for _ in range(2)]
    assert global_random_state() == before
    module = fits[0].module_.encoder
    assert module[0].num_batches_tracked > 0 and not module.training
    np.testing.assert_array_equal(*(vae.transform(iris) for vae in fits))
    np.testing.assert_allclose(fits[0].transform(iris[:1]), fits[0].transform(iris)[:1])


KEEP_STATISTICS = {
    "batch normalisation": nn.BatchNorm1d,
    "cumulative mean": partial(nn.BatchNorm1d, momentum=None),
    "in a module": lambda width: nn.Sequential(nn.Sequential(nn.Linear(width, width), nn.BatchNorm1d(width))),
    "spectral norm": lambda width: nn.utils.parametrizations.spectral_norm(nn.Linear(width, width)),
    "spectral norm by a hook": lambda width: nn.utils.spectral_norm(nn.Linear(width, width)),
    "user's": RunningMean,
}
over_layers = pytest.mark.parametrize("layer", KEEP_STATISTICS.values(), ids=KEEP_STATISTICS)
MORE_ROWS = {
    "pseudo-inputs": (small, {"prior": VampPrior(5)}),
    "pseudo-inputs of many draws": (small, {"prior": VampPrior(5), "objective": "iwae"}),
    "perturbed rows": (small_classifier, {"consistency_weight": 2.0}),
    "labelled rows": (small_classifier, {"consistency_weight": 0.0}),
    "all of them": (small_classifier, {"consistency_weight": 2.0, "prior": VampPrior(5)}),
}


def layers_with(layer, n_features):
    return nn.Sequential(layer(n_features), nn.Linear(n_features, 8), layer(8), nn.Tanh())


def training_model(layer, make=small, **params):
    """Return a model whose encoder has two of these layers."""
    vae = make(network=Modules(partial(layers_with, layer), columns), max_iter=0, input_noise=0.0, **params)
    return vae.fit(load_iris().data, CLASS).module_.requires_grad_(True).train()


def statistics(model):
    return {name: buffer.clone() for name, buffer in model.encoder.named_buffers()}


def assert_same_statistics(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


@over_layers
@pytest.mark.parametrize("more", MORE_ROWS.values(), ids=MORE_ROWS)
def test_statistics_are_those_of_the_batch_alone(iris, more, layer):
    """Additional rows do not change the statistics, and gradients flow through all rows."""
    make, params = more
    model = training_model(layer, make, init="random", **params)
    before, alone = statistics(model), copy.deepcopy(model)
    x, batch = torch.tensor(iris, dtype=torch.float32), {}
    if make is small_classifier:
        target = torch.eye(3)[CLASS]
        batch = {"target": target, "labelled_x": x[:9] + 1, "labelled_target": target[:9]}
    loss = model(x, beta=1.0, generator=torch.Generator().manual_seed(0), **batch).loss.mean()
    alone.encode(alone.observe(x))
    assert_same_statistics(statistics(model), statistics(alone))
    assert not all(torch.equal(before[name], value) for name, value in statistics(alone).items())
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.encoder.parameters())


@over_layers
def test_untracked_rows_pass_as_tracked_ones(iris, layer):
    """In training, they are normalised by their own statistics, as a separate batch."""
    model = training_model(layer, small_classifier)
    y, before = observed(SimpleNamespace(module_=model), iris[:20]), statistics(model)
    with model.untracked():
        untracked = model.features(y)
    assert_same_statistics(statistics(model), before)
    torch.testing.assert_close(model.features(y), untracked)


def test_untracked_leaves_a_model_alone_that_is_not_trained_and_after_an_error(iris):
    model = training_model(nn.BatchNorm1d)
    buffers = list(model.encoder.buffers())
    with pytest.raises(KeyboardInterrupt), model.untracked():
        raise KeyboardInterrupt
    assert all(map(operator.is_, model.encoder.buffers(), buffers))
    # Several threads may use a fitted model.
    with model.eval().untracked():
        assert all(map(operator.is_, model.encoder.buffers(), buffers))


@pytest.mark.parametrize(
    "vae",
    [
        VAETransformer(2, prior=VampPrior(5), early_stopping=False),
        VAEClassifier(2, consistency_weight=2.0),
        VAEClassifier(2, consistency_weight=2.0, prior=VampPrior(5)),
    ],
    ids=["transformer", "classifier", "classifier with pseudo-inputs"],
)
@pytest.mark.parametrize("n_labelled", [15, 150])
def test_running_statistics_are_the_datas(iris, vae, n_labelled):
    """A cumulative mean over whole batches is that of the rows."""
    network = Modules(partial(layers_with, partial(nn.BatchNorm1d, momentum=None)), columns)
    params = {"init": "random", "max_iter": 3, "batch_size": 200, "input_noise": 0.0, "random_state": 0}
    y = np.where(np.random.default_rng(0).permutation(150) < n_labelled, CLASS, -1)
    vae = clone(vae).set_params(network=network, **params).fit(iris, y)
    kept, seen = vae.module_.encoder[0], observed(vae, iris)
    assert int(kept.num_batches_tracked) == vae.n_steps_ == 3
    torch.testing.assert_close(kept.running_mean, seen.mean(0), rtol=0, atol=1e-5)
    torch.testing.assert_close(kept.running_var, seen.var(0), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    "params", [{"batch_size": 1}, {"prior": VampPrior(1)}, {"batch_size": 2, "X": slice(3)}], ids=shown
)
@pytest.mark.parametrize("role", ["encoder", "decoder"])
def test_batch_normalisation_of_one_row_names_the_network_and_batch_size(iris, params, role):
    """A VampPrior with one pseudo-input encodes one row, and three rows in batches of two leave a batch of one."""

    def layers(n_in, n_out=8):
        return nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out))

    X = iris[params.get("X", slice(20))]
    params = {name: value for name, value in params.items() if name != "X"}
    if role == "decoder" and "prior" in params:
        pytest.skip("pseudo-inputs are not decoded")
    modules = {"encoder": features, "decoder": columns, role: layers}
    with pytest.raises(ValueError, match=r"network: expected at least two rows .* batch_size=\d+; use a larger"):
        small(network=Modules(**modules), **params).fit(X)
