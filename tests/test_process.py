"""Process state: results do not depend on torch's settings, interrupts or forks, and calls do not change them."""

import contextlib
import copy
import os
import pickle
import subprocess
import sys
from functools import cache, partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._data.devices import isolated
from sklearn_vae._data.rows import DenseRows
from sklearn_vae._training.diagnostics import latent_scale, latent_statistics
from sklearn_vae.networks import Modules
from sklearn_vae.priors import Prior, StandardNormal

X = np.random.default_rng(0).normal(size=(60, 5))
CLASS = np.where(X[:, 1] > 1, -1, (X[:, 0] > 0).astype(int))
B = (X > 0) * 1.0
QUICK = {"hidden_layer_sizes": (8,), "max_iter": 2, "n_draws": 4, "random_state": 0}
CONV = {"network": "conv", "max_iter": 1, "early_stopping": False, "random_state": 0}
ESTIMATORS = {
    "transformer": (VAETransformer(2, **QUICK), X, None),
    "learned scale": (VAETransformer(2, likelihood="discretized_logistic", init="random", **QUICK), B, None),
    "vamp": (
        VAETransformer(2, likelihood="bernoulli", prior="vamp", objective="iwae", whiten=False, **QUICK),
        B,
        None,
    ),
    "conv": (
        VAETransformer(2, likelihood="continuous_bernoulli", prior="mixture", objective="free_bits", **CONV),
        np.abs(np.tanh(X[:, :4])),
        None,
    ),
    "classifier": (VAEClassifier(2, **QUICK), X, CLASS),
}
FITTED = {name: clone(vae).fit(data, y) for name, (vae, data, y) in ESTIMATORS.items()}


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    yield
    torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device():
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


SETTINGS = {
    "float64": lambda: default_dtype(torch.float64),
    # A substitute for a GPU.
    "device": default_device,
    "with device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no grad": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "array API": lambda: sklearn.config_context(array_api_dispatch=True),
}


def settings_of_now():
    """Settings that users may have changed and that a call must not change."""
    return (
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_num_threads(),
        sklearn.get_config(),
    )


def fitted_results(vae, data):
    """Return the results of a fit."""
    return vae.transform(data), np.array(vae.loss_curve_), np.array(vae.kl_per_component_)


CALLS = {
    "fit": lambda name, vae, data, y: fitted_results(clone(vae).fit(data, y), data),
    "fit_transform": lambda name, vae, data, y: clone(vae).fit_transform(data, y),
    "pickle": lambda name, vae, data, y: pickle.loads(pickle.dumps(vae)).score_samples(data),
    "transform": lambda name, vae, data, y: (vae.transform(data), vae.transform(data[:1])),
    "transform float32": lambda name, vae, data, y: vae.transform(data.astype("f4")),
    "inverse_transform": lambda name, vae, data, y: vae.inverse_transform(data[:, :2].astype("f4")),
    "score_samples": lambda name, vae, data, y: (vae.score_samples(data), vae.score_samples(data.astype("f4"))),
    "sample": lambda name, vae, data, y: vae.sample(20),
}
OF_TRANSFORMERS = {
    "partial_fit": lambda name, vae, data, y: fitted_results(clone(vae).partial_fit(data).partial_fit(data), data),
    "score": lambda name, vae, data, y: vae.score(data),
}
OF_CLASSIFIERS = {
    "predict": lambda name, vae, data, y: vae.predict(data),
    "predict_proba": lambda name, vae, data, y: vae.predict_proba(data.astype("f4")),
    "sample of a class": lambda name, vae, data, y: vae.sample(5, y=1),
    "score": lambda name, vae, data, y: vae.score(data[y >= 0], y[y >= 0]),
}


def calls_of(name):
    return CALLS | (OF_CLASSIFIERS if name == "classifier" else OF_TRANSFORMERS)


@cache
def result(name, call):
    """Return what a call returns, pickled."""
    _, data, y = ESTIMATORS[name]
    return pickle.dumps(calls_of(name)[call](name, FITTED[name], data, y))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("name", "call"), [(name, call) for name in ESTIMATORS for call in calls_of(name)])
def test_settings_of_the_process_change_no_result_and_are_left_as_they_are(name, call, setting):
    expected = result(name, call)
    with SETTINGS[setting]():
        before = settings_of_now()
        found = result.__wrapped__(name, call)
        assert settings_of_now() == before
    # Values are equal bit by bit, and types are equal.
    assert found == expected


@pytest.mark.parametrize("setting", ["none", *SETTINGS])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("estimator", [VAETransformer, VAEClassifier])
def test_settings_are_left_as_they_are_by_an_error_in_the_middle(setting, error, estimator):
    def beta(step):
        if step:
            raise error
        return 1.0

    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with SETTINGS.get(setting, contextlib.nullcontext)():
            before = settings_of_now()
            with pytest.raises(error):
                estimator(2, beta=beta, n_jobs=1, **QUICK).fit(X, B[:, 0].astype(int))
            assert settings_of_now() == before
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("outer", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_outermost_call_restores_what_an_interrupt_has_left(mode, outer):
    """Without care, an interrupt between entering an inner context and its body would leave the mode on."""
    with outer():
        before = settings_of_now()
        left = mode()
        with pytest.raises(KeyboardInterrupt), isolated():
            left.__enter__()
            raise KeyboardInterrupt
        assert settings_of_now() == before


def test_users_may_call_an_estimator_from_their_own_inference_mode_in_a_fit():
    """A nested call leaves the outer one's settings as they are."""

    def beta(step):
        with torch.inference_mode():
            FITTED["transformer"].transform(X), FITTED["transformer"].sample(2)
            assert torch.is_inference_mode_enabled()
        assert torch.is_grad_enabled()
        return 1.0

    vae = VAETransformer(2, beta=beta, **QUICK).fit(X)
    np.testing.assert_array_equal(vae.transform(X), FITTED["transformer"].transform(X))


class Peaked(Prior):
    """A prior whose parameter has torch's default dtype and device."""

    def build(self, n_components, n_inputs, generator):
        module = StandardNormal().build(n_components, n_inputs, generator)
        module.height = torch.nn.Parameter(torch.zeros(n_components))
        return module


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("instances", [False, True])
def test_components_of_users_are_fitted_under_any_setting(setting, instances):
    layers = partial(torch.nn.Linear, 5, 4), partial(torch.nn.Linear, 2, 5)
    made = [layer() for layer in layers] if instances else [lambda *sizes, layer=layer: layer() for layer in layers]
    with SETTINGS[setting]():
        vae = VAETransformer(2, network=Modules(*made), prior=Peaked(), max_iter=1, random_state=0).fit(X)
        assert np.isfinite(vae.score_samples(X)).all() and vae.sample(2).shape == (2, 5)
    assert {p.dtype for p in vae.module_.parameters()} == {torch.float32}


# Rows and numbers in unusual forms


ODD = {
    "one reversed row": lambda A: A[::-1][:1],
    "a field of records": lambda A: np.array([(1, row) for row in A], dtype=[("id", "u1"), ("x", A.dtype, A.shape[1])])[
        "x"
    ],
}


@pytest.mark.parametrize("form", ODD)
@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_methods_take_rows_with_any_strides(name, form, dtype):
    vae, data = FITTED[name], ESTIMATORS[name][1].astype(dtype)
    odd = ODD[form](data)
    methods = ["transform", "score_samples"] + (["predict_log_proba"] if name == "classifier" else [])
    for method in methods:
        np.testing.assert_array_equal(getattr(vae, method)(odd), getattr(vae, method)(np.array(odd, order="C")))
    Z = ODD[form](vae.transform(data))
    np.testing.assert_array_equal(vae.inverse_transform(Z), vae.inverse_transform(np.array(Z, order="C")))


@pytest.mark.parametrize(
    "params",
    [
        {"n_draws": 100, "n_components": 2},
        {"batch_size": 50, "max_iter": 20, "n_iter_no_change": 100},
        {"warmup_steps": 127, "max_iter": 3, "early_stopping": False},
        {"n_jobs": 1},
    ],
)
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_small_integers_of_numpy_do_not_overflow(params, dtype):
    params = QUICK | params
    small = {k: dtype(v) if type(v) is int else v for k, v in params.items()}
    first, second = (VAETransformer(**{"n_components": 2, **p}).fit(X) for p in (params, small))
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    np.testing.assert_array_equal(first.sample(3), second.sample(dtype(3)))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_classifier_takes_small_integers_of_numpy(dtype):
    params = {"n_neighbors": 10, "n_mixture_components": 2, "n_components": 2}
    first, second = (
        VAEClassifier(**(QUICK | {k: kind(v) for k, v in params.items()})).fit(X, CLASS) for kind in (int, dtype)
    )
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.sample(20, y=1)[0], second.sample(dtype(20), y=1)[0])


def test_latent_scale_that_is_not_finite_is_refused():
    model = copy.deepcopy(FITTED["vamp"].module_).double()
    model.decoder[-1].weight.data.fill_(1e300)
    model.decoder[-1].bias.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="training diverged"):
        latent_scale(model, latent_statistics(model, DenseRows(torch.from_numpy(B))))


# Memory


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        (lambda: VAETransformer(2, hidden_layer_sizes=(10**13,)).fit(X), "200000000000000 bytes"),
        (lambda: VAETransformer(2, hidden_layer_sizes=(10**18,)).fit(X), "more than any memory holds"),
        (lambda: clone(FITTED["transformer"]).set_params(n_draws=10**13).fit(X).score_samples(X), "bytes"),
        (lambda: FITTED["transformer"].sample(10**13), "Unable to allocate|bytes"),
    ],
)
def test_out_of_memory_is_a_memory_error_that_says_what_was_asked_for(call, asked):
    with pytest.raises(MemoryError, match=asked):
        call()


@pytest.mark.parametrize("name", FITTED)
@pytest.mark.parametrize("n_rows", [1, 15, 16, 17, 31, 32, 33, 203])
def test_samples_do_not_depend_on_the_chunk(name, n_rows, monkeypatch):
    vae = FITTED[name]
    with torch.inference_mode():
        z = torch.randn(n_rows, 2, generator=torch.Generator().manual_seed(1))
        expected = vae.module_.sample(z, torch.Generator().manual_seed(0)).numpy()
        monkeypatch.setattr("sklearn_vae._model.inference.CHUNK_SIZE", 1)
        found = vae._fitted_model.inference.sample(z, torch.Generator().manual_seed(0))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_samples_of_classes_do_not_depend_on_the_chunk(monkeypatch):
    vae = FITTED["classifier"]
    expected = vae.sample(50)
    monkeypatch.setattr("sklearn_vae._model.class_mixture.CHUNK_SIZE", 40)
    for one, other in zip(vae.sample(50), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def run(code, timeout=120):
    """Run a script in a process of its own; return what it prints."""
    head = "import os, resource\nimport numpy as np\nfrom sklearn_vae import VAEClassifier, VAETransformer\n"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", head + code], capture_output=True, text=True, timeout=timeout, env=env, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Growth of the largest memory so far, in MiB.
MEMORY = """
X = np.random.default_rng(0).normal(size=(50_000, 3)).astype("f4")
y = np.arange(50_000) % 2000
wide = dict(hidden_layer_sizes=(600,), max_iter=0, early_stopping=False)
light = dict(hidden_layer_sizes=(4,), generative_weight=0, consistency_weight=0, max_iter=1, batch_size=1000)

def growth(function):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024

transformer, classifier = VAETransformer(2, **wide).fit(X[:100]), VAEClassifier(2, **wide).fit(X[:100], X[:100, 0] > 0)
VAEClassifier(2, **light).fit(X[:6000], y[:6000] % 10)
transformer.sample(2000), classifier.sample(2000)
print(growth(lambda: transformer.sample(100_000)))
print(growth(lambda: classifier.sample(100_000)))
print(growth(lambda: VAEClassifier(2, **light).fit(X, y)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory as Linux does")
def test_memory_of_samples_and_targets_is_bounded():
    """Without chunks the widest layer took 240 MiB for the samples, and indicators of the classes 600 MiB."""
    samples, samples_of_classes, targets = map(int, run(MEMORY).split())
    assert samples < 100 and samples_of_classes < 100
    assert targets < 200


# Forks

FORK = """
import signal, sys, threading, torch
from sklearn.cluster import KMeans
from sklearn_vae._data.devices import process
from sklearn_vae.networks import Modules

X = np.random.default_rng(0).normal(size=(1000, 200))
y = np.where(np.arange(1000) % 3, -1, X[:, 0] > 0)
quick = dict(max_iter=1, early_stopping=False, random_state=0)
network = Modules(torch.nn.Linear(200, 5), torch.nn.Linear(2, 200))

def child_of(function):
    pid = os.fork()
    if pid == 0:
        # Ends a child that waits for what is not there.
        signal.alarm(60)
        try:
            function()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def fit(n_jobs, **params):
    return VAETransformer(2, n_jobs=n_jobs, **quick, **params).fit(X)

# Pools of threads, torch's and scikit-learn's, that are lost in a child.
expected, parent = fit(1, beta=lambda step: 1.0).transform(X), fit(2)
parent.transform(X)
KMeans(3, n_init=1, random_state=0).fit(X[:, :4])

def of_transformer():
    seen = []
    vae = fit(2, beta=lambda step: seen.append(torch.get_num_threads()) or 1.0)
    assert set(seen) == {1} and (vae.transform(X) == expected).all()
    parent.transform(X), parent.score_samples(X[:50]), parent.sample(3000)

held, go = threading.Event(), threading.Event()

def hold():
    with process.generator_lock, process.limit_threads(2), process._lock:
        held.set()
        go.wait()

thread = threading.Thread(target=hold)

def locked():
    thread.start()
    held.wait()
    status = child_of(lambda: VAETransformer(2, network=network, **quick).fit(X))
    go.set()
    thread.join()
    VAETransformer(2, network=network, **quick).fit(X)
    return status

def in_a_fit():
    pids, threads = [], torch.get_num_threads()

    def beta(step):
        if step == 1:
            pids.append(os.fork())
            signal.alarm(0 if pids[0] else 60)
        return 1.0

    vae = fit(1, beta=beta)
    if pids[0] == 0:
        os._exit(int(torch.get_num_threads() != threads or (vae.transform(X) != expected).any()))
    assert torch.get_num_threads() == threads and (vae.transform(X) == expected).all()
    return os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1])

statuses = [
    child_of(of_transformer),
    child_of(lambda: VAEClassifier(2, n_jobs=2, **quick).fit(X[:, :4], y)),
    locked(),
    in_a_fit(),
]
print(*statuses)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_forked_children_fit_with_one_thread_and_do_not_wait_for_the_parents():
    """Exit statuses; -14 for a child that was stopped because it waited."""
    assert run(FORK, timeout=300).split() == ["0", "0", "0", "0"]
