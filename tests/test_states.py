"""Sequences of calls: a call that raises leaves the estimator unchanged or unfitted."""

import os
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from sklearn_vae import VAEClassifier, VAETransformer

RNG = np.random.default_rng(0)
# Rows of four columns (two sets, one of them weighted), and of three.
DATA = [RNG.normal(size=(24, 4)) @ RNG.normal(size=(4, 4)), RNG.normal(size=(12, 4)) * 3 + 5, RNG.normal(size=(9, 3))]
WEIGHTS = [None, np.linspace(0.5, 4, 12), None]
LABELS = [np.arange(24) % 3, np.where(np.arange(12) % 4, np.arange(12) % 3, -1), np.arange(9) % 2]
QUICK = {
    "n_components": 2,
    "hidden_layer_sizes": (4,),
    "max_iter": 2,
    "batch_size": 8,
    "early_stopping": False,
    "random_state": 0,
}
PRIVATE = {"_architecture", "_fitted_model", "_training_state"}
STEPS = {"ci": (12, 12), "long": (600, 40)}[os.environ.get("HYPOTHESIS_PROFILE", "ci")]
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


class Interrupting:
    """A weight of the KL term that interrupts the fit after some steps."""

    def __init__(self, n_steps):
        self.n_left = n_steps

    def __call__(self, step):
        self.n_left -= 1
        if self.n_left < 0:
            raise KeyboardInterrupt
        return 1.0


class Stop:
    """A callback that stops the fit after some epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context, *, X, y, metadata):
        pass

    def on_fit_task_end(self, estimator, context):
        return context.task_name == "epoch" and context.task_id + 1 == self.n_epochs


def with_infinity(X):
    X = X.copy()
    X[1, 1] = np.inf
    return X


# Arguments that fit and partial_fit refuse, by what is wrong with them.
REFUSED = {
    "infinity": lambda X, y: (with_infinity(X), y, None),
    "one dimension": lambda X, y: (X[0], y, None),
    "no rows": lambda X, y: (X[:0], y[:0], None),
    "no weights": lambda X, y: (X, y, np.zeros(len(X))),
    "negative weights": lambda X, y: (X, y, -np.ones(len(X))),
    "too large": lambda X, y: (np.abs(X) * 1e300, y, None),
}


def fitted_state(estimator):
    """Return the fitted attributes and results of every method, by name."""
    public = [name for name in vars(estimator) if name[-1] == "_" and name[0] != "_"]
    state = {name: getattr(estimator, name) for name in public}
    width = estimator.n_features_in_
    X = next(X for X in DATA if X.shape[1] == width)[:5]
    Z = estimator.transform(X)
    state |= {"transform": Z, "inverse_transform": estimator.inverse_transform(Z)}
    state |= {"float32": estimator.transform(X.astype(np.float32)), "score_samples": estimator.score_samples(X)}
    state["sample"] = estimator.sample(2, random_state=0)
    return state


class States(RuleBasedStateMachine):
    """An estimator, and a twin that sees only those of its calls that succeed."""

    n_states = 0

    def new(self):
        raise NotImplementedError

    def __init__(self):
        super().__init__()
        self.estimator, self.twin = self.new(), self.new()

    def arguments(self, i):
        return DATA[i], LABELS[i], WEIGHTS[i]

    def both(self, call):
        """Call both; if one call raises, both raise."""
        outcomes = []
        for estimator in (self.estimator, self.twin):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    call(estimator)
                    outcomes.append(None)
                except (ValueError, TypeError, NotFittedError) as error:
                    outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]

    def refused(self, call, errors, keeps):
        """Call only the estimator, which must be unchanged afterwards if it `keeps` its fit, and otherwise unfitted."""
        was_fitted = self.estimator.__sklearn_is_fitted__()
        with warnings.catch_warnings():
            # A warm start with other rows warns, as in `both`.
            warnings.simplefilter("ignore")
            with pytest.raises(errors):
                call(self.estimator)
        assert self.estimator.__sklearn_is_fitted__() == (was_fitted and keeps)
        if not keeps:
            self.twin = clone(self.twin)

    @rule(i=st.integers(0, 2))
    def fit(self, i):
        X, y, weight = self.arguments(i)
        self.both(lambda estimator: estimator.fit(X, y, sample_weight=weight))

    @rule(i=st.integers(0, 2), wrong=st.sampled_from(sorted(REFUSED)))
    def refused_fit(self, i, wrong):
        X, y, weight = REFUSED[wrong](*self.arguments(i)[:2])
        warm = self.estimator.warm_start
        self.refused(lambda estimator: estimator.fit(X, y, sample_weight=weight), (ValueError, TypeError), warm)

    @rule(i=st.integers(0, 1), n_steps=st.integers(0, 3))
    def interrupted_fit(self, i, n_steps):
        X, y, weight = self.arguments(i)
        self.estimator.set_params(beta=Interrupting(n_steps))
        try:
            self.refused(
                lambda estimator: estimator.fit(X, y, sample_weight=weight),
                (KeyboardInterrupt, ValueError),
                self.estimator.warm_start,
            )
        finally:
            self.estimator.set_params(beta=1.0)

    @rule(value=st.booleans())
    def set_warm_start(self, value):
        self.both(lambda estimator: estimator.set_params(warm_start=value))

    @rule(value=st.sampled_from([1, 2]))
    def set_n_components(self, value):
        self.both(lambda estimator: estimator.set_params(n_components=value))

    @rule(value=st.booleans())
    def set_early_stopping(self, value):
        self.both(lambda estimator: estimator.set_params(early_stopping=value))

    @rule(name=st.sampled_from(["max_iter", "batch_size"]))
    def refused_parameter(self, name):
        value = getattr(self.estimator, name)
        self.estimator.set_params(**{name: -1})
        try:
            self.refused(lambda estimator: estimator.fit(*self.arguments(0)[:2]), ValueError, keeps=True)
        finally:
            self.estimator.set_params(**{name: value})

    @rule(n_epochs=st.integers(1, 2))
    def fit_stopped_by_a_callback(self, n_epochs):
        pytest.importorskip("sklearn.callback")
        X, y, weight = self.arguments(0)
        self.both(lambda estimator: estimator.set_callbacks(Stop(n_epochs)).fit(X, y, sample_weight=weight))
        self.both(lambda estimator: estimator.set_callbacks())

    @rule()
    def pickle(self):
        self.estimator = pickle.loads(pickle.dumps(self.estimator))

    @rule()
    def clone(self):
        self.estimator, self.twin = clone(self.estimator), clone(self.twin)

    @invariant()
    def estimator_equals_its_twin_or_is_unfitted(self):
        type(self).n_states += 1
        if not self.twin.__sklearn_is_fitted__():
            self.assert_unfitted()
            return
        found, expected = fitted_state(self.estimator), fitted_state(self.twin)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_equal(found[name], value, err_msg=name)

    def assert_unfitted(self):
        with pytest.raises(NotFittedError):
            check_is_fitted(self.estimator)
        with pytest.raises(NotFittedError):
            self.estimator.get_feature_names_out()
        assert not PRIVATE & vars(self.estimator).keys()
        assert not [name for name in vars(self.estimator) if name[-1] == "_" and name[0] != "_"]
        assert not hasattr(self.estimator, "module_")


class TransformerStates(States):
    """With partial_fit."""

    def new(self):
        return VAETransformer(**QUICK)

    @rule(i=st.integers(0, 2))
    def partial_fit(self, i):
        X, _, weight = self.arguments(i)
        self.both(lambda estimator: estimator.partial_fit(X, sample_weight=weight))

    @rule()
    @precondition(lambda self: self.estimator.__sklearn_is_fitted__())
    def partial_fit_of_one_row(self):
        X = DATA[0][:1, : self.estimator.n_features_in_]
        self.both(lambda estimator: estimator.partial_fit(X))

    @rule(i=st.integers(0, 2), wrong=st.sampled_from(sorted(REFUSED)))
    def refused_partial_fit(self, i, wrong):
        X, _, weight = REFUSED[wrong](*self.arguments(i)[:2])
        self.refused(lambda estimator: estimator.partial_fit(X, sample_weight=weight), ValueError, keeps=True)

    @rule(i=st.integers(0, 1), n_steps=st.integers(0, 1))
    def interrupted_partial_fit(self, i, n_steps):
        X, _, weight = self.arguments(i)
        self.estimator.set_params(beta=Interrupting(n_steps))
        try:
            self.refused(lambda e: e.partial_fit(X, sample_weight=weight), (KeyboardInterrupt, ValueError), keeps=True)
        finally:
            self.estimator.set_params(beta=1.0)


class ClassifierStates(States):
    """With labels."""

    def new(self):
        return VAEClassifier(**QUICK, n_mixture_components=2)

    @rule(i=st.integers(0, 1))
    def fit_without_classes(self, i):
        X = DATA[i]
        self.refused(lambda estimator: estimator.fit(X, np.full(len(X), -1)), ValueError, self.estimator.warm_start)


@pytest.mark.parametrize("machine", [TransformerStates, ClassifierStates])
def test_states_are_those_of_the_calls_that_succeed(machine):
    n_examples, n_steps = STEPS
    profile = settings(
        max_examples=n_examples,
        stateful_step_count=n_steps,
        derandomize=not LONG,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink] if LONG else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(machine, settings=profile)
    print(f"{machine.__name__}: {machine.n_states} states")
    assert machine.n_states > n_examples
