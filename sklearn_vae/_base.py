"""What both estimators share: parameters, fitting, inference, persistence."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from sklearn_vae._data.devices import FLOAT64, isolate, isolated, resolve_device, to_tensor
from sklearn_vae._data.rows import DenseRows, Rows
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.inference import FittedModel
from sklearn_vae._model.persistence import rebuild, to_arrays, versions, warn_of_other_versions
from sklearn_vae._model.same import same
from sklearn_vae._model.state_checks import check_fitted, check_parameters, check_versions
from sklearn_vae._model.vae import MAX_DRAWS, VAE
from sklearn_vae._training.diagnostics import (
    MAX_KL_ROWS,
    MAX_LATENT_ROWS,
    blend,
    check_finite,
    kl_statistics,
    latent_scale,
    latent_statistics,
)
from sklearn_vae._training.fit import FitProcedure, Seeds, Stopping, TrainingResult
from sklearn_vae._training.progress import CallbackSupportMixin, Progress
from sklearn_vae._training.recipe import STEPS_BETWEEN_VALIDATIONS, Recipe, Rules
from sklearn_vae._training.state_checks import check_training_state
from sklearn_vae.likelihoods import LIKELIHOODS, Likelihood
from sklearn_vae.networks import NETWORKS, Network
from sklearn_vae.networks.mlp import check_sizes
from sklearn_vae.objectives import OBJECTIVES, Objective
from sklearn_vae.priors import PRIORS, Prior

# Of rows that are taken as they are; bytes become float32 by the batch.
DTYPES = [np.float64, np.float32, np.uint8]
# Of a row's weight, as a share of the largest.
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
# Fields of the architecture that cannot change while training goes on, and the parameters that they come from.
STRUCTURE = {
    "n_components": "n_components",
    "hidden_layer_sizes": "hidden_layer_sizes",
    "linear": "init",
    "likelihood": "likelihood",
    "prior": "prior",
    "network": "network",
    "generative_objective": "objective",
    "n_mixture_components": "n_mixture_components",
    "generative": "generative_weight",
}
# Fitted state beside the public attributes, which end in an underscore.
PRIVATE_STATE = ("_architecture", "_fitted_model", "_training_state")
# Fitted attributes that describe the training data; the others describe the model.
DATA_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "classes_")
# Parameters that are components, and their names.
FAMILIES: dict[str, dict[str, Any]] = {
    "likelihood": LIKELIHOODS,
    "prior": PRIORS,
    "network": NETWORKS,
    "objective": OBJECTIVES,
}


def check_generative(estimator: BaseVAE) -> bool:
    """Return True if the objective makes a model of p(x), without which there is nothing to sample or score.

    Raises
    ------
    AttributeError
        If it does not, which `available_if` makes the cause of its own.
    """
    if hasattr(estimator, "_architecture"):
        generative = estimator._architecture.generative
    else:
        objective = estimator._component("objective", OBJECTIVES)
        generative = objective.generative and getattr(estimator, "generative_weight", 1) > 0
    if not generative:
        raise AttributeError(
            "samples and densities need a model of the rows; objective='autoencoder' and generative_weight=0 make none."
        )
    return True


class BaseVAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator):
    """What both estimators share; their constructors set the parameters."""

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "likelihood": [StrOptions(set(LIKELIHOODS)), Likelihood],
        "prior": [StrOptions(set(PRIORS)), Prior],
        "beta": [Interval(Real, 0, None, closed="left"), callable],
        "network": [StrOptions(set(NETWORKS)), Network],
        "objective": [StrOptions(set(OBJECTIVES)), Objective],
        "init": [StrOptions({"ppca", "random"})],
        "whiten": ["boolean"],
        "max_iter": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "warmup_steps": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "learning_rate_decay": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "input_noise": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
        "averaging": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "n_draws": [Interval(Integral, 1, None, closed="left")],
        "warm_start": ["boolean"],
        "device": [str, torch.device],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def set_params(self, **params):
        """Set parameters of the estimator, and of components that are instances.

        Parameters
        ----------
        **params : dict
            Values by name; ``likelihood__scale`` is the parameter `scale` of `likelihood`.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter, as those of a component that is given by its name.
        """
        for key in params:
            name, has_parameter, parameter = key.partition("__")
            value = params.get(name, getattr(self, name, None))
            if has_parameter and name in FAMILIES and not hasattr(value, "set_params"):
                classes = sorted({component.__name__ for component in FAMILIES[name].values()})
                raise ValueError(
                    f"expected {name} to be an instance with a parameter {parameter!r}, got {name}={value!r}; "
                    f"set {name} to one of {', '.join(classes)}, or to an instance of your own."
                )
        return super().set_params(**params)

    @isolate
    def transform(self, X):
        """Return the posterior means of the rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Means of q(z|x), times `latent_scale_` with whiten=False. A row's values do
            not depend on the other rows.
        """
        X = self._check_new_rows(X)
        Z = self._fitted_model.inference.means(X)
        return Z if self._latent_scale is None else Z * self._latent_scale.astype(Z.dtype)

    @isolate
    def inverse_transform(self, Z):
        """Return the decoder's mean for latent rows.

        Parameters
        ----------
        Z : array-like of shape (n_samples, n_components)
            As ``transform`` returns them.

        Returns
        -------
        X : ndarray of shape (n_samples, n_features)
            Mean of p(x|z), in the data's units.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=[np.float64, np.float32], input_name="Z", order="C")
        n_components = self._architecture.n_components
        if Z.shape[1] != n_components:
            raise ValueError(
                f"expected Z with n_components={n_components} columns, as transform returns it, got {Z.shape[1]}."
            )
        if self._latent_scale is not None:
            # A component that the decoder ignores has gain 0, and any value of it decodes alike.
            Z = Z / np.where(self._latent_scale > 0, self._latent_scale, np.inf).astype(Z.dtype)
        return self._fitted_model.inference.map(VAE.reconstruct, Z)

    @available_if(check_generative)
    @isolate
    def score_samples(self, X):
        """Return the log-likelihood of each row.

        It is estimated with `n_draws` importance samples from the posterior, and is in
        expectation a lower bound that rises with `n_draws`. The draws are the same for
        all rows and calls, so that a row's value does not depend on the other rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Values of log p(x) in nats, in the data's units; -inf where that is beyond the range of X's
            type, as for float32 rows that are 1e19 standard deviations away.
        """
        X = self._check_new_rows(X)
        self._validate_params()
        n_draws = int(self.n_draws)
        noise = torch.randn(
            (n_draws, 1, self._architecture.n_components),
            generator=torch.Generator("cpu").manual_seed(0),
            **FLOAT64,
        )
        return self._fitted_model.inference.map(partial(VAE.log_likelihood, noise=noise), X, min(n_draws, MAX_DRAWS))

    @property
    def module_(self) -> VAE:
        """The fitted model, a torch module."""
        if "_fitted_model" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no module_ before fit.")
        return self._fitted_model.hand_out()

    @module_.setter
    def module_(self, model: VAE) -> None:
        self._fitted_model = FittedModel(model)
        self._fitted_model.hand_out()

    def __sklearn_is_fitted__(self):
        """Return whether there is a model."""
        return "_fitted_model" in self.__dict__

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self):
        """Return parameters, arrays, plain numbers and versions: neither torch objects nor training rows."""
        state = dict(super().__getstate__(), _versions=versions())
        if "_fitted_model" in state:
            state["module_"] = to_arrays(state.pop("_fitted_model").model)
        return state

    def __setstate__(self, state):
        """Check what was saved, and rebuild the model on its device, or on the CPU where this machine lacks that."""
        state = dict(state)
        saved_with = state.pop("_versions", {})
        check_versions(saved_with)
        warn_of_other_versions(type(self).__name__, saved_with)
        arrays = state.pop("module_", None)
        super().__setstate__(state)
        check_parameters(type(self).__name__, self, type(self))
        if arrays is None:
            # Private state without a model belongs to none. Callbacks copy an estimator that is being fitted.
            for name in PRIVATE_STATE:
                self.__dict__.pop(name, None)
            return
        check_fitted(self)
        with isolated():
            model = rebuild(self._architecture, arrays, saved_with)
            check_training_state(self._training_state, model)
            try:
                device = resolve_device(self.device)
            except ValueError:
                device = torch.device("cpu")
            self._fitted_model = FittedModel(model.to(device).eval())

    @property
    def _n_features_out(self) -> int:
        return self._architecture.n_components

    @property
    def _latent_scale(self) -> np.ndarray | None:
        return getattr(self, "latent_scale_", None)

    def _forget(self) -> dict[str, Any]:
        """Forget all that was fitted, and return it by name."""
        fitted = [name for name in self.__dict__ if name in PRIVATE_STATE or (name[0] != "_" and name[-1] == "_")]
        return {name: self.__dict__.pop(name) for name in fitted}

    @contextmanager
    def _fitting(self, goes_on: bool) -> Iterator[None]:
        """Leave the estimator as it was if a fit that goes on fails, and unfitted if another fails.

        Nor do callbacks see attributes of an earlier fit.
        """
        before = self._forget()
        if goes_on:
            self.__dict__.update(before)
        try:
            yield
        except BaseException:
            self._forget()
            if goes_on:
                self.__dict__.update(before)
            raise

    def _set_fitted(self, attributes: dict[str, Any]) -> None:
        """Set all that was fitted, in place of what there was."""
        of_data = {name: value for name, value in self._forget().items() if name in DATA_ATTRIBUTES}
        self.__dict__.update(of_data | attributes)

    def _check_rows(self, X, reset: bool, y="no_validation"):
        """Validate training rows, and labels where there are any; later chunks may have a single row."""
        _refuse_images(X)
        checked = validate_data(self, X, y, reset=reset, dtype=DTYPES, order="C", ensure_min_samples=2 if reset else 1)
        X = checked if isinstance(y, str) else checked[0]
        if reset:
            likelihood = self._component("likelihood", LIKELIHOODS).for_data(DenseRows(to_tensor(X)))
        else:
            likelihood = self._architecture.likelihood
        likelihood.check_data(X)
        return checked

    def _check_weight(self, sample_weight, X: np.ndarray, unit: float | None = None) -> tuple[np.ndarray | None, float]:
        """Validate weights of training rows.

        Parameters
        ----------
        sample_weight : array-like of shape (n_samples,) or None
            None stands for weights of 1.
        X : ndarray of shape (n_samples, n_features)
        unit : float or None
            What weights are divided by; None for the mean of these positive weights.

        Returns
        -------
        weight : ndarray of shape (n_samples,) or None
            In the unit; None if all are 1.
        unit : float
        """
        if sample_weight is None and unit in (None, 1.0):
            return None, 1.0
        least = 2 if unit is None else 1
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        largest = float(weight.max()) or 1.0
        # Weights that would underflow in float32, in which they are trained with, are those of no row.
        weight = weight / largest
        weight[weight < SMALLEST_WEIGHT] = 0
        n_positive = np.count_nonzero(weight)
        if n_positive < least:
            raise ValueError(
                f"expected at least {least} rows with a positive sample_weight, got {n_positive} of {len(X)}; "
                f"less than {SMALLEST_WEIGHT:.0e} of the largest is taken for 0."
            )
        relative_unit = weight.sum() / n_positive if unit is None else unit / largest
        weight = weight / relative_unit
        if not weight.max() < np.finfo(np.float32).max:
            raise ValueError(
                f"expected sample_weight of the size of the first call's, where the mean was {unit:.3g}, got weights "
                f"of up to {largest:.3g}."
            )
        return (None if (weight == 1).all() else weight), largest * relative_unit

    def _check_new_rows(self, X) -> np.ndarray:
        check_is_fitted(self)
        _refuse_images(X)
        X = validate_data(self, X, reset=False, dtype=DTYPES, order="C")
        self._architecture.likelihood.check_data(X)
        return X

    def _rows(self, X: np.ndarray, weight: np.ndarray | None) -> Rows:
        """Put the training rows on the device, once; rows without weight take no part."""
        device = resolve_device(self.device)
        x = to_tensor(X).to(device)
        if weight is None:
            return DenseRows(x)
        kept = np.flatnonzero(weight)
        index = None if len(kept) == len(weight) else torch.from_numpy(kept).to(device)
        return DenseRows(x, torch.from_numpy(weight.astype(np.float32)).to(device), index)

    def _component(self, name: str, registry: dict):
        """Look a name up, or clone the specification that was given, and validate its parameters."""
        value = getattr(self, name)
        component = registry[value]() if isinstance(value, str) else clone(value)
        if hasattr(component, "_parameter_constraints"):
            component._validate_params()
        return component

    def _new_architecture(self, n_rows: int, n_features: int, rotates: bool, rules: Rules) -> Architecture:
        likelihood = self._component("likelihood", LIKELIHOODS)
        network = self._component("network", NETWORKS)
        linear = self.init == "ppca"
        n_components = self._n_components(n_features, rules)
        n_coordinates = max(network.principal_coordinates or n_features, 8 * n_components)
        rotates = rotates and linear and likelihood.isotropic and n_coordinates < n_features
        sizes = unless_auto(self.hidden_layer_sizes, rules.hidden_layer_sizes)
        return Architecture(
            n_features=n_features,
            n_components=n_components,
            n_coordinates=min(n_coordinates, n_rows) if rotates else None,
            hidden_layer_sizes=check_sizes(sizes, "hidden_layer_sizes"),
            linear=linear,
            likelihood=likelihood,
            prior=self._component("prior", PRIORS),
            network=network,
            objective=self._component("objective", OBJECTIVES),
        )

    def _n_components(self, n_features: int, rules: Rules) -> int:
        """Return the number of latent variables, an integer of python's."""
        return int(self.n_components)

    def _same_architecture(self, rules: Rules) -> Architecture:
        """Return the fitted architecture; raise ValueError if a parameter asks for another."""
        fitted = self._architecture
        new = self._new_architecture(2, fitted.n_features, False, rules)
        if type(new.likelihood) is type(fitted.likelihood):
            # Every "auto" of the likelihood stays what the first data made of it.
            taken = fitted.likelihood.get_params(deep=False)
            asked = new.likelihood.get_params(deep=False)
            new.likelihood.set_params(**{name: unless_auto(value, taken[name]) for name, value in asked.items()})
        auto = {name for name in ("n_components", "hidden_layer_sizes") if isinstance(getattr(self, name), str)}
        for name, parameter in STRUCTURE.items():
            asked, has = getattr(new, name), getattr(fitted, name)
            if name not in auto and not same(asked, has):
                got = f"{has!r}, but it now asks for {asked!r}"
                if repr(asked) == repr(has):
                    got = f"another {has!r} than it now asks for"
                raise ValueError(
                    f"expected {parameter} as in the first call, where the model got {got}; use warm_start=False or a "
                    "new estimator to change it."
                )
        return replace(fitted, objective=new.objective)

    def _procedure(
        self, rows: Rows, rules: Rules, progress: Progress, goes_on: bool = False, passes: bool = False
    ) -> FitProcedure:
        """Resolve every "auto" for these rows.

        Parameters
        ----------
        rows : Rows
        rules : TransformerRules or ClassifierRules
            The rules behind every "auto".
        progress : Progress
        goes_on : bool
            Whether the fitted architecture is used again.
        passes : bool
            Whether rows come in chunks, with no end in sight: the learning rate then stays,
            and the first chunk does not set principal coordinates for all.
        """
        if goes_on:
            architecture = self._same_architecture(rules)
        else:
            architecture = self._new_architecture(len(rows), rows.n_features, not passes, rules)
            architecture = replace(architecture, likelihood=architecture.likelihood.for_data(rows))
        recipe = self._recipe(rules, passes)
        max_epochs = unless_auto(self.max_iter, rules.max_epochs(min(recipe.batch_size, len(rows))))
        stopping = Stopping(max_epochs, STEPS_BETWEEN_VALIDATIONS, self.n_iter_no_change, self.tol)
        return FitProcedure(architecture, recipe, stopping, Seeds.spawn(_seed(self.random_state)), progress)

    def _recipe(self, rules: Rules, passes: bool = False) -> Recipe:
        """Return how to train: the parameters, with the rules in place of every "auto"."""
        batch_size = min(unless_auto(self.batch_size, rules.batch_size), rules.n_rows)
        return Recipe(
            batch_size=batch_size,
            learning_rate=unless_auto(self.learning_rate_init, rules.learning_rate(batch_size)),
            warmup_steps=unless_auto(self.warmup_steps, rules.warmup_steps),
            learning_rate_decay=0.0 if passes else self.learning_rate_decay,
            beta=self.beta,
            weight_decay=unless_auto(self.alpha, rules.alpha),
            averaging=self.averaging,
            input_noise=unless_auto(self.input_noise, rules.input_noise),
        )

    def _fitted_attributes(
        self, rows: Rows, weight_unit: float, procedure: FitProcedure, run: TrainingResult, n_rows: int | None = None
    ) -> dict[str, Any]:
        """Return what is fitted, and what is measured on it; with `n_rows`, of the first call, on earlier rows too."""
        model, generative = run.model, procedure.architecture.generative
        check_finite(model.parameters(), "weights")
        earlier = {} if n_rows is None else self._training_state["statistics"]
        statistics = {}
        if generative:
            statistics["kl"] = blend(kl_statistics(model, rows), earlier.get("kl"), MAX_KL_ROWS)
        if not self.whiten:
            statistics["latent"] = blend(latent_statistics(model, rows), earlier.get("latent"), MAX_LATENT_ROWS)
        attributes: dict[str, Any] = {
            "_architecture": procedure.architecture,
            "_fitted_model": FittedModel(model),
            "_training_state": {
                "n_rows": n_rows or len(rows),
                "weight_unit": weight_unit,
                "statistics": statistics,
                "trainer": None,
            },
            "n_iter_": run.n_epochs_run,
            "best_iter_": run.n_epochs,
            "n_steps_": run.n_steps,
            "loss_curve_": [parts.loss for parts in run.curve],
            "reconstruction_curve_": [parts.reconstruction for parts in run.curve],
            "kl_curve_": [parts.kl for parts in run.curve],
        }
        if run.scores:
            attributes["validation_scores_"] = list(run.scores)
            attributes["validation_iter_"] = list(run.epochs)
            attributes["best_validation_score_"] = max(run.scores)
        variance = model.likelihood.variance
        if variance is not None:
            attributes["noise_variance_"] = variance.cpu().numpy() if len(variance) > 1 else float(variance[0])
        if generative:
            attributes["kl_per_component_"] = statistics["kl"][1]
        if not self.whiten:
            attributes["latent_scale_"] = latent_scale(model, statistics["latent"])
        return attributes

    def _sample(self, draw: Callable[[torch.Generator], Tensor], random_state) -> np.ndarray:
        """Draw rows for the latents that `draw` makes with a generator; None stands for the estimator's own seed."""
        seed = _seed(self.random_state if random_state is None else random_state)
        inference = self._fitted_model.inference
        generator = torch.Generator(inference.device).manual_seed(seed)
        with torch.inference_mode():
            return inference.sample(draw(generator), generator)


def check_n_samples(n_samples) -> int:
    """Return the number of rows to draw; raise ValueError for anything else."""
    if isinstance(n_samples, bool) or not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"expected n_samples to be an integer of at least 1, got {n_samples!r}.")
    return int(n_samples)


def _refuse_images(X) -> None:
    """Raise ValueError if rows have more than one axis each."""
    if getattr(X, "ndim", 2) > 2:
        raise ValueError(
            f"expected rows as an array of shape (n_samples, n_features), got shape {tuple(X.shape)}; images go in as "
            "X.reshape(len(X), -1), or in a pipeline with ImageFlattener before."
        )


def _seed(random_state) -> int:
    """Draw a seed; None asks the operating system, and leaves numpy's global generator alone."""
    if random_state is None:
        return int.from_bytes(os.urandom(4), "little")
    return int(check_random_state(random_state).randint(2**32, dtype=np.uint32))


def unless_auto(value, rule):
    """Return `value`, or what the rule says if it is "auto"; numpy's small integers would overflow in arithmetic."""
    if isinstance(value, Integral):
        return int(value)
    return rule if isinstance(value, str) and value == "auto" else value
