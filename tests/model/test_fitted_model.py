"""Every method uses the one fitted model, in every precision."""

import copy
import functools

import numpy as np
import pytest
import torch
from sklearn.datasets import load_iris

from sklearn_vae import VAEClassifier, VAETransformer

X, Y = load_iris(return_X_y=True)
DTYPES = [np.float64, np.float32]
METHODS = {
    "transform of few rows": lambda vae, X: vae.transform(X[:3]),
    "transform of many rows": lambda vae, X: vae.transform(X),
    "inverse_transform": lambda vae, X: vae.inverse_transform(np.ones((3, 2), X.dtype)),
    "score_samples": lambda vae, X: vae.score_samples(X[:5]),
    "sample": lambda vae, X: vae.sample(3, random_state=0),
    "predict_proba": lambda vae, X: vae.predict_proba(X),
}
ESTIMATORS = {"transformer": VAETransformer, "classifier": VAEClassifier}


@functools.cache
def fit_once(kind, seed):
    vae = ESTIMATORS[kind](2, hidden_layer_sizes=(8,), init="random", max_iter=2, whiten=True, random_state=seed)
    return vae.set_params(early_stopping=False).fit(X, Y)


def fitted(kind, seed):
    return copy.deepcopy(fit_once(kind, seed))


def load_weights(vae, other):
    vae.module_.load_state_dict(other.module_.state_dict())


def write_data(vae, other):
    for target, source in zip(vae.module_.state_dict().values(), other.module_.state_dict().values(), strict=True):
        target.data.copy_(source)


def replace_parts(vae, other):
    for name, part in copy.deepcopy(other.module_).named_children():
        setattr(vae.module_, name, part)


@pytest.mark.parametrize("change", [load_weights, write_data, replace_parts])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ESTIMATORS)
def test_methods_follow_the_module(kind, dtype, change):
    vae, other = fitted(kind, 0), fitted(kind, 1)
    rows = X.astype(dtype)
    methods = {name: m for name, m in METHODS.items() if kind == "classifier" or name != "predict_proba"}
    before = {name: method(vae, rows) for name, method in methods.items()}
    change(vae, other)
    for name, method in methods.items():
        np.testing.assert_equal(method(vae, rows), method(other, rows), err_msg=name)
        assert not np.array_equal(np.asarray(method(vae, rows)[0]), np.asarray(before[name][0])), name


def test_latent_scale_stays_that_of_fit():
    vae, other = (fitted("transformer", seed).set_params(whiten=False).fit(X) for seed in (0, 1))
    codes, scale = other.transform(X), vae.latent_scale_
    load_weights(vae, other)
    np.testing.assert_array_equal(vae.latent_scale_, scale)
    np.testing.assert_allclose(vae.transform(X) / scale, codes / other.latent_scale_)
    np.testing.assert_allclose(vae.inverse_transform(vae.transform(X)), other.inverse_transform(codes), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_methods_follow_a_module_that_was_handed_out_before(dtype):
    vae, other = fitted("transformer", 0), fitted("transformer", 1)
    module, rows = vae.module_, X.astype(dtype)
    vae.transform(rows), vae.transform(rows[:2])
    module.load_state_dict(other.module_.state_dict())
    np.testing.assert_array_equal(vae.transform(rows), other.transform(rows))
    np.testing.assert_array_equal(vae.transform(rows[:2]), other.transform(rows[:2]))


def in_chunks(seed):
    vae = VAETransformer(2, hidden_layer_sizes=(8,), whiten=True, random_state=seed, learning_rate_init=1e-12)
    return vae.partial_fit(X).partial_fit(X)


@pytest.mark.parametrize("change", [load_weights, write_data, replace_parts])
def test_partial_fit_continues_from_the_module(change):
    """Steps are negligible, so one more chunk leaves the model as the user has changed it."""
    vae, other = in_chunks(0), in_chunks(1)
    change(vae, other)
    np.testing.assert_allclose(vae.partial_fit(X).transform(X), other.transform(X), atol=1e-4)


def test_partial_fit_resumes_if_the_module_was_only_read():
    vae, other = in_chunks(0), in_chunks(0)
    vae.module_.state_dict()
    np.testing.assert_array_equal(vae.partial_fit(X).transform(X), other.partial_fit(X).transform(X))
    assert vae._training_state["trainer"]["step"] == 9


def test_methods_do_not_depend_on_the_mode_of_a_module_that_was_handed_out():
    vae = fitted("transformer", 0)
    before = vae.score_samples(X)
    vae.module_.train()
    np.testing.assert_array_equal(vae.score_samples(X), before)
    assert not vae.module_.training


def test_module_is_a_torch_module_only_after_fit():
    assert not hasattr(VAETransformer(), "module_")
    assert isinstance(fitted("transformer", 0).module_, torch.nn.Module)
