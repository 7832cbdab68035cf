"""Base class of all estimators: parameters, fitting, inference and persistence."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.utils import check_array, check_X_y
from sklearn.utils._param_validation import Interval, RealNotInt, StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted, validate_data

from sklearn_vae._data.devices import isolate, isolated, resolve_device
from sklearn_vae._data.image_rows import image_shape_of
from sklearn_vae._data.ppca import fit_moments, n_components_of
from sklearn_vae._data.rows import Rows
from sklearn_vae._data.sparse_rows import Matrix, as_rows
from sklearn_vae._data.table import Table, is_frame, is_table
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.inference import FittedModel, Inference
from sklearn_vae._model.persistence import rebuild, to_arrays, versions, warn_of_other_versions
from sklearn_vae._model.same import same
from sklearn_vae._model.state_checks import check_fitted_state, check_stored, check_versions, expect
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.diagnostics import (
    blend,
    check_finite,
    kl_statistics,
    latent_scale,
    latent_statistics,
)
from sklearn_vae._training.fit import FitProcedure, Seeds, Stopping, TrainingResult
from sklearn_vae._training.partial_fit import train_epoch
from sklearn_vae._training.progress import CallbackSupportMixin, Progress
from sklearn_vae._training.recipe import STEPS_BETWEEN_VALIDATIONS, Recipe, Rules
from sklearn_vae._training.resume_checks import check_training_state
from sklearn_vae._validation import (
    canonical,
    check_support,
    has_gaps,
    new_seed,
    refuse_images,
    refuse_overflow,
    refuse_sparse,
    refuse_unusable,
    unless_auto,
)
from sklearn_vae.likelihoods import LIKELIHOODS, Likelihood
from sklearn_vae.likelihoods.columns import FROM_DTYPE, from_dtype
from sklearn_vae.networks import NETWORKS, Network
from sklearn_vae.networks.mlp import check_sizes
from sklearn_vae.objectives import OBJECTIVES, Objective
from sklearn_vae.objectives.base import TermSums
from sklearn_vae.objectives.joint import Joint
from sklearn_vae.priors import PRIORS, Prior

# Types of X that are not converted by validation; uint8 values become float32 batch by batch.
DTYPES = [np.float64, np.float32, np.uint8]
# Principal coordinates are at least this number times the components.
MIN_COORDINATES_PER_COMPONENT = 8
# Fields of `Architecture` that must stay the same when training continues, with the estimator parameters that set them.
STRUCTURE = {
    "n_components": "n_components",
    "hidden_layer_sizes": "hidden_layer_sizes",
    "linear": "init",
    "likelihood": "likelihood",
    "prior": "prior",
    "generative_objective": "objective",
    "network": "network",
    "n_mixture_components": "n_mixture_components",
    "generative": "generative_weight",
}
# Names of the values of those that are True or False.
SWITCHES = {"linear": ("'random'", "'ppca'"), "generative": ("0", "above 0")}
# Private fitted attributes; public ones end in an underscore.
PRIVATE_STATE = ("_architecture", "_fitted_model", "_training_state")
# Fitted attributes set by data validation; all others describe the fitted model.
DATA_ATTRIBUTES = ("n_features_in_", "feature_names_in_", "classes_", "_table", "_image_shape")
# Estimator parameters that take a component, with the classes that their string values stand for.
FAMILIES: dict[str, dict[str, Any]] = {
    "likelihood": LIKELIHOODS,
    "prior": PRIORS,
    "network": NETWORKS,
    "objective": OBJECTIVES,
}


def check_generative(estimator: BaseVAE) -> bool:
    """Return True if the estimator has a generative model p(x), which sampling and densities need.

    Raises
    ------
    AttributeError
        If there is no generative model. `available_if` raises its own error from this one.
    """
    if hasattr(estimator, "_architecture"):
        generative = estimator._architecture.generative
    else:
        objective = estimator._component("objective")
        generative = objective.generative and getattr(estimator, "generative_weight", 1) > 0
    if not generative:
        raise AttributeError(
            "expected a generative model for samples and densities, got objective='autoencoder' or "
            "generative_weight=0; use another objective, or a positive generative_weight."
        )
    return True


class BaseVAE(CallbackSupportMixin, BaseEstimator):
    """Base class of the estimators, which define the constructors."""

    _parameter_constraints: ClassVar[dict] = {
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "likelihood": [StrOptions({FROM_DTYPE, *LIKELIHOODS}), Likelihood],
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

    # Columns of the data frames that the estimator was fitted to; None for arrays, and for frames of numbers.
    _table: Table | None = None
    # Shape of the images that the rows are, if they came from an ImageFlattener; None otherwise.
    _image_shape: tuple[int, ...] | None = None
    # Whether rows may be sparse matrices.
    _accepts_sparse = True

    def set_params(self, **params):
        """Set the parameters of the estimator and of its component instances.

        Parameters
        ----------
        **params : dict
            Parameter names and values. ``likelihood__scale`` sets the parameter `scale` of the
            instance given as `likelihood`.

        Returns
        -------
        self : object
            The estimator.

        Raises
        ------
        ValueError
            If a parameter does not exist. A component given as a string has no parameters.
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

    @available_if(check_generative)
    @isolate
    def score_samples(self, X):
        """Return the log-likelihood of each row.

        The log-likelihood is estimated with `n_draws` importance samples from the posterior.
        The expected estimate is a lower bound of log p(x), which becomes tighter as `n_draws`
        increases. All rows and calls use the same random numbers, so that the value of a row
        does not depend on the other rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Rows, with the columns that ``fit`` saw.

        Returns
        -------
        log_prob : ndarray of shape (n_samples,)
            Estimates of log p(x) in nats, for the density in the units of the training data.
            For a table of mixed columns, log p(x) is the logarithm of a density of its real
            columns times a probability of its booleans, categories and counts: values are
            comparable for the same columns and units only. Missing cells are left out.
            -inf if the value overflows the dtype of `X`, e.g. for float32 rows at a distance of
            1e19 standard deviations.
        """
        X = self._check_new_rows(X)
        self._validate_params()
        return self._fitted_model.inference.log_likelihoods(X, int(self.n_draws))

    @property
    def module_(self) -> VAE:
        """Fitted model, a torch module."""
        if "_fitted_model" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no module_ before fit.")
        return self._fitted_model.hand_out()

    def _get_fitted_attr_html(self, *args, **kwargs):
        """Show the fitted attributes in scikit-learn's HTML, where no user can change `module_`."""
        fitted_model = self.__dict__.get("_fitted_model")
        is_handed_out = fitted_model is not None and fitted_model.is_handed_out
        try:
            return super()._get_fitted_attr_html(*args, **kwargs)
        finally:
            if fitted_model is not None:
                fitted_model.is_handed_out = is_handed_out

    def __sklearn_is_fitted__(self):
        """Return whether the estimator has a fitted model."""
        return "_fitted_model" in self.__dict__

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = self._accepts_sparse
        return tags

    def __getstate__(self):
        """Return the state as parameters, arrays, numbers and versions, without torch objects and training rows."""
        state = dict(super().__getstate__(), _versions=versions())
        if "_fitted_model" in state:
            state["module_"] = to_arrays(state.pop("_fitted_model").model)
        return state

    def __setstate__(self, state):
        """Validate a saved state and rebuild the model, on the CPU if `device` is not available."""
        state = dict(state)
        saved_with = state.pop("_versions", {})
        check_versions(saved_with)
        warn_of_other_versions(type(self).__name__, saved_with)
        arrays = state.pop("module_", None)
        super().__setstate__(state)
        check_stored(type(self).__name__, self, type(self))
        if arrays is None:
            # The estimator is unfitted, or the copy of one that has no model yet, made by a callback during a fit.
            for name in PRIVATE_STATE:
                expect(name not in self.__dict__, name, "absent without module_", self.__dict__.get(name))
            return
        check_fitted_state(self)
        with isolated():
            model = rebuild(self._architecture, arrays, saved_with)
            check_training_state(self.__dict__.get("_training_state"), model, self._architecture.n_features)
            try:
                device = resolve_device(self.device)
            except ValueError:
                device = torch.device("cpu")
            self._fitted_model = FittedModel(model.to(device).eval())

    @property
    def _scales_latents(self) -> bool:
        """Whether latent variables are returned on the scale of their effect on the data."""
        return False

    def _forget(self) -> dict[str, Any]:
        """Remove all fitted attributes and return them as a dict."""
        private = (*PRIVATE_STATE, "_table", "_image_shape")
        fitted = [name for name in self.__dict__ if name in private or (name[0] != "_" and name[-1] == "_")]
        return {name: self.__dict__.pop(name) for name in fitted}

    @contextmanager
    def _fitting(self, continues: bool) -> Iterator[None]:
        """Remove the fitted attributes before a new fit; restore or remove them if fitting fails.

        If training continues from an earlier fit, a failure restores the earlier attributes.
        Otherwise a failure leaves the estimator unfitted, and callbacks never see the
        attributes of an earlier fit.
        """
        before = self._forget()
        if continues:
            self.__dict__.update(before)
        try:
            yield
        except BaseException:
            self._forget()
            if continues:
                self.__dict__.update(before)
            raise

    def _set_fitted(self, attributes: dict[str, Any]) -> None:
        """Replace the fitted attributes, except those that data validation has set."""
        data_attributes = {name: value for name, value in self._forget().items() if name in DATA_ATTRIBUTES}
        self.__dict__.update(data_attributes | attributes)

    def _check_rows(self, X, reset: bool, y="no_validation", min_rows: int = 2):
        """Validate training rows, and labels if given."""
        refuse_images(X)
        if reset:
            self._learn_table(X)
            if (image_shape := image_shape_of(X)) is not None:
                self._image_shape = image_shape
        checked = self._validate(X, y, reset, ensure_min_samples=min_rows)
        X = checked if isinstance(y, str) else checked[0]
        refuse_overflow(X)
        likelihood = self._likelihood().for_data(as_rows(X)) if reset else self._architecture.likelihood
        check_support(likelihood, X)
        return checked

    def _check_new_rows(self, X) -> Matrix:
        """Validate rows for a fitted estimator; return an array or a CSR matrix."""
        check_is_fitted(self)
        refuse_images(X)
        X = self._validate(X, "no_validation", reset=False)
        refuse_overflow(X)
        check_support(self._architecture.likelihood, X)
        return X

    def _learn_table(self, X) -> None:
        """Learn the columns of a data frame, if the likelihood takes such columns."""
        if isinstance(self.likelihood, str) and self.likelihood == FROM_DTYPE:
            takes_frame = is_table(X)
        else:
            likelihood = self._component("likelihood")
            takes_frame = likelihood.takes_frames and is_frame(X)
            if not takes_frame and is_table(X):
                # This refuses categories.
                likelihood.for_table(Table.learn(X).columns)
        if takes_frame:
            self._table = Table.learn(X)

    def _validate(self, X, y, reset: bool, **options: Any):
        """Return validated rows as a matrix, and validated labels if given."""
        options |= {"dtype": DTYPES, "order": "C", "ensure_all_finite": "allow-nan"}
        if not self._accepts_sparse:
            refuse_sparse(X, type(self).__name__)
        if self._table is None:
            checked = validate_data(self, X, y, reset=reset, accept_sparse="csr", **options)
            return canonical(checked) if isinstance(y, str) else (canonical(checked[0]), checked[1])
        # A name of a likelihood has no options.
        encoded = self._table.encode(X, getattr(self.likelihood, "handle_unknown", "warn"))
        _check_feature_names(self, X, reset=reset)
        _check_n_features(self, X, reset=reset)
        refuse_unusable(encoded, self._table.columns)
        if isinstance(y, str):
            return check_array(encoded, estimator=self, input_name="X", **options)
        return check_X_y(encoded, y, estimator=self, **options)

    def _as_frame(self, X: np.ndarray):
        """Return rows as a data frame, if the estimator was fitted to one with other columns than numbers."""
        return X if self._table is None else self._table.decode(X)

    @property
    def _latent_scale(self) -> np.ndarray | None:
        """Factors (n_components,) from the prior's units to those in which latent variables are returned, or None."""
        return getattr(self, "latent_scale_", None)

    def _encode(self, X: Matrix) -> np.ndarray:
        """Return the posterior means (n_samples, n_components) of validated rows."""
        Z = self._fitted_model.inference.means(X)
        return Z if self._latent_scale is None else Z * self._latent_scale.astype(Z.dtype)

    def _decode(self, Z: np.ndarray) -> np.ndarray:
        """Return means of p(x|z) as a matrix, in which categories and booleans are probabilities."""
        if self._latent_scale is not None:
            # A scale of 0 means that the decoder ignores the component; its value is set to 0.
            Z = Z / np.where(self._latent_scale > 0, self._latent_scale, np.inf).astype(Z.dtype)
        return self._fitted_model.inference.map(VAE.reconstruct, Z)

    def _likelihood(self) -> Likelihood:
        """Return a new likelihood for the rows that were validated."""
        columns = None if self._table is None else self._table.columns
        if isinstance(self.likelihood, str) and self.likelihood == FROM_DTYPE:
            return from_dtype(columns)
        likelihood = self._component("likelihood")
        return likelihood if columns is None else likelihood.for_table(columns)

    def _rows(self, X: Matrix, weight: np.ndarray | None) -> Rows:
        """Move the training rows to the device and select those with positive weight."""
        device, gaps = resolve_device(self.device), has_gaps(X)
        if weight is None:
            return as_rows(X, device, has_gaps=gaps)
        kept = np.flatnonzero(weight)
        index = None if len(kept) == len(weight) else torch.from_numpy(kept).to(device)
        return as_rows(X, device, torch.from_numpy(weight.astype(np.float32)).to(device), index, gaps)

    def _component(self, name: str):
        """Return a new component for a string parameter or a clone of an instance, with validated parameters."""
        value = getattr(self, name)
        component = FAMILIES[name][value]() if isinstance(value, str) else clone(value)
        if hasattr(component, "_parameter_constraints"):
            component._validate_params()
        return component

    def _new_architecture(
        self, n_rows: int, n_features: int, n_components: int, rotates: bool, rules: Rules
    ) -> Architecture:
        likelihood = self._likelihood()
        network = self._component("network")
        if self._image_shape is not None and math.prod(self._image_shape) == n_features:
            network = network.for_images(self._image_shape)
        linear = self.init == "ppca"
        n_coordinates = max(network.principal_coordinates or n_features, MIN_COORDINATES_PER_COMPONENT * n_components)
        rotates = rotates and linear and likelihood.isotropic and n_coordinates < n_features
        sizes = unless_auto(self.hidden_layer_sizes, rules.hidden_layer_sizes)
        objective = self._component("objective")
        if objective.n_neighbors:
            network = network.for_maps()
        if isinstance(objective, Joint):
            raise TypeError(
                "expected objective to be that of a transformer, e.g. ELBO(), got a Joint; use VAEClassifier, and set "
                "the weights of the joint loss by its parameters."
            )
        return Architecture(
            n_features=n_features,
            n_components=n_components,
            n_coordinates=min(n_coordinates, n_rows) if rotates else None,
            hidden_layer_sizes=check_sizes(sizes, "hidden_layer_sizes"),
            linear=linear,
            likelihood=likelihood,
            prior=self._component("prior"),
            network=network,
            objective=objective.for_data(n_features, n_components),
        )

    def _n_components(self, rows: Rows, rules: Rules) -> int:
        """Return the number of latent variables for these rows."""
        if self.n_components is None:
            return min(len(rows), rows.n_features)
        if isinstance(self.n_components, Integral):
            return int(self.n_components)
        module = self._likelihood().for_data(rows).build(rows.n_features, None)
        features = module.features(rows, fit_moments(rows)) if module.has_features else rows
        return n_components_of(features, self.n_components)

    def _same_architecture(self, rules: Rules) -> Architecture:
        """Return the fitted architecture with the current objective; raise ValueError if other parameters differ."""
        fitted = self._architecture
        is_given = isinstance(self.n_components, Integral)
        n_components = int(self.n_components) if is_given else fitted.n_components
        new = self._new_architecture(2, fitted.n_features, n_components, False, rules)
        if type(new.likelihood) is type(fitted.likelihood):
            new = replace(new, likelihood=new.likelihood.resolved_as(fitted.likelihood))
        auto = {"hidden_layer_sizes"} if isinstance(self.hidden_layer_sizes, str) else set()
        for name, parameter in STRUCTURE.items():
            requested, current = getattr(new, name), getattr(fitted, name)
            if name not in auto and not same(requested, current):
                names = SWITCHES.get(name)
                was, got = (names[value] if names else repr(value) for value in (current, requested))
                if got == was:
                    got += " with other contents"
                raise ValueError(
                    f"expected {parameter} as in the first call, {was}, got {got}; use warm_start=False or a new "
                    "estimator to change it."
                )
        return replace(fitted, objective=new.objective)

    def _procedure(
        self, rows: Rows, rules: Rules, progress: Progress, continues: bool = False, in_chunks: bool = False
    ) -> FitProcedure:
        """Return the training procedure for these rows, with every "auto" resolved.

        Parameters
        ----------
        rows : Rows
        rules : TransformerRules or ClassifierRules
            Rules for the values of "auto".
        progress : Progress
        continues : bool
            Whether training continues with the fitted architecture.
        in_chunks : bool
            Whether rows come in chunks (``partial_fit``). The learning rate then does not decay,
            and the columns are not rotated to the principal coordinates of the first chunk.
        """
        if continues:
            architecture = self._same_architecture(rules)
        else:
            n_components = self._n_components(rows, rules)
            architecture = self._new_architecture(len(rows), rows.n_features, n_components, not in_chunks, rules)
            architecture = replace(architecture, likelihood=architecture.likelihood.for_data(rows))
        recipe = self._recipe(rules, in_chunks)
        batch_size = min(recipe.batch_size, len(rows))
        max_epochs = unless_auto(self.max_iter, rules.max_epochs(batch_size))
        warmup_epochs = unless_auto(self.max_iter, rules.warmup_epochs(batch_size))
        stopping = Stopping(max_epochs, warmup_epochs, STEPS_BETWEEN_VALIDATIONS, self.n_iter_no_change, self.tol)
        return FitProcedure(architecture, recipe, stopping, Seeds.spawn(new_seed(self.random_state)), progress)

    def _recipe(self, rules: Rules, in_chunks: bool = False) -> Recipe:
        """Return the training parameters, with every "auto" replaced by its rule."""
        batch_size = unless_auto(self.batch_size, rules.batch_size)
        return Recipe(
            batch_size=batch_size,
            learning_rate=unless_auto(self.learning_rate_init, rules.learning_rate(min(batch_size, rules.n_rows))),
            warmup_steps=unless_auto(self.warmup_steps, rules.warmup_steps),
            learning_rate_decay=0.0 if in_chunks else self.learning_rate_decay,
            beta=self.beta,
            weight_decay=unless_auto(self.alpha, rules.alpha),
            averaging=self.averaging,
            input_noise=unless_auto(self.input_noise, rules.input_noise),
            target_weight=rules.target_weight,
        )

    def _fitted_attributes(
        self, rows: Rows, weight_unit: float, procedure: FitProcedure, run: TrainingResult, n_rows: int | None = None
    ) -> dict[str, Any]:
        """Return all fitted attributes.

        With `n_rows`, the number of rows of the first ``partial_fit`` call, statistics include earlier rows.
        """
        model, generative = run.model, procedure.architecture.generative
        check_finite(model.parameters(), "weights")
        earlier = {} if n_rows is None else self._training_state["statistics"]
        statistics = {}
        if generative:
            statistics["kl"] = blend(kl_statistics(model, rows), earlier.get("kl"))
        if self._scales_latents:
            statistics["latent"] = blend(latent_statistics(model, rows), earlier.get("latent"))
        attributes: dict[str, Any] = {
            "_architecture": run.architecture or procedure.architecture,
            "_fitted_model": FittedModel(model),
            "_training_state": {
                "n_rows": n_rows or len(rows),
                "weight_unit": weight_unit,
                "statistics": statistics,
                "seen": None,
                "input_noise": None,
                "trainer": None,
            },
            "n_components_": model.n_components,
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
            attributes["best_validation_score_"] = run.best_score
        variance = model.likelihood.variance
        if variance is not None:
            attributes["noise_variance_"] = variance.cpu().numpy() if len(variance) > 1 else float(variance[0])
        if generative:
            attributes["kl_per_component_"] = statistics["kl"][1]
        if self._scales_latents:
            map_scale = procedure.architecture.generative_objective.map_scale
            scale = latent_scale(model, statistics["latent"])
            attributes["latent_scale_"] = np.full_like(scale, map_scale) if map_scale else scale
        return attributes

    def _train_chunk(
        self, rows: Rows, weight_unit: float, rules: Callable[[int], Rules], state: dict[str, Any]
    ) -> dict[str, Any]:
        """Train for one epoch on a chunk of rows (``partial_fit``), and return all fitted attributes.

        `rules` takes the number of rows of the first chunk. `state` is that of training, without entries in the first
        call.
        """
        # scikit-learn validates them in the first call only.
        self._validate_params()
        first, n_rows = not state, state.get("n_rows", len(rows))
        procedure = self._procedure(rows, rules(n_rows), Progress(self), continues=not first, in_chunks=True)
        run, resumable = train_epoch(procedure, rows, None if first else self._past_run(), state)
        attributes = self._fitted_attributes(rows, weight_unit, procedure, run, None if first else n_rows)
        attributes["_training_state"] |= resumable
        return attributes

    def _past_run(self) -> TrainingResult:
        """Return the result of the training so far, with a copy of the model."""
        curves = zip(self.loss_curve_, self.reconstruction_curve_, self.kl_curve_, strict=True)
        model = copy.deepcopy(self._fitted_model.model)
        return TrainingResult(
            model, self.best_iter_, self.n_steps_, self.n_iter_, [TermSums(*parts) for parts in curves]
        )

    def _sample(self, draw: Callable[[Inference, torch.Generator], np.ndarray], random_state):
        """Return the rows that `draw` returns, in the form of X; None stands for `self.random_state`."""
        seed = new_seed(self.random_state if random_state is None else random_state)
        inference = self._fitted_model.inference
        generator = torch.Generator(inference.device).manual_seed(seed)
        with torch.inference_mode():
            return self._as_frame(draw(inference, generator))
