"""What both estimators share: parameters, fitting, inference, persistence."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin, clone
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from sklearn_vae import _recipe
from sklearn_vae._devices import limit_threads, resolve_device, to_tensor
from sklearn_vae._diagnostics import check_finite, kl_per_component, latent_scale
from sklearn_vae._documentation import DocumentationLinkMixin
from sklearn_vae._engine import Rows, Settings
from sklearn_vae._fit import Fitter, Run, Stopping
from sklearn_vae._inference import Inference
from sklearn_vae._persistence import rebuild, to_arrays, versions, warn_of_other_versions
from sklearn_vae._progress import CallbackSupportMixin, Progress
from sklearn_vae._recipe import ClassifierRecipe, Recipe
from sklearn_vae._vae import MAX_DRAWS, VAE, Architecture
from sklearn_vae.likelihoods import LIKELIHOODS, Likelihood
from sklearn_vae.networks import NETWORKS, Network
from sklearn_vae.networks.mlp import check_sizes
from sklearn_vae.objectives import OBJECTIVES, Objective
from sklearn_vae.priors import PRIORS, Prior

# Of rows that are taken as they are; bytes become float32 by the batch.
DTYPES = [np.float64, np.float32, np.uint8]
# Of a row's weight, as a share of the largest.
SMALLEST_WEIGHT = float(np.finfo(np.float32).tiny)
# What cannot change while training goes on.
STRUCTURE = (
    "n_components",
    "hidden_layer_sizes",
    "linear",
    "likelihood",
    "prior",
    "network",
    "generative_objective",
    "n_mixture_components",
    "generative",
)
# Fitted attributes that depend on the components.
OPTIONAL_ATTRIBUTES = (
    "validation_scores_",
    "validation_iter_",
    "best_validation_score_",
    "noise_variance_",
    "kl_per_component_",
    "latent_scale_",
    "class_prior_",
)


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


class BaseVAE(
    DocumentationLinkMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, BaseEstimator
):
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
        with limit_threads(effective_n_jobs(self.n_jobs)):
            Z = self._inference.means(X)
        return Z if self._latent_scale is None else Z * self._latent_scale.astype(Z.dtype)

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
        return self._map(VAE.reconstruct, Z)

    @available_if(check_generative)
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
        noise = torch.randn(
            (int(self.n_draws), 1, self._architecture.n_components),
            generator=torch.Generator().manual_seed(0),
            dtype=torch.float64,
        )
        return self._map(partial(VAE.log_likelihood, noise=noise), X, min(self.n_draws, MAX_DRAWS))

    def __sklearn_is_fitted__(self):
        """Return whether there is a model."""
        return hasattr(self, "module_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def __getstate__(self):
        """Return parameters, arrays, plain numbers and versions: neither torch objects nor training rows."""
        state = dict(super().__getstate__(), _versions=versions())
        state.pop("_inference", None)
        if "module_" in state:
            state["module_"] = to_arrays(state["module_"])
        return state

    def __setstate__(self, state):
        """Rebuild the model on its device, or on the CPU where this machine lacks that."""
        state = dict(state)
        saved_with = state.pop("_versions", {})
        warn_of_other_versions(type(self).__name__, saved_with)
        super().__setstate__(state)
        if "module_" in state:
            model = rebuild(self._architecture, state["module_"], saved_with)
            try:
                device = resolve_device(self.device)
            except ValueError:
                device = torch.device("cpu")
            self.module_ = model.to(device).eval()
            self._inference = Inference(self.module_)

    @property
    def _n_features_out(self) -> int:
        return self._architecture.n_components

    @property
    def _latent_scale(self) -> np.ndarray | None:
        return getattr(self, "latent_scale_", None)

    def _previous_model(self) -> VAE | None:
        """Return the model that `fit` goes on from, or None after forgetting what was fitted.

        A fit that fails must not leave an earlier model behind new data's names and widths, nor
        may callbacks see the attributes of an earlier fit.
        """
        if self.warm_start and hasattr(self, "module_"):
            return self.module_
        for name in ("module_", *OPTIONAL_ATTRIBUTES):
            self.__dict__.pop(name, None)
        return None

    def _check_rows(self, X, reset: bool, y="no_validation"):
        """Validate training rows, and labels where there are any."""
        had = None if reset else self._architecture.likelihood
        _refuse_images(X)
        checked = validate_data(self, X, y, reset=reset, dtype=DTYPES, order="C", ensure_min_samples=2)
        X = checked if isinstance(y, str) else checked[0]
        (self._component("likelihood", LIKELIHOODS).for_data(to_tensor(X)) if had is None else had).check_data(X)
        return checked

    def _check_weight(self, sample_weight, X: np.ndarray) -> np.ndarray | None:
        """Validate weights of training rows; None stands for equal weights."""
        if sample_weight is None:
            return None
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        # Weights that would underflow in float32, in which they are trained with, are those of no row.
        weight = weight / (weight.max() or 1.0)
        weight[weight < SMALLEST_WEIGHT] = 0
        n_positive = np.count_nonzero(weight)
        if n_positive < 2:
            raise ValueError(
                f"expected at least two rows with a positive sample_weight, got {n_positive} of {len(X)}; "
                f"less than {SMALLEST_WEIGHT:.0e} of the largest is taken for 0."
            )
        return None if (weight == weight[0]).all() else weight

    def _check_new_rows(self, X) -> np.ndarray:
        check_is_fitted(self)
        _refuse_images(X)
        X = validate_data(self, X, reset=False, dtype=DTYPES, order="C")
        self._architecture.likelihood.check_data(X)
        return X

    def _rows(self, X: np.ndarray, weight: np.ndarray | None) -> Rows:
        """Put the training rows on the device, once; weights get mean 1."""
        device = resolve_device(self.device)
        x = to_tensor(X).to(device)
        if weight is None:
            return Rows(x)
        kept = np.flatnonzero(weight)
        weight = weight * (len(kept) / weight.sum())
        index = None if len(kept) == len(weight) else torch.from_numpy(kept).to(device)
        return Rows(x, torch.from_numpy(weight.astype(np.float32)).to(device), index)

    def _component(self, name: str, registry: dict):
        """Look a name up, or clone the specification that was given, and validate its parameters."""
        value = getattr(self, name)
        component = registry[value]() if isinstance(value, str) else clone(value)
        if hasattr(component, "_parameter_constraints"):
            component._validate_params()
        return component

    def _new_architecture(
        self, n_rows: int, n_features: int, rotates: bool, recipe: Recipe | ClassifierRecipe
    ) -> Architecture:
        likelihood = self._component("likelihood", LIKELIHOODS)
        network = self._component("network", NETWORKS)
        linear = self.init == "ppca"
        # Also a number of numpy's, or True: torch and the comparison of architectures take python's.
        n_components = int(unless_auto(self.n_components, recipe.n_components(n_features)))
        n_coordinates = max(network.principal_coordinates or n_features, 8 * n_components)
        rotates = rotates and linear and likelihood.isotropic and n_coordinates < n_features
        sizes = unless_auto(self.hidden_layer_sizes, recipe.hidden_layer_sizes)
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

    def _same_architecture(self, recipe: Recipe | ClassifierRecipe) -> Architecture:
        """Return the fitted architecture; raise ValueError if a parameter asks for another."""
        fitted = self._architecture
        new = self._new_architecture(2, fitted.n_features, False, recipe)
        if type(new.likelihood) is type(fitted.likelihood):
            # What it takes from the data stays as it was taken.
            taken = {k: getattr(fitted.likelihood, k) for k in fitted.likelihood.from_data}
            new.likelihood.set_params(**{k: unless_auto(getattr(new.likelihood, k), v) for k, v in taken.items()})
        auto = {name for name in ("n_components", "hidden_layer_sizes") if isinstance(getattr(self, name), str)}
        for name in STRUCTURE:
            asked, has = getattr(new, name), getattr(fitted, name)
            if repr(asked) != repr(has) and name not in auto:
                parameter = {
                    "linear": "init",
                    "generative_objective": "objective",
                    "generative": "generative_weight",
                }.get(name, name)
                raise ValueError(
                    f"expected {parameter} as in the first call, where the model got {has!r}, but it now asks for "
                    f"{asked!r}; use warm_start=False or a new estimator to change it."
                )
        return replace(fitted, objective=new.objective)

    def _fitter(
        self,
        rows: Rows,
        recipe: Recipe | ClassifierRecipe,
        progress: Progress,
        goes_on: bool = False,
        passes: bool = False,
    ) -> Fitter:
        """Resolve every "auto" for these rows.

        Parameters
        ----------
        rows : Rows
        recipe : Recipe or ClassifierRecipe
            The rules behind every "auto".
        progress : Progress
        goes_on : bool
            Whether the fitted architecture is used again.
        passes : bool
            Whether rows come in chunks, with no end in sight: the learning rate then stays,
            and the first chunk does not set principal coordinates for all.
        """
        n_rows, n_features = len(rows), rows.x.shape[1]
        if goes_on:
            architecture = self._same_architecture(recipe)
        else:
            architecture = self._new_architecture(n_rows, n_features, not passes, recipe)
            architecture = replace(architecture, likelihood=architecture.likelihood.for_data(rows.x))
        batch_size = min(unless_auto(self.batch_size, recipe.batch_size), n_rows)
        max_epochs = unless_auto(self.max_iter, recipe.max_epochs(batch_size))
        n_steps = max_epochs * rows.n_batches(batch_size)
        settings = Settings(
            batch_size=batch_size,
            learning_rate=_recipe.Schedule(
                peak=unless_auto(self.learning_rate_init, recipe.learning_rate(batch_size)),
                warmup_steps=unless_auto(self.warmup_steps, recipe.warmup_steps),
                n_steps=n_steps,
                decay=0.0 if passes else self.learning_rate_decay,
            ),
            beta=partial(_beta_at, self.beta),
            final_beta=_beta_at(self.beta, n_steps),
            weight_decay=unless_auto(self.alpha, recipe.alpha),
            averaging=self.averaging,
            input_noise=unless_auto(self.input_noise, recipe.input_noise),
        )
        stopping = Stopping(max_epochs, _recipe.STEPS_BETWEEN_VALIDATIONS, self.n_iter_no_change, self.tol)
        return Fitter(architecture, settings, stopping, _seed(self.random_state), progress)

    def _fitted_attributes(self, rows: Rows, fitter: Fitter, run: Run) -> dict[str, Any]:
        """Return what is fitted, and what is measured on it."""
        model = run.model
        check_finite(model.parameters(), "weights")
        attributes: dict[str, Any] = {
            "_architecture": fitter.architecture,
            "_inference": Inference(model),
            "module_": model,
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
        if fitter.architecture.generative:
            attributes["kl_per_component_"] = kl_per_component(model, rows)
        if not self.whiten:
            attributes["latent_scale_"] = latent_scale(model, rows)
        return attributes

    def _set_fitted(self, attributes: dict[str, Any]) -> None:
        for name in OPTIONAL_ATTRIBUTES:
            self.__dict__.pop(name, None)
        self.__dict__.update(attributes)

    def _generate(self, draw: Callable[[torch.Generator], Tensor], random_state) -> np.ndarray:
        """Return what `draw` makes with a generator on the model's device; None stands for the estimator's own seed."""
        seed = _seed(self.random_state if random_state is None else random_state)
        generator = torch.Generator(self._inference.device).manual_seed(seed)
        with limit_threads(effective_n_jobs(self.n_jobs)), torch.inference_mode():
            return draw(generator).cpu().numpy()

    def _map(self, function: Callable[[VAE, Tensor], Tensor], X: np.ndarray, n_draws: int = 1) -> np.ndarray:
        """Apply `function` of the model and chunks of rows in X's own precision."""
        with limit_threads(effective_n_jobs(self.n_jobs)):
            return self._inference.map(function, X, n_draws)


def _beta_at(beta: Any, step: int) -> float:
    """Return `beta`, or what a user's function gives for this step, checked."""
    value: Any = beta(step) if callable(beta) else beta
    if not (isinstance(value, Real) and 0 <= float(value) < np.inf):
        raise ValueError(f"expected beta to be a finite number of at least 0, got {value!r} at step {step}.")
    return float(value)


def check_n_samples(n_samples) -> None:
    """Raise ValueError unless this is a number of rows to draw."""
    if not isinstance(n_samples, Integral) or n_samples < 1:
        raise ValueError(f"expected n_samples to be an integer of at least 1, got {n_samples!r}.")


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
    """Return `value`, or what the rule says if it is "auto"."""
    return rule if isinstance(value, str) and value == "auto" else value
