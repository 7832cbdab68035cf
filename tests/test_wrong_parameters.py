"""Wrong parameters raise an error before training that says what was expected, what was given and what to do."""

import numpy as np
import pytest
from naming import shown
from small_estimators import small_transformer as small
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import LIKELIHOODS, Gaussian
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import IWAE
from sklearn_vae.objectives.joint import Joint
from sklearn_vae.priors import Mixture, VampPrior


@pytest.mark.parametrize("family", ["likelihood", "prior", "network", "objective"])
def test_unknown_component_name(iris, family):
    known = {"likelihood": "gaussian", "prior": "standard_normal", "network": "mlp", "objective": "elbo"}[family]
    with pytest.raises(ValueError, match=rf"'{family}' parameter .* must be a str among .*'{known}'.* Got 'nonsense'"):
        small(**{family: "nonsense"}).fit(iris)


def test_unknown_likelihood_lists_all_that_are_known(iris):
    with pytest.raises(ValueError) as error:
        small(likelihood="nonsense").fit(iris)
    assert all(repr(name) in str(error.value) for name in LIKELIHOODS)


@pytest.mark.parametrize("family", ["likelihood", "prior", "network", "objective"])
@pytest.mark.parametrize("value", [None, 3, nn.Linear(2, 2), Gaussian])
def test_component_of_another_kind(iris, family, value):
    with pytest.raises(ValueError, match=rf"'{family}' parameter of VAETransformer must be .* Got "):
        small(**{family: value}).fit(iris)


@pytest.mark.parametrize(
    ("name", "values"),
    {
        "n_components": [0, -1, 2.0, "2", 0.0, 1.0],
        "beta": [-0.1, "1", None],
        "init": ["pca", None],
        "whiten": ["yes", 2],
        "max_iter": [-1, 2.5, "none"],
        "batch_size": [0, 2.5, "all"],
        "learning_rate_init": [0, -1.0, "fast"],
        "warmup_steps": [-1, 2.5],
        "alpha": [-1.0, None],
        "input_noise": [-1.0, "some"],
        "averaging": [1.0, -0.1],
        "early_stopping": ["yes"],
        "validation_fraction": [0.0, 1.0],
        "n_iter_no_change": [0],
        "tol": [-1.0],
        "n_draws": [0, 2.5],
        "n_jobs": [1.5, "all"],
        "random_state": ["seven", -1],
    }.items(),
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_wrong_parameter(iris, method, name, values):
    for value in values:
        vae = small(**{name: value}) if name != "n_components" else small(value)
        with pytest.raises(ValueError, match=rf"'{name}' parameter of VAETransformer must be .* Got {value!r}"):
            getattr(vae, method)(iris)


@pytest.mark.parametrize("sizes", [(0,), (-3, 8), (2.5,), "large", ("8",)])
def test_wrong_hidden_layer_sizes(iris, sizes):
    with pytest.raises(ValueError, match="hidden_layer_sizes.* [Gg]ot "):
        small(hidden_layer_sizes=sizes).fit(iris)


@pytest.mark.parametrize("sizes", [(0,), (-3, 8), (2.5,)])
def test_wrong_decoder_hidden_layer_sizes(iris, sizes):
    with pytest.raises(ValueError, match="decoder_hidden_layer_sizes.* got "):
        small(network=MLP(decoder_hidden_layer_sizes=sizes)).fit(iris)


@pytest.mark.parametrize(
    ("component", "message"),
    [
        (Gaussian(scale=-1.0), r"'scale' parameter of Gaussian must be .*'optimal'.* Got -1.0"),
        (Gaussian(scale=0.0), "'scale' parameter of Gaussian must be .* Got 0.0"),
        (Gaussian(scale="best"), "'scale' parameter of Gaussian must be .* Got 'best'"),
        (Gaussian(per_column=3), "'per_column' parameter of Gaussian must be .* Got 3"),
        (Gaussian(scale=1.0, per_column=True), "expected per_column=False with a fixed scale.*use scale='optimal'"),
        (MLP(activation="step"), "'activation' parameter of MLP must be a str among .*'relu'.* Got 'step'"),
        (MLP(principal_coordinates=0), "'principal_coordinates' parameter of MLP must be .* Got 0"),
    ],
    ids=shown,
)
def test_wrong_component_parameter(iris, component, message):
    family = "network" if isinstance(component, MLP) else "likelihood"
    with pytest.raises(ValueError, match=message):
        small(**{family: component}).fit(iris)


def test_fixed_scale_that_float32_cannot_resolve(iris):
    with pytest.raises(
        ValueError, match="expected scale to be at least 1e-09 times the root of the columns' mean .*, got 1e-12"
    ):
        small(likelihood=Gaussian(scale=1e-12)).fit(iris)
    assert np.isfinite(small(likelihood=Gaussian(scale=1e30)).fit(iris).score(iris))


@pytest.mark.parametrize(
    "params",
    [
        {"n_components": True},
        {"n_components": np.int64(2)},
        {"n_draws": True},
        {"objective": IWAE(n_draws=True)},
        {"prior": VampPrior(True)},
        {"prior": Mixture(True)},
    ],
    ids=shown,
)
def test_integers_that_torch_does_not_know_are_integers(iris, params):
    """scikit-learn takes True for 1; a warm start takes numpy's integers for python's."""
    vae = small(**params, warm_start=True).fit(iris)
    assert np.isfinite(vae.score(iris))
    vae.set_params(n_components=int(vae.n_components)).fit(iris)


@pytest.mark.parametrize("device", ["toaster", "cuda:99", "cpu:x"])
def test_wrong_device(iris, device):
    """The message names the parameter and the given value, instead of torch's own message."""
    with pytest.raises(ValueError, match=f"device.*{device}"):
        small(device=device).fit(iris)


@pytest.mark.parametrize("returned", [np.nan, np.inf, -1.0, "1", None])
def test_beta_function_of_wrong_value(iris, returned):
    with pytest.raises((ValueError, TypeError), match="beta.*got "):
        small(beta=lambda step: returned).fit(iris)


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_joint_objective_of_a_user(iris, cls):
    with pytest.raises(TypeError, match=r"expected objective to be that of a transformer, e.g. ELBO\(\), got a Joint"):
        cls(objective=Joint(IWAE())).fit(iris, np.arange(150) % 2)


@pytest.mark.parametrize("estimator", [VAETransformer, VAEClassifier])
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("likelihood__scale", "gaussian", "Bernoulli, ContinuousBernoulli, DiscretizedLogistic, Gaussian"),
        ("prior__n_pseudo_inputs", "vamp", "Mixture, StandardNormal, VampPrior"),
        ("network__activation", "mlp", "Conv, MLP"),
        ("objective__n_draws", "iwae", "ELBO, FreeBits, IWAE"),
        ("likelihood__scale", None, "Gaussian"),
    ],
)
def test_parameter_of_a_component_that_is_a_name(estimator, name, value, expected):
    component, parameter = name.split("__")
    message = f"expected {component} to be an instance with a parameter '{parameter}', got {component}={value!r}; "
    for params in ({name: 1.0}, {component: value, name: 1.0}, {name: 1.0, component: value}):
        with pytest.raises(ValueError, match=f"{message}set {component} to one of .*{expected}"):
            estimator(**{component: value}).set_params(**params)


def test_parameter_of_a_component_that_is_set_with_it():
    vae = VAETransformer().set_params(likelihood__scale=0.5, likelihood=Gaussian())
    assert vae.likelihood.scale == 0.5
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        vae.set_params(nonsense__scale=1)


# Changes between calls


def test_partial_fit_of_another_number_of_components(iris):
    vae = small().partial_fit(iris).set_params(n_components=3)
    with pytest.raises(
        ValueError,
        match="expected n_components as in the first call, 2, got 3; .*new",
    ):
        vae.partial_fit(iris)


@pytest.mark.parametrize(
    "changes",
    [{"likelihood": Gaussian(scale=1.0)}, {"init": "random"}, {"hidden_layer_sizes": (3,)}, {"network": MLP("tanh")}],
    ids=shown,
)
def test_warm_start_with_another_model(iris, changes):
    vae = small(warm_start=True).fit(iris)
    with pytest.raises(ValueError, match=f"expected {next(iter(changes))} as in the first call"):
        vae.set_params(**changes).fit(iris)
