"""User-defined torch modules: all ways to pass one, their parameters, and errors for wrong ones."""

import copy
import operator
import pickle
import re
from functools import partial
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
import torch
from naming import shown
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from torch import nn
from torch.nn import functional as F

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.networks import Modules
from sklearn_vae.networks.base import PosteriorEncoder
from sklearn_vae.objectives import IWAE
from sklearn_vae.priors import VampPrior

CLASS = np.arange(150) // 50


def features(n_features, width=8):
    return nn.Sequential(nn.Linear(n_features, width), nn.Tanh())


def columns(n_components, n_features, width=8):
    return nn.Sequential(nn.Linear(n_components, width), nn.Tanh(), nn.Linear(width, n_features))


class Features(nn.Module):
    def __init__(self, n_features, width=8):
        super().__init__()
        self.layers = features(n_features, width)

    def forward(self, x):
        return self.layers(x)


class Posterior(nn.Module):
    """An encoder that returns (loc, scale)."""

    def __init__(self, n_features, n_components=2, width=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_features, width), nn.Tanh(), nn.Linear(width, 2 * n_components))

    def forward(self, x):
        loc, raw = self.layers(x).chunk(2, -1)
        return loc, F.softplus(raw)


class Factory:
    """A callable object, whose repr is its address."""

    def __call__(self, n_features, width=8):
        return features(n_features, width)


class Returns(nn.Module):
    """Encoder that returns a function of a linear layer's output."""

    def __init__(self, function, n_in=4, n_out=2):
        super().__init__()
        self.layer, self.function = nn.Linear(n_in, n_out), function

    def forward(self, x):
        return self.function(self.layer(x))


class Convolution(nn.Module):
    """A decoder that takes (n_rows, n_components), without axes for draws."""

    def __init__(self, n_components, n_features):
        super().__init__()
        self.dense = nn.Linear(n_components, n_features)
        self.convolution = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, z):
        n_rows, _ = z.shape
        return self.convolution(self.dense(z).view(n_rows, 1, -1)).view(n_rows, -1)


def small(**params):
    return VAETransformer(2, **{"max_iter": 2, "early_stopping": False, "random_state": 0, **params})


def small_classifier(**params):
    return VAEClassifier(2, **{"max_iter": 100, "random_state": 0, **params})


def observed(vae, X):
    """Return the encoder's inputs for the rows."""
    return vae.module_.likelihood.observe(torch.from_numpy(np.asarray(X, dtype=np.float32))).inputs


# Ways to give a module

WAYS = [
    Features,
    features,
    Factory(),
    partial(features, width=3),
    Features(4),
    nn.Sequential(nn.Linear(4, 3), nn.ELU()),
]
WAYS_TO_LATENTS = [Posterior, partial(Posterior, width=3), Posterior(4)]


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize("encoder", WAYS + WAYS_TO_LATENTS, ids=shown)
@pytest.mark.parametrize("decoder", [columns, columns(2, 4), nn.Linear], ids=shown)
def test_modules_takes_classes_factories_and_instances(iris, encoder, decoder, init):
    vae = small(network=Modules(encoder, decoder), init=init).fit(iris)
    assert vae.transform(iris).shape == (150, 2) and vae.sample(3).shape == (3, 4)
    assert np.isfinite(vae.score_samples(iris)).all()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(vae)).transform(iris), vae.transform(iris))


@pytest.mark.parametrize("encoder", WAYS + WAYS_TO_LATENTS, ids=shown)
def test_modules_go_on_training(iris, encoder):
    """Each call recognises the model as unchanged, whatever the way that it was passed."""
    vae = small(network=Modules(encoder, columns)).partial_fit(iris)
    before = vae.transform(iris)
    restored = pickle.loads(pickle.dumps(vae))
    assert np.abs(vae.partial_fit(iris).transform(iris) - before).max() > 0
    np.testing.assert_array_equal(restored.partial_fit(iris).transform(iris), vae.transform(iris))


def test_modules_instance_is_trained_from_its_weights(iris):
    encoder, decoder = Features(4), columns(2, 4)
    before = copy.deepcopy(encoder.state_dict())
    start, end = (small(network=Modules(encoder, decoder), init="random", max_iter=n).fit(iris) for n in (0, 2))
    for name, weight in before.items():
        assert torch.equal(start.module_.encoder.state_dict()[name], weight)
        assert not torch.equal(end.module_.encoder.state_dict()[name], weight)
        assert torch.equal(encoder.state_dict()[name], weight)


def test_modules_instance_keeps_frozen_weights(iris):
    encoder = Features(4).requires_grad_(False)
    vae = small(network=Modules(encoder, columns)).fit(iris)
    for name, weight in encoder.state_dict().items():
        assert torch.equal(vae.module_.encoder.state_dict()[name], weight)


def test_modules_instance_of_another_precision_is_taken(iris):
    vae = small(network=Modules(Features(4).double(), columns(2, 4).double())).fit(iris)
    assert {p.dtype for p in vae.module_.parameters()} == {torch.float32}
    assert vae.transform(iris).dtype == np.float64 and vae.transform(iris.astype(np.float32)).dtype == np.float32


def test_modules_of_classes_start_from_random_state(iris):
    fits = [small(network=Modules(Features, columns), init="random", random_state=seed).fit(iris) for seed in (0, 0, 1)]
    first, again, other = (vae.transform(iris) for vae in fits)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_modules_with_lazy_layers(iris, global_random_state):
    """Layers that learn their input's width when first called, as classes, factories and instances."""

    def lazy(n_in, n_out=4):
        return nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(n_out))

    instance, before = nn.LazyLinear(6), global_random_state()
    for network in (Modules(lazy, lazy), Modules(instance, nn.LazyLinear(4))):
        fits = [small(network=network).fit(iris) for _ in range(2)]
        np.testing.assert_array_equal(*(vae.score_samples(iris) for vae in fits))
    assert global_random_state() == before and instance.has_uninitialized_params()
    restored = pickle.loads(pickle.dumps(fits[0]))
    np.testing.assert_array_equal(restored.transform(iris), fits[0].transform(iris))


@pytest.mark.parametrize("objective", ["elbo", IWAE(3)], ids=shown)
def test_modules_need_not_take_draws_in_front_of_rows(iris, objective):
    vae = small(network=Modules(features, Convolution), objective=objective, n_draws=5).fit(iris)
    scores = vae.score_samples(iris)
    assert scores.shape == (150,) and np.isfinite(scores).all() and vae.sample(1).shape == (1, 4)
    np.testing.assert_allclose(vae.score_samples(iris[:1]), scores[:1])


# What two modules share


class Transposed(nn.Module):
    """A decoder with the encoder's weights, transposed: tied weights."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.first, self.bias = encoder, nn.Linear(2, 8), nn.Parameter(torch.zeros(4))

    def forward(self, z):
        return self.first(z).tanh() @ self.encoder.layers[0].weight + self.bias


def sharing_layers(encoder):
    """An encoder and a decoder that share a square layer."""
    shared = nn.Linear(8, 8)
    encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), shared)
    return encoder, nn.Sequential(nn.Linear(2, 8), nn.Tanh(), shared, nn.Tanh(), nn.Linear(8, 4))


def sharing_weights(encoder):
    return encoder, Transposed(encoder)


def sharing_by_parameter(encoder):
    """Two layers with one weight between them."""
    encoder, decoder = sharing_layers(encoder)
    layer = nn.Linear(8, 8)
    layer.weight = decoder[2].weight
    encoder[2] = layer
    return encoder, decoder


def taking_a_layer(n_features, layer):
    return nn.Sequential(nn.Linear(n_features, 8), nn.Tanh(), layer)


def giving_a_layer(n_components, n_features, layer):
    return nn.Sequential(nn.Linear(n_components, 8), nn.Tanh(), layer, nn.Tanh(), nn.Linear(8, n_features))


def shared_network(kind):
    if kind == "arguments":
        layer = nn.Linear(8, 8)
        return Modules(taking_a_layer, giving_a_layer, encoder__layer=layer, decoder__layer=layer)
    return Modules(*kind(Features(4)))


def n_shared(encoder, decoder):
    return len({*map(id, encoder.parameters())} & {*map(id, decoder.parameters())})


SHARED = [sharing_layers, sharing_weights, sharing_by_parameter, "arguments"]
over_shared = pytest.mark.parametrize("kind", SHARED, ids=shown)


@over_shared
@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=2)], ids=["transformer", "classifier"])
def test_modules_that_share_weights_share_them_after_training(iris, kind, make):
    vae = make(network=shared_network(kind)).fit(iris, CLASS)
    before = n_shared(*shared_network(kind).build(4, 2, 4, (), False, torch.Generator()))
    assert before > 0
    for model in (vae.module_, pickle.loads(pickle.dumps(vae)).module_, copy.deepcopy(vae).module_):
        assert n_shared(model.encoder, model.decoder) == before
    state = vae.module_.state_dict()
    vae.module_.load_state_dict({name: value + 1 for name, value in state.items()})
    for name, value in vae.module_.state_dict().items():
        torch.testing.assert_close(value, state[name])


@over_shared
@pytest.mark.parametrize("copied", [clone, copy.deepcopy, lambda n: pickle.loads(pickle.dumps(n))])
def test_modules_that_share_weights_share_them_in_copies(kind, copied):
    network = shared_network(kind)
    role = "__layer" if kind == "arguments" else ""
    first, second = (getattr(copied(network), f"{name}{role}") for name in ("encoder", "decoder"))
    own = getattr(network, f"encoder{role}"), getattr(network, f"decoder{role}")
    again = copied(network)
    pair = getattr(again, f"encoder{role}"), getattr(again, f"decoder{role}")
    assert n_shared(*pair) == n_shared(*own) > 0
    assert n_shared(pair[0], own[0]) == n_shared(first, second) == 0


class Gives:
    """A factory that returns the same module at each call."""

    def __init__(self, module):
        self.module = module

    def __call__(self, *sizes):
        return self.module


@pytest.mark.parametrize("kind", ["arguments", "factories"])
def test_modules_leave_what_factories_give_untrained(iris, kind):
    """Otherwise folds and later fits would continue from it."""
    layer = nn.Linear(8, 8)
    if kind == "arguments":
        network = Modules(taking_a_layer, columns, encoder__layer=layer)
    else:
        network = Modules(Gives(nn.Sequential(nn.Linear(4, 8), layer)), Gives(columns(2, 4)))
    before = layer.weight.detach().clone()
    vae = VAETransformer(2, network=network, max_iter=2, random_state=0)
    np.testing.assert_array_equal(vae.fit(iris).transform(iris), vae.fit(iris).transform(iris))
    assert torch.equal(layer.weight, before)


class Recurrent(nn.Module):
    """Layers that list their weights, a tensor that is no buffer, and statistics."""

    def __init__(self):
        super().__init__()
        self.layer, self.scale, self.norm = nn.GRU(1, 3, batch_first=True), torch.full((3,), 2.0), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(self.layer(x[..., None])[0][:, -1]) * self.scale.to(x.dtype)


INSTANCES = [Features(4), Posterior(4), Recurrent(), nn.LazyLinear(3), Features(4).double(), Features(4).bfloat16()]


@pytest.mark.parametrize("encoder", INSTANCES, ids=shown)
def test_modules_instance_has_a_stable_hash(encoder):
    network = Modules(encoder, nn.Linear(2, 4))
    for copied in (clone(network), copy.copy(network), pickle.loads(pickle.dumps(network))):
        assert joblib.hash(copied) == joblib.hash(network)
        for own, other in zip(encoder.parameters(), copied.encoder.parameters(), strict=True):
            assert own.dtype == other.dtype and own is not other
    with torch.no_grad():
        network.decoder.weight += 1
    assert joblib.hash(copied) != joblib.hash(network)


@pytest.mark.parametrize("encoder", [Features(4), Recurrent(), Features], ids=shown)
def test_modules_in_a_pipeline_with_memory_are_fitted_once(iris, tmp_path, encoder):
    steps = [("vae", small(network=Modules(encoder, nn.Linear(2, 4)))), ("classify", LogisticRegression())]
    pipeline = Pipeline(steps, memory=joblib.Memory(tmp_path, verbose=0))
    results = [pipeline.fit(iris, CLASS).predict(iris) for _ in range(3)]
    assert len(list(tmp_path.rglob("output.pkl"))) == 1
    np.testing.assert_array_equal(results[0], results[2])


# Training mode


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


class RunningMean(nn.Module):
    """A layer that keeps statistics in its own way: in a new tensor at each pass, and as a count."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("n_passes", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
            self.n_passes += 1
        return x - self.mean


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
    alone.encode(alone.likelihood.observe(x).inputs)
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


def test_posterior_encoder_with_dropout_is_deterministic_afterwards(iris):
    def encoder(n_features):
        return nn.Sequential(nn.Dropout(0.5), Posterior(n_features))

    vae = small(network=Modules(encoder, columns), init="random").fit(iris)
    np.testing.assert_array_equal(vae.transform(iris), vae.transform(iris))
    assert not vae.module_.encoder.module.training


def test_autoencoder_draws_nothing(iris):
    """Its loss is the same function of the weights whatever the generator."""
    vae = VAETransformer(2, objective="autoencoder", max_iter=1, random_state=0).fit(iris)
    model, x = vae.module_.train(), torch.from_numpy(np.array(iris))
    model.input_noise = 1.0
    losses = [model(x, 1.0, torch.Generator().manual_seed(seed)).loss for seed in (0, 1)]
    assert torch.equal(*losses)


# Encoders that return (loc, scale)


@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=2)], ids=["transformer", "classifier"])
@pytest.mark.parametrize("encoder", WAYS_TO_LATENTS, ids=shown)
def test_posterior_encoder_says_the_posterior_itself(iris, encoder, make):
    vae = make(network=Modules(encoder, columns), init="random", whiten=True).fit(iris, CLASS)
    assert isinstance(vae.module_.encoder, PosteriorEncoder)
    with torch.no_grad():
        loc, scale = vae.module_.encoder.module(observed(vae, iris))
        q = vae.module_.posterior(torch.from_numpy(iris.astype(np.float32)))
    X = iris.astype(np.float32)
    np.testing.assert_array_equal(vae.transform(X), loc.numpy())
    np.testing.assert_allclose(q.scale.numpy(), scale.numpy(), rtol=1e-5)


@pytest.mark.parametrize("make", [small, partial(small_classifier, max_iter=0)], ids=["transformer", "classifier"])
def test_posterior_encoder_starts_at_pca(iris, make):
    start = make(network=Modules(Posterior, columns), max_iter=0).fit(iris, CLASS)
    expected = make(max_iter=0).fit(iris, CLASS)
    assert start.module_.encoder.gate == 0
    np.testing.assert_allclose(start.transform(iris), expected.transform(iris), atol=1e-12)
    x = torch.from_numpy(iris.astype(np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(start.module_.posterior(x).scale, expected.module_.posterior(x).scale)
    Z = start.transform(iris)
    np.testing.assert_allclose(start.inverse_transform(Z), expected.inverse_transform(Z), atol=1e-12)


@pytest.mark.parametrize("make", [small, small_classifier], ids=["transformer", "classifier"])
def test_posterior_encoder_leaves_pca_through_its_gate(iris, make):
    """Its loc adds to the linear map's, times the gate."""
    vae = make(network=Modules(Posterior, columns), max_iter=20, whiten=True).fit(iris, CLASS)
    gate = vae.module_.encoder.gate
    assert gate != 0
    with torch.no_grad():
        y = observed(vae, iris)
        loc, _ = vae.module_.encoder.module(y / vae.module_.linear.spread)
        expected = vae.module_.linear.encoder(y) + gate * loc
    np.testing.assert_allclose(vae.transform(iris), expected, atol=1e-5)


@pytest.mark.parametrize("init", ["ppca", "random"])
@pytest.mark.parametrize("generative_weight", [0, 0.1])
def test_posterior_encoder_classifies(iris, init, generative_weight):
    """Class logits depend on loc and scale, even if nothing else moves the gate."""
    network = Modules(Posterior, columns, encoder__width=32)
    params = {"generative_weight": generative_weight, "consistency_weight": 0, "max_iter": 60}
    vae = small_classifier(network=network, init=init, **params).fit(iris, CLASS)
    assert vae.score(iris, CLASS) > 0.65
    restored = pickle.loads(pickle.dumps(vae))
    np.testing.assert_array_equal(restored.predict_proba(iris), vae.predict_proba(iris))


def test_posterior_encoder_learns(iris):
    """Without linear maps it scores close to networks that return features."""
    params = {"init": "random", "max_iter": 100}
    own = small(network=Modules(Posterior, columns, encoder__width=32), **params).fit(iris)
    read = small(network=Modules(features, columns, encoder__width=32), **params).fit(iris)
    start = small(network=Modules(Posterior, columns, encoder__width=32), init="random", max_iter=0).fit(iris)
    assert own.score(iris) > start.score(iris) + 1 and own.score(iris) > read.score(iris) - 0.5


@pytest.mark.parametrize("init", ["ppca", "random"])
def test_posterior_encoder_whose_scale_underflows(iris, init):
    """exp(-200) is 0 in float32."""

    class Sure(Posterior):
        def forward(self, x):
            loc, scale = super().forward(x)
            return loc, torch.cat([scale[:, :1], torch.full_like(scale[:, :1], torch.finfo(x.dtype).tiny)], -1) * (
                1e-30 if self.training else 1.0
            )

    vae = small(network=Modules(Sure, columns), init=init).fit(iris)
    assert np.isfinite(vae.loss_curve_).all() and np.isfinite(vae.transform(iris)).all()


def test_posterior_encoder_whose_scale_turns_negative_in_training(iris):
    class Bad(Posterior):
        def forward(self, x):
            loc, scale = super().forward(x)
            return loc, scale - 10 if self.training else scale

    for init in ("ppca", "random"):
        with pytest.raises(ValueError, match=r"expected the encoder to return scale above 0, got -\d.*softplus, or"):
            small(network=Modules(Bad, columns), init=init).fit(iris)


# Parameters


def test_modules_parameters_are_those_given():
    network = Modules(Features, columns, encoder__width=16, decoder__width=4)
    assert network.get_params() == {
        "encoder": Features,
        "decoder": columns,
        "encoder__width": 16,
        "decoder__width": 4,
    }
    assert "encoder__width=16" in repr(network) and "Features" in repr(network)
    assert "decoder=Linear(in_features=2, out_features=4, bias=True)" in repr(Modules(Features, nn.Linear(2, 4)))
    vae = VAETransformer(network=network)
    assert vae.get_params()["network__encoder__width"] == 16
    assert "encoder__width=16" in repr(vae) and "encoder__width" in vae._repr_html_()


def test_modules_set_params_and_clone():
    network = Modules(Features, columns, encoder__width=16)
    vae = VAETransformer(network=network).set_params(network__encoder__width=4, network__decoder__width=3)
    assert vae.network is network and network.get_params()["decoder__width"] == 3
    copied = clone(vae)
    copied.set_params(network__encoder=features, network__encoder__width=5)
    assert (network.encoder, network.encoder__width) == (Features, 4)
    assert (copied.network.encoder, copied.network.encoder__width) == (features, 5)
    instance = Features(4)
    assert clone(Modules(instance, columns)).encoder is not instance


def test_modules_parameters_reach_the_modules(iris):
    vae = small(network=Modules(Features, columns)).set_params(network__encoder__width=5, network__decoder__width=3)
    model = vae.fit(iris).module_
    assert model.encoder.layers[0].out_features == 5 and model.decoder.module[0].out_features == 3


def test_modules_parameters_are_searchable_in_a_pipeline(iris):
    pipeline = Pipeline([("vae", small(network=Modules(Posterior, columns))), ("classify", LogisticRegression())])
    grid = {"vae__network__encoder__width": [2, 6], "vae__network__decoder": [columns, nn.Linear]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(iris, CLASS)
    best = search.best_params_["vae__network__encoder__width"]
    assert search.best_estimator_["vae"].module_.encoder.module.layers[0].out_features == best
    assert len(search.cv_results_["params"]) == 4
    restored = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(restored.predict(iris), search.predict(iris))


@pytest.mark.parametrize("name", ["width", "encoder_width", "encoder__", "head__width", "__width"])
def test_modules_parameter_of_a_wrong_name(name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'; expected encoder, decoder, encoder__<"):
        Modules(Features, columns, **{name: 3})
    network = Modules(Features, columns)
    with pytest.raises(
        ValueError, match=f"(?s)Invalid parameter '{name}' for estimator Modules.*expected encoder, dec"
    ):
        network.set_params(**{name: 3})
    assert network.get_params() == {"encoder": Features, "decoder": columns}


def test_modules_parameter_that_the_class_does_not_take(iris):
    with pytest.raises(TypeError, match=r"expected encoder .*got Features\(4, depth=3\), which failed: TypeError: .*"):
        small(network=Modules(Features, columns, encoder__depth=3)).fit(iris)
    with pytest.raises(TypeError, match=r"expected encoder to be a class or factory, because encoder__width is given"):
        small(network=Modules(Features(4), columns, encoder__width=3)).fit(iris)


# Wrong modules

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
