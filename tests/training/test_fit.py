"""Start, stopping and continuation of fits, and sample weights."""

import copy
import math
import pickle
import re
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_vae import VAEClassifier, VAETransformer
from sklearn_vae._training import recipe as _recipe
from sklearn_vae._training.progress import Progress
from sklearn_vae.likelihoods import Gaussian
from sklearn_vae.networks import MLP
from sklearn_vae.objectives import IWAE, Autoencoder, Objective, Terms


def small(n_components=2, **params):
    values = {"hidden_layer_sizes": (8,), "learning_rate_init": 0.01, "random_state": 0}
    return VAETransformer(n_components, **{**values, **params})


@pytest.fixture(params=["cross-validated", "held-out"])
def route(request, monkeypatch):
    """Either way of early stopping, whatever the number of rows."""
    if request.param == "held-out":
        monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    return request.param


def nonlinear(n=200, seed=0):
    """A parabola: its first principal component is the parameter, from which a network gets the rest."""
    t = np.random.default_rng(seed).uniform(-2, 2, n)
    noise = 0.05 * np.random.default_rng(seed + 1).normal(size=(n, 3))
    return np.column_stack([2 * t, t**2, t]) + noise


# Stopping


def test_early_stopping_keeps_the_best_validation(iris, route):
    vae = small(max_iter=30, n_iter_no_change=3).fit(iris)
    scores = vae.validation_scores_
    assert vae.best_validation_score_ == max(scores) >= scores[0]
    assert len(scores) >= 2 and np.isfinite(scores).all()
    assert len(vae.loss_curve_) >= vae.best_iter_
    assert (vae.best_iter_ == 0) == (max(scores) == scores[0])


def test_early_stopping_never_leaves_the_start_for_something_worse(iris, route):
    """Far too large steps make everything worse, so the initial model is kept."""
    X = np.random.default_rng(0).normal(size=(100, 6))
    vae = small(max_iter=8, learning_rate_init=0.5, warmup_steps=0, averaging=0.0, whiten=True).fit(X)
    start = small(max_iter=0, whiten=True).fit(X)
    assert vae.best_iter_ == 0 and vae.best_validation_score_ == vae.validation_scores_[0]
    if route == "cross-validated":
        np.testing.assert_allclose(vae.transform(X), start.transform(X), atol=1e-6)


def test_early_stopping_beats_the_start_where_data_are_nonlinear(route):
    X, new = nonlinear(), nonlinear(seed=7)
    vae, start = (small(1, max_iter=n).fit(X) for n in (60, 0))
    assert vae.best_iter_ > 0 and vae.best_validation_score_ > vae.validation_scores_[0] + 0.1
    assert vae.score(new) > start.score(new) + 0.1


@pytest.mark.parametrize("n_iter_no_change", [1, 3])
def test_early_stopping_stops_after_its_patience(monkeypatch, iris, n_iter_no_change):
    """No improvement is large enough to continue training."""
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    vae = small(max_iter=200, tol=1e6, n_iter_no_change=n_iter_no_change).fit(iris)
    assert len(vae.validation_scores_) == 1 + n_iter_no_change
    assert vae.best_iter_ <= vae.n_iter_ == len(vae.loss_curve_) < 200


def test_tol_is_the_smallest_improvement_that_counts(monkeypatch):
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    greedy, modest = (
        small(1, max_iter=40, tol=tol, n_iter_no_change=100, random_state=1).fit(nonlinear()) for tol in (0.0, 0.01)
    )
    assert modest.validation_scores_ == greedy.validation_scores_
    assert 0 < modest.best_iter_ <= greedy.best_iter_


def test_tol_ends_a_fit_but_loses_no_improvement():
    """As in scikit-learn's MLPs, an improvement below `tol` is kept, and counts as none for the patience."""
    impatient, patient = (small(1, max_iter=400, tol=tol, n_iter_no_change=2).fit(nonlinear()) for tol in (1e6, 0.0))
    assert impatient.n_iter_ < patient.n_iter_
    assert impatient.best_validation_score_ == max(impatient.validation_scores_)


def test_held_out_fit_trains_on_the_other_rows(monkeypatch, iris):
    """The start is that of the rows that are left."""
    monkeypatch.setattr(_recipe, "MAX_SMALL_ROWS", 20)
    few, many = (small(max_iter=1, validation_fraction=share).fit(iris) for share in (0.02, 0.9))
    everything = small(max_iter=0).fit(iris)
    center = [vae.module_.likelihood.center.numpy() for vae in (few, many)]
    assert np.abs(center[0] - iris.mean(0)).max() < 0.05 < np.abs(center[1] - iris.mean(0)).max()
    np.testing.assert_allclose(everything.module_.likelihood.center.numpy(), iris.mean(0))


def test_cross_validated_fit_ends_on_all_rows(iris):
    vae = small(max_iter=10).fit(iris)
    np.testing.assert_allclose(vae.module_.likelihood.center.numpy(), iris.mean(0))
    assert len(vae.loss_curve_) == vae.best_iter_


@pytest.mark.parametrize("early_stopping", [True, False])
def test_max_iter_zero_is_the_start(iris, early_stopping):
    vae = small(max_iter=0, early_stopping=early_stopping).fit(iris)
    assert vae.best_iter_ == vae.n_steps_ == 0 and vae.loss_curve_ == []
    assert not hasattr(vae, "validation_scores_") and not hasattr(vae, "best_validation_score_")
    np.testing.assert_array_equal(vae.transform(iris), small(max_iter=0, random_state=5).fit_transform(iris))


@pytest.mark.parametrize("batch_size", [1, 40, 1000])
def test_fit_without_early_stopping_makes_every_epoch(iris, batch_size):
    vae = small(max_iter=3, batch_size=batch_size, early_stopping=False).fit(iris)
    assert vae.n_iter_ == len(vae.loss_curve_) == 3
    assert vae.n_steps_ == 3 * -(-150 // batch_size)
    assert not hasattr(vae, "validation_scores_")


def test_fit_forgets_what_an_earlier_fit_left(iris):
    vae = small(max_iter=5, whiten=False).fit(iris)
    vae.set_params(early_stopping=False, whiten=True, likelihood="bernoulli").fit(iris / 10)
    for name in ("validation_scores_", "best_validation_score_", "noise_variance_", "latent_scale_"):
        assert not hasattr(vae, name), name
    expected = clone(vae).fit(iris / 10)
    np.testing.assert_array_equal(vae.transform(iris / 10), expected.transform(iris / 10))


@pytest.mark.parametrize("n_rows", [2, 3, 4, 5, 6])
def test_fit_takes_as_few_as_two_rows(iris, n_rows):
    X = iris[::30][:n_rows] if n_rows < 6 else iris[::29][:6]
    vae = small(max_iter=3).fit(X)
    assert np.isfinite(vae.transform(X)).all() and np.isfinite(vae.score(X))


def test_fit_of_duplicated_rows_is_finite(iris, route):
    X = np.repeat(iris[:2], 30, axis=0)
    vae = small(3, max_iter=3).fit(X)
    assert np.isfinite(vae.transform(X)).all() and np.isfinite(vae.loss_curve_).all()


def test_fit_diverging_raises_and_keeps_no_weights(iris):
    vae = small(max_iter=20, learning_rate_init=1e30, warmup_steps=0, early_stopping=False)
    with pytest.raises(ValueError, match="diverged.*smaller learning_rate_init"):
        vae.fit(iris)
    assert not hasattr(vae, "module_")


@pytest.mark.parametrize("objective", ["elbo", "autoencoder"])
def test_fit_diverging_in_its_last_step_raises(iris, objective):
    """No loss comes after it."""
    vae = small(max_iter=1, batch_size=150, objective=objective, early_stopping=False, warmup_steps=0, averaging=0)
    with pytest.raises(ValueError, match="diverged: .* not finite after the last step; use a smaller learning_rate"):
        vae.set_params(learning_rate_init=1e38).fit(iris)
    assert not hasattr(vae, "module_")


def test_held_out_rows_beyond_float32_raise(iris):
    """Training on the other rows shows nothing of an outlier whose square overflows in their units."""
    X = iris.copy()
    X[0] = 1e25
    with pytest.raises(ValueError, match="diverged: the mean loss of held-out rows is (inf|nan); .*leave outliers out"):
        small(max_iter=1).fit(X)
    assert np.isfinite(small(max_iter=1, early_stopping=False).fit_transform(X)).all()


# Going on


@pytest.mark.parametrize("early_stopping", [False, True])
def test_warm_start_goes_on_from_the_last_weights(iris, early_stopping):
    vae = small(max_iter=20, early_stopping=early_stopping, warm_start=True).fit(nonlinear())
    before = vae.score(nonlinear())
    vae.set_params(max_iter=0).fit(nonlinear())
    assert vae.score(nonlinear()) == before
    vae.set_params(max_iter=40).fit(nonlinear())
    assert vae.score(nonlinear()) > before - 0.05


def test_warm_start_first_fit_is_a_plain_fit(iris):
    warm, cold = (small(max_iter=3, early_stopping=False, warm_start=flag).fit(iris) for flag in (True, False))
    np.testing.assert_array_equal(warm.transform(iris), cold.transform(iris))


def test_partial_fit_first_call_is_a_fit_of_one_epoch(iris):
    once = small(max_iter=1, early_stopping=False).fit(iris)
    part = small().partial_fit(iris)
    np.testing.assert_array_equal(once.transform(iris), part.transform(iris))
    assert part.n_iter_ == 1 and part.loss_curve_ == once.loss_curve_


def test_partial_fit_goes_on(iris):
    whole = small(max_iter=4, early_stopping=False).fit(iris)
    parts = small()
    for _ in range(4):
        parts.partial_fit(iris)
    assert parts.n_iter_ == 4 and parts.n_steps_ == whole.n_steps_
    np.testing.assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(parts.transform(iris), whole.transform(iris), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("copied", [lambda vae: pickle.loads(pickle.dumps(vae)), copy.deepcopy], ids=["pickle", "copy"])
def test_partial_fit_survives_copies_between_calls(iris, copied):
    straight = small().partial_fit(iris).partial_fit(iris[::2]).partial_fit(iris)
    copies = small().partial_fit(iris)
    for rows in (iris[::2], iris):
        copies = copied(copies).partial_fit(rows)
    assert copies.loss_curve_ == straight.loss_curve_
    np.testing.assert_array_equal(copies.transform(iris), straight.transform(iris))


def test_partial_fit_goes_on_after_fit(iris):
    vae = small(max_iter=3, early_stopping=False).fit(iris)
    before = vae.transform(iris)
    vae.partial_fit(iris)
    assert vae.n_iter_ == 4 and len(vae.loss_curve_) == 4
    assert 0 < np.abs(vae.transform(iris) - before).max() < 1


def test_partial_fit_can_be_used_between_calls(iris):
    used, unused = small().partial_fit(iris), small().partial_fit(iris)
    used.transform(iris), used.score(iris), used.sample(3, random_state=0)
    np.testing.assert_array_equal(used.partial_fit(iris).transform(iris), unused.partial_fit(iris).transform(iris))


# Weights


def full_batch(**params):
    """A deterministic autoencoder in one batch: nothing is drawn at random while it trains."""
    values = {
        "objective": "autoencoder",
        "init": "random",
        "batch_size": 10**6,
        "input_noise": 0,
        "early_stopping": False,
        "max_iter": 10,
        "network": MLP(principal_coordinates=None),
    }
    return small(**{**values, **params})


@pytest.mark.parametrize("init", ["random", "ppca"])
def test_integer_weights_equal_repeated_rows(iris, init):
    """A fixed scale takes the unbiased factor, which differs by Kish's number of rows, out of the model."""
    counts = np.random.default_rng(0).integers(0, 4, len(iris))
    vae = full_batch(init=init, likelihood=Gaussian(scale=0.3))
    weighted = clone(vae).fit(iris, sample_weight=counts)
    repeated = clone(vae).fit(iris.repeat(counts, axis=0))
    np.testing.assert_allclose(
        weighted.inverse_transform(weighted.transform(iris)),
        repeated.inverse_transform(repeated.transform(iris)),
        atol=0.02,
    )
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=0.01)


def heavy_quiet_rows(seed, n_heavy=20, n_light=380, weight=40):
    """Return rows, of which few heavy ones have next to no noise, and their weights."""
    rng = np.random.default_rng(seed)
    scale, counts = np.array([[0.05], [1.0]]), np.array([weight, 1])
    is_light = np.repeat([0, 1], [n_heavy, n_light])
    return rng.normal(size=(len(is_light), 1)) + scale[is_light] * rng.normal(size=(len(is_light), 4)), counts[is_light]


@pytest.mark.parametrize("params", [{}, {"likelihood": Gaussian(per_column=True)}, {"objective": IWAE(2)}], ids=str)
def test_integer_weights_and_repeated_rows_minimise_the_same_expected_loss(params):
    """With batches and the noise scale in closed form, means over seeds agree within Monte Carlo error.

    The quiet rows have half of the weight, and most batches have none: an equal vote of all batches
    would make the noise a third larger.
    """
    vae = VAETransformer(1, hidden_layer_sizes=(8,), early_stopping=False, batch_size=16, input_noise=0, **params)
    differences = []
    for seed in range(4):
        X, counts = heavy_quiet_rows(seed)
        copies = X.repeat(counts, axis=0)
        # As many steps: the schedules go by them.
        weighted, repeated = (
            clone(vae).set_params(max_iter=round(400 * 16 / len(rows)), random_state=seed).fit(rows, sample_weight=w)
            for rows, w in ((X, counts), (copies, None))
        )
        noise = [np.mean(fitted.noise_variance_) for fitted in (weighted, repeated)]
        scores = [np.average(fitted.score_samples(X), weights=counts) for fitted in (weighted, repeated)]
        differences.append([math.log(noise[0] / noise[1]), scores[0] - scores[1]])
    # Four times their standard errors, of the draws of few heavy rows in the last epochs.
    assert (np.abs(np.mean(differences, axis=0)) < [0.1, 0.04]).all()


def test_rows_of_weight_zero_take_no_part(iris, route):
    weight = np.random.default_rng(0).uniform(0.5, 2, len(iris))
    weight[::4] = 0
    vae = small(max_iter=4)
    with_zeros = clone(vae).fit(iris, sample_weight=weight)
    without = clone(vae).fit(iris[weight > 0], sample_weight=weight[weight > 0])
    np.testing.assert_allclose(with_zeros.transform(iris), without.transform(iris), atol=1e-5)
    np.testing.assert_allclose(with_zeros.kl_per_component_, without.kl_per_component_, atol=1e-5)


@pytest.mark.parametrize("weight", [1.0, 7.5])
def test_equal_weights_change_nothing(iris, weight, route):
    vae = small(max_iter=4)
    weighted = clone(vae).fit(iris, sample_weight=np.full(len(iris), weight))
    np.testing.assert_array_equal(weighted.transform(iris), clone(vae).fit(iris).transform(iris))


def test_only_ratios_of_weights_matter(iris):
    weight = np.random.default_rng(0).uniform(0.5, 2, len(iris))
    vae = small(max_iter=4, early_stopping=False)
    first, second = (clone(vae).fit(iris, sample_weight=factor * weight) for factor in (1, 1000))
    np.testing.assert_allclose(first.transform(iris), second.transform(iris), atol=1e-4)


class Given(Objective):
    """A loss of 1, of which the parts are 2 and 3; or one that rows bring in their first column."""

    def __init__(self, of_rows=False):
        self.of_rows = of_rows

    def __call__(self, model, batch, beta, generator):
        nothing = 0 * model.encode(batch.observed, generator).loc.sum(-1)
        return Terms(nothing + (batch.observed.inputs[:, 0] if self.of_rows else 1), nothing + 2, nothing + 3)


@pytest.mark.parametrize("batch_size", [32, 200])
@pytest.mark.parametrize(
    "make",
    [VAETransformer, partial(VAEClassifier, generative_weight=1.0, consistency_weight=0.0)],
    ids=["transformer", "classifier"],
)
def test_curves_are_weighted_means_over_the_rows_that_are_trained_on(iris, make, batch_size, route, capsys):
    """Weights have mean 1 over all rows, and another mean over those."""
    weight = 10.0 ** np.random.default_rng(0).uniform(-2, 2, len(iris))
    params = {"hidden_layer_sizes": (8,), "max_iter": 3, "random_state": 0, "early_stopping": True, "verbose": 2}
    vae = make(2, objective=Given(), validation_fraction=0.4, batch_size=batch_size, **params)
    vae.fit(iris, np.arange(150) % 3, sample_weight=weight)
    np.testing.assert_allclose(vae.reconstruction_curve_, 2, rtol=1e-5)
    np.testing.assert_allclose(vae.kl_curve_, 3, rtol=1e-5)
    printed = [line for line in capsys.readouterr().out.splitlines()[1:] if not line.startswith("labelled rows")]
    assert printed and all(re.search(" 2 +3 ", line) for line in printed)
    if make is VAETransformer:
        np.testing.assert_allclose(vae.loss_curve_, 1, rtol=1e-5)
        np.testing.assert_allclose(vae.validation_scores_, -1, rtol=1e-5)


def test_validation_scores_of_folds_are_weighted_means_over_their_rows():
    """A fold counts with the weight of its rows."""
    rng = np.random.default_rng(0)
    X, weight = rng.random((60, 3)), 10.0 ** rng.uniform(-2, 2, 60)
    vae = small(objective=Given(of_rows=True), likelihood="bernoulli", max_iter=1)
    rows = vae._rows(X, weight)
    run = vae._procedure(rows, _recipe.TransformerRules(60), Progress(vae)).fit_cross_validated(rows, 3, 3)
    np.testing.assert_allclose(run.scores, -np.average(X[:, 0], weights=weight), rtol=1e-5)


def test_weights_of_all_sizes_are_taken(iris):
    """Those that would be 0 in float32 are 0: a held-out part of such rows would have no mean."""
    weight = np.where(np.arange(20) < 4, 1e23, 1e-29)
    vae = small(max_iter=1)
    some, four = vae.fit_transform(iris[:20], sample_weight=weight), clone(vae).fit(iris[:4])
    np.testing.assert_array_equal(some, four.transform(iris[:20]))
    vae.fit(iris[:20], sample_weight=10.0 ** np.arange(-18, 2))
    assert np.isfinite(vae.validation_scores_).all() and np.isfinite(vae.kl_per_component_).all()


def test_weights_whose_sum_overflows_are_taken(iris):
    weight = np.arange(1.0, 151)
    vae = small(max_iter=1, early_stopping=False)
    np.testing.assert_allclose(
        vae.fit_transform(iris, sample_weight=1e306 * weight), vae.fit_transform(iris, sample_weight=weight), atol=1e-5
    )


def test_weights_shift_the_model_towards_heavy_rows(iris):
    weight = np.where(np.arange(150) < 50, 20.0, 1.0)
    plain, weighted = (small(1, max_iter=0).fit(iris, sample_weight=w) for w in (None, weight))
    assert weighted.score(iris[:50]) > plain.score(iris[:50]) + 0.5
    assert weighted.score(iris[50:]) < plain.score(iris[50:])


# Objectives


def test_beta_as_a_function_gets_the_number_of_steps(iris):
    asked = []

    def beta(step):
        asked.append(step)
        return min(1.0, step / 10)

    vae = small(beta=beta, max_iter=4, batch_size=50, early_stopping=False).fit(iris)
    assert vae.n_steps_ == 12 and set(range(12)) <= set(asked)


def test_beta_as_a_constant_function_equals_the_number(iris):
    vae = small(max_iter=4)
    number, function = (clone(vae).set_params(beta=beta).fit(iris) for beta in (0.3, lambda step: 0.3))
    np.testing.assert_array_equal(number.transform(iris), function.transform(iris))


def test_beta_judges_held_out_rows_by_its_last_value(iris):
    """Early stopping must not prefer epochs of the warm-up, where the KL weight is still small."""
    start = [small(max_iter=2, beta=beta).fit(iris).validation_scores_[0] for beta in (1.0, 0.0)]
    warm_up = small(max_iter=2, beta=lambda step: float(step > 0)).fit(iris)
    assert warm_up.validation_scores_[0] == pytest.approx(start[0])
    assert start[1] > start[0] + 1


def test_beta_lowers_the_kl(iris):
    kl = [
        small(beta=beta, max_iter=40, early_stopping=False).fit(iris).kl_per_component_.sum() for beta in (0.1, 1, 20)
    ]
    assert kl[0] > kl[1] > kl[2] >= 0


@pytest.mark.parametrize("objective", ["autoencoder", Autoencoder()], ids=str)
def test_autoencoder_has_no_likelihood(iris, objective):
    vae = small(objective=objective, max_iter=2).fit(iris)
    for name in ("sample", "score_samples", "score", "kl_per_component_"):
        assert not hasattr(vae, name), name
    assert vae.inverse_transform(vae.transform(iris)).shape == iris.shape


def test_autoencoder_reconstructs_nonlinear_data():
    X = nonlinear()
    ae, start = (small(1, objective="autoencoder", hidden_layer_sizes=(32,), max_iter=n, early_stopping=False).fit(X)
                 for n in (150, 0))  # fmt: skip
    errors = [np.square(vae.inverse_transform(vae.transform(X)) - X).mean() for vae in (ae, start)]
    assert errors[0] < 0.3 * errors[1]


def test_textbook_image_model_is_expressible():
    """Encoder 784-128-64-32-2 and decoder 2-256-128-64-32-784; the encoder ends in means and log-scales."""
    X = np.random.default_rng(0).random((20, 784))
    vae = VAETransformer(
        2,
        hidden_layer_sizes=(128, 64, 32),
        init="random",
        likelihood="bernoulli",
        network=MLP("relu", decoder_hidden_layer_sizes=(256, 128, 64, 32)),
        max_iter=1,
        early_stopping=False,
    ).fit(X)

    def shapes(module):
        return [tuple(layer.weight.shape) for layer in module if isinstance(layer, torch.nn.Linear)]

    assert shapes(vae.module_.encoder) == [(128, 784), (64, 128), (32, 64)]
    assert shapes([vae.module_.encoder_head]) == [(2 * 2, 32)]
    assert shapes(vae.module_.decoder) == [(256, 2), (128, 256), (64, 128), (32, 64), (784, 32)]
    assert vae.module_.linear is None
    n_weights = sum(parameter.numel() for parameter in vae.module_.parameters())
    layers = [*vae.module_.encoder, vae.module_.encoder_head, *vae.module_.decoder]
    assert n_weights == sum(m * n + m for m, n in shapes(layers))


def test_settings_without_a_part_leave_results_alone(iris):
    """n_draws and verbose have no part in training."""
    first = small(max_iter=2).fit(iris)
    second = small(max_iter=2, n_draws=3).fit(iris)
    np.testing.assert_array_equal(first.transform(iris), second.transform(iris))


def test_fit_is_silent_under_warnings_as_errors():
    """In a fresh interpreter: a warning at a lazy import comes once per process."""
    program = """
import warnings
import numpy as np
from sklearn_vae import VAETransformer
from sklearn_vae.likelihoods import Gaussian
warnings.simplefilter("error")
# torch 2.6 leaves a temporary folder to the interpreter's exit.
warnings.simplefilter("ignore", ResourceWarning)
rng = np.random.default_rng(0)
X = rng.normal(size=(30, 1)) + 0.1 * rng.normal(size=(30, 4))
for params in ({}, {"whiten": False}, {"likelihood": Gaussian(scale="learned")}, {"objective": "autoencoder"}):
    VAETransformer(2, hidden_layer_sizes=(4,), max_iter=2, **params).fit(X).transform(X)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_fit_does_not_mind_that_gradients_are_off(iris):
    with torch.no_grad():
        vae = small(likelihood="continuous_bernoulli", max_iter=5).fit(iris / 10)
    assert vae.loss_curve_ == small(likelihood="continuous_bernoulli", max_iter=5).fit(iris / 10).loss_curve_
    assert vae.loss_curve_[-1] < vae.loss_curve_[0]
