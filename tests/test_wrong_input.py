"""Wrong input raises an error before training that says what was expected, what was given and what to do."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import torch
from naming import shown
from sklearn.exceptions import NotFittedError
from torch import nn

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae.likelihoods import LIKELIHOODS, Bernoulli, Gaussian
from sklearn_vae.networks import MLP, Modules
from sklearn_vae.objectives import IWAE, Joint
from sklearn_vae.priors import Mixture, VampPrior


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "max_iter": 1, "early_stopping": False, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


def decoder(n_components, n_features):
    return nn.Linear(n_components, n_features)


def changed(X, value):
    X = np.array(X)
    X[3, 1] = value
    return X


# Rows


@pytest.mark.parametrize(("value", "message"), [(np.nan, "contains NaN"), (np.inf, "contains infinity")])
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples", "score", "fit_transform"])
def test_non_finite_cells(iris, method, value, message):
    vae = small().fit(iris)
    with pytest.raises(ValueError, match=f"Input X {message}"):
        getattr(vae, method)(changed(iris, value))


@pytest.mark.parametrize("value", [-0.1, 1.5, 255.0])
@pytest.mark.parametrize("likelihood", ["bernoulli", Bernoulli()], ids=shown)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_bernoulli_values_outside_the_unit_interval(iris, method, likelihood, value):
    vae = small(likelihood=likelihood).fit(iris / 10)
    message = r"Bernoulli: expected values in \[0, 1\], got values from .* to .*; give the largest as max_value, scale"
    with pytest.raises(ValueError, match=message):
        getattr(vae, method)(changed(iris / 10, value))


def test_warm_start_on_one_row(iris):
    vae = small(warm_start=True).fit(iris)
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        vae.fit(iris[:1])
    with pytest.raises(ValueError, match="at least two rows with a positive sample_weight, got 1 of 3"):
        vae.fit(iris[:3], sample_weight=[0, 1, 0])


@pytest.mark.parametrize("factor", [1e-50, 1e50])
def test_weights_of_another_size_than_in_the_first_call(iris, factor):
    vae = small().partial_fit(iris)
    with pytest.raises(ValueError, match="expected sample_weight of similar size as in the first call, where the mean"):
        vae.partial_fit(iris, sample_weight=np.full(150, factor))


@pytest.mark.parametrize("cls", [VAETransformer, VAEClassifier])
def test_joint_objective_of_a_user(iris, cls):
    with pytest.raises(TypeError, match=r"expected objective to be that of a transformer, e.g. ELBO\(\), got a Joint"):
        cls(objective=Joint(IWAE())).fit(iris, np.arange(150) % 2)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_one_row(iris, method):
    with pytest.raises(ValueError, match=r"Found array with 1 sample\(s\).*minimum of 2 is required"):
        getattr(small(), method)(iris[:1])


def test_no_rows(iris):
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        small().fit(iris[:0])
    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\)"):
        small().fit(iris).transform(iris[:0])


def test_no_columns(iris):
    with pytest.raises(ValueError, match=r"Found array with 0 feature\(s\).*minimum of 1 is required"):
        small().fit(iris[:, :0])


def test_one_row_as_a_vector():
    with pytest.raises(ValueError, match="Expected 2D array, got 1D"):
        small().fit(np.zeros(150))


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_images_that_are_no_rows(iris, method):
    with pytest.raises(ValueError, match=r"got shape \(5, 2, 2\); flatten .*X.reshape.* ImageFlattener before"):
        getattr(small().fit(iris), method)(np.zeros((5, 2, 2)))


def test_strings(iris):
    with pytest.raises(ValueError, match="could not convert string to float: 'red'"):
        small().fit([["red", 1.0], ["blue", 2.0]])


def test_object_arrays_of_numbers_are_numbers(iris):
    np.testing.assert_array_equal(small().fit_transform(iris.astype(object)), small().fit_transform(iris))


def test_object_arrays_of_other_things(iris):
    X = iris.astype(object)
    X[0, 0] = {"a": 1}
    with pytest.raises(TypeError, match=r"float\(\) argument must be a string or a real number, not 'dict'"):
        small().fit(X)


def test_complex_numbers(iris):
    with pytest.raises(ValueError, match="Complex data not supported"):
        small().fit(iris + 1j)


@pytest.mark.parametrize("container", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
@pytest.mark.parametrize("method", ["fit", "transform", "score_samples"])
def test_sparse_rows(iris, method, container):
    with pytest.raises(TypeError, match=r"Sparse data was passed.*dense data is required.*toarray\(\)"):
        getattr(small().fit(iris), method)(container(iris))


@pytest.mark.parametrize("method", ["transform", "score_samples", "score", "partial_fit"])
def test_rows_of_another_width(iris, method):
    with pytest.raises(ValueError, match="X has 3 features, but VAETransformer is expecting 4 features"):
        getattr(small().fit(iris), method)(iris[:, :3])


def test_warm_start_with_rows_of_another_width(iris):
    with pytest.raises(ValueError, match="X has 3 features, but VAETransformer is expecting 4 features"):
        small(warm_start=True).fit(iris).fit(iris[:, :3])


def test_frame_with_other_columns(iris):
    X = pd.DataFrame(iris, columns=list("abcd"))
    vae = small().fit(X)
    with pytest.raises(ValueError, match=r"feature names should match.*\n.*seen at fit time, yet now missing:\n- b"):
        vae.transform(X.drop(columns="b"))
    with pytest.raises(ValueError, match="Feature names must be in the same order"):
        vae.transform(X[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match="Feature names unseen at fit time:\n- e"):
        vae.transform(X.rename(columns={"d": "e"}))


def test_variance_beyond_float64(iris):
    with pytest.raises(ValueError, match="expected columns with a finite variance.*overflow; scale the columns"):
        small().fit(1e200 * iris)


# Weights


def test_all_weights_zero(iris):
    """scikit-learn refuses them from 1.9 on, before we do."""
    with pytest.raises(ValueError, match=r"at least one non-zero number|got 0 of 150"):
        small().fit(iris, sample_weight=np.zeros(150))


def test_one_positive_weight(iris):
    with pytest.raises(ValueError, match="at least two rows with a positive sample_weight, got 1 of 150"):
        small().fit(iris, sample_weight=np.eye(150)[0])


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.full(150, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.full(150, np.nan), "Input sample_weight contains NaN"),
        (np.full(150, np.inf), "Input sample_weight contains infinity"),
        (np.ones(149), r"sample_weight.shape == \(149,\), expected \(150,\)"),
        (np.ones((150, 2)), "Sample weights must be 1D array or scalar"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_wrong_weights(iris, method, weight, message):
    with pytest.raises(ValueError, match=message):
        getattr(small(), method)(iris, sample_weight=weight)


# Latents and samples


@pytest.mark.parametrize("width", [1, 3])
def test_latents_of_another_width(iris, width):
    with pytest.raises(ValueError, match=f"expected Z with n_components=2 columns.*got {width}"):
        small().fit(iris).inverse_transform(np.zeros((5, width)))


@pytest.mark.parametrize(
    ("Z", "message"),
    [
        (np.full((3, 2), np.nan), "Input Z contains NaN"),
        (np.full((3, 2), np.inf), "Input Z contains infinity"),
        (np.zeros(2), "Expected 2D array, got 1D array"),
        (np.zeros((0, 2)), r"Found array with 0 sample\(s\)"),
        (np.zeros((3, 2), dtype=complex), "Complex data not supported"),
        ([["a", "b"]], "could not convert string to float|dtype='numeric' is not compatible"),
    ],
)
def test_wrong_latents(iris, Z, message):
    with pytest.raises(ValueError, match=message):
        small().fit(iris).inverse_transform(Z)


@pytest.mark.parametrize("n_samples", [0, -1, 2.5, "3", None, np.nan, True, np.True_])
def test_sample_of_a_wrong_number(fitted, n_samples):
    with pytest.raises(ValueError, match=f"expected n_samples to be an integer of at least 1, got {n_samples!r}"):
        fitted.sample(n_samples)


def test_sample_with_a_wrong_random_state(fitted):
    with pytest.raises(ValueError, match="'seven' cannot be used to seed"):
        fitted.sample(random_state="seven")


@pytest.mark.parametrize(
    "method", ["transform", "inverse_transform", "score_samples", "score", "get_feature_names_out"]
)
def test_method_before_fit(iris, method):
    arguments = [] if method == "get_feature_names_out" else [iris]
    with pytest.raises(NotFittedError, match="not fitted yet"):
        getattr(small(), method)(*arguments)


def test_sample_before_fit():
    with pytest.raises(NotFittedError, match="VAETransformer instance is not fitted yet"):
        small().sample()


# Parameters


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
        "n_components": [0, -1, 2.0, "2", None],
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
    with pytest.raises(ValueError, match="expected scale to be at least 1e-09 of the columns' root mean .*, got 1e-12"):
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


def test_partial_fit_of_another_number_of_components(iris):
    vae = small().partial_fit(iris).set_params(n_components=3)
    with pytest.raises(
        ValueError,
        match="expected n_components as in the first call, 2, got 3; .*new",
    ):
        vae.partial_fit(iris)


# User networks


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


# Training


def test_divergence_says_what_to_do(iris):
    vae = small(learning_rate_init=1e30, warmup_steps=0, max_iter=20)
    with pytest.raises(ValueError, match=r"diverged: the loss is (nan|inf).*smaller learning_rate_init, or scale"):
        vae.fit(iris)


def test_divergence_leaves_no_earlier_model_in_use(iris):
    vae = small().fit(iris)
    with pytest.raises(ValueError, match="diverged"):
        vae.set_params(learning_rate_init=1e30, warmup_steps=0, max_iter=20).fit(iris)
    with pytest.raises(NotFittedError):
        vae.transform(iris)


def test_interrupt_stops_at_once(iris):
    calls = []

    def beta(step):
        calls.append(step)
        if step == 3:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        small(beta=beta, max_iter=50, batch_size=10).fit(iris)
    assert max(calls[1:]) == 3


def test_nothing_is_written(iris, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    small(early_stopping=True, max_iter=3).fit(iris).score(iris)
    assert list(tmp_path.iterdir()) == [] and capfd.readouterr() == ("", "")


def test_good_input_at_the_limits_is_taken(iris):
    """Unusual but valid input: bounds of [0, 1], one column, integers, many components, tiny scales."""
    for X, params in [
        ((iris > 3).astype(float), {"likelihood": "bernoulli"}),
        (iris[:, :1], {}),
        ((10 * iris).astype(int), {}),
        (iris, {"n_components": 20}),
        (iris, {"likelihood": Gaussian(scale=1e-3)}),
        (iris, {"beta": 0}),
        (iris, {"hidden_layer_sizes": ()}),
    ]:
        assert np.isfinite(small(**{"n_components": 2, **params}).fit_transform(X)).all()
        assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "changes",
    [{"likelihood": Gaussian(scale=1.0)}, {"init": "random"}, {"hidden_layer_sizes": (3,)}, {"network": MLP("tanh")}],
    ids=shown,
)
def test_warm_start_with_another_model(iris, changes):
    vae = small(warm_start=True).fit(iris)
    with pytest.raises(ValueError, match=f"expected {next(iter(changes))} as in the first call"):
        vae.set_params(**changes).fit(iris)


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


@pytest.mark.parametrize("method", ["fit", "partial_fit", "transform", "score_samples"])
def test_float32_rows_whose_results_overflow(iris, method):
    vae = small().fit(iris.astype(np.float32))
    with pytest.raises(
        ValueError, match=r"float32 values of at most 2.13e\+37 in 4 columns, got 3e\+38, whose results"
    ):
        getattr(vae, method)(changed(iris, 3e38).astype(np.float32))
    large = (iris * 2e36).astype(np.float32)
    Z = vae.fit(large).transform(large)
    for values in (Z, vae.inverse_transform(Z), vae.score_samples(large)):
        assert np.isfinite(values).all()
