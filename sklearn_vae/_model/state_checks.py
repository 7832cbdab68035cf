"""Checks of a loaded state: every field is compared with the architecture before it is used."""

from __future__ import annotations

import inspect
import math
import reprlib
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.utils._param_validation import validate_parameter_constraints

from sklearn_vae._data.column_kinds import NUMBERS
from sklearn_vae._data.table import Table
from sklearn_vae._data.table_column import Column
from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.class_mixture import ClassMixture
from sklearn_vae._model.vae import VAE
from sklearn_vae.likelihoods import LIKELIHOODS, Likelihood
from sklearn_vae.networks import NETWORKS, Network
from sklearn_vae.objectives import Objective
from sklearn_vae.objectives.joint import Joint
from sklearn_vae.priors import PRIORS, Prior

# Attributes that are lists of equal length, with one number per epoch.
CURVES = ("loss_curve_", "reconstruction_curve_", "kl_curve_")
# Parameters of an estimator that its methods use after `fit`.
PARAMETERS_OF_FITTED = ("whiten", "n_draws", "device", "n_jobs")
# Prefixes of buffers that may hold infinity: masks in a user's networks, and logarithms of 0.
MAY_BE_INFINITE = ("encoder.", "decoder.", "class_mixture.log_")


def check_versions(versions: Any) -> None:
    """Raise ValueError unless `versions` maps package names to version strings."""
    is_valid = isinstance(versions, dict) and all(isinstance(text, str) for pair in versions.items() for text in pair)
    expect(is_valid, "_versions", "a version for each package, as strings", versions)


def check_stored(name: str, component: Any, kind: type) -> None:
    """Check that an object is of `kind`, that it has all its parameters, and that no attribute hides a method.

    Raises
    ------
    ValueError
        If a check fails; the message names the object or the parameter.
    """
    expect(isinstance(component, kind), name, f"of type {kind.__name__}", component)
    missing = [parameter for parameter in component._get_param_names() if not hasattr(component, parameter)]
    expect(not missing, name, f"stored with its parameters {', '.join(missing)}", sorted(vars(component)))
    replaced = [key for key in vars(component) if inspect.isroutine(getattr(kind, key, None))]
    expect(not replaced, name, f"stored without its methods {', '.join(replaced)}", sorted(vars(component)))


def check_component(name: str, component: Any, kind: type) -> None:
    """Raise ValueError unless a component is of `kind` and has valid parameters."""
    check_stored(name, component, kind)
    if hasattr(component, "_parameter_constraints"):
        component._validate_params()


def check_fitted_state(estimator: Any) -> None:
    """Raise ValueError unless all fitted attributes, except the weights, agree with the architecture.

    Parameters
    ----------
    estimator : BaseVAE
        A fitted estimator whose state has been loaded.
    """
    # `fit` validates the other parameters. A user may have set them to invalid values since.
    known = estimator._parameter_constraints
    constraints = {name: known[name] for name in PARAMETERS_OF_FITTED if name in known}
    validate_parameter_constraints(constraints, estimator.get_params(deep=False), type(estimator).__name__)
    state, architecture = vars(estimator), vars(estimator).get("_architecture")
    check_architecture(architecture, is_classifier(estimator))
    n, d, k = architecture.n_features, architecture.n_components, architecture.n_classes
    width = n
    if "_image_shape" in state:
        shape = state["_image_shape"]
        is_valid = isinstance(shape, tuple) and len(shape) in (2, 3) and all(is_count(size, 1) for size in shape)
        expect(is_valid, "_image_shape", "a tuple of two or three integers of at least 1", shape)
    if "_table" in state:
        check_table(state["_table"], n)
        width = len(state["_table"].columns)
    checks: dict[str, tuple[bool, str, Callable[[Any], bool]]] = {
        "n_features_in_": (True, f"{width}, as in the architecture", lambda v: is_count(v) and v == width),
        "n_components_": (True, f"{d}, as in the architecture", lambda v: is_count(v) and v == d),
        **dict.fromkeys(("n_iter_", "best_iter_", "n_steps_"), (True, "an integer of at least 0", is_count)),
        **dict.fromkeys(CURVES, (True, "a list of numbers", is_curve)),
        **dict.fromkeys(("validation_scores_", "validation_iter_"), (False, "a list of numbers", is_curve)),
        "best_validation_score_": (False, "a number", is_number),
        "noise_variance_": (
            False,
            f"a number or {n} of them, at least 0",
            lambda v: (is_number(v) and v >= 0) or is_sizes(v, n),
        ),
        "kl_per_component_": (False, f"{d} finite numbers", lambda v: is_array(v, d)),
        "latent_scale_": (False, f"{d} finite numbers of at least 0", lambda v: is_sizes(v, d)),
        "missing_share_": (
            "n_samples_seen_" in state,
            f"{width} shares",
            lambda v: is_sizes(v, width) and v.max() <= 1,
        ),
        "n_samples_seen_": ("missing_share_" in state, "an integer of at least 1", lambda v: is_count(v, 1)),
        "feature_names_in_": (False, f"{width} strings", lambda v: is_strings(v, width)),
        "classes_": (k > 0, f"{k} different labels", lambda v: is_labels(v, k)),
        "class_prior_": (False, f"{k} finite numbers of at least 0", lambda v: is_sizes(v, k)),
    }
    for name, (is_required, expected, check) in checks.items():
        if is_required or name in state:
            expect(check(state.get(name)), name, expected, state.get(name))
    lengths = [len(state[name]) for name in CURVES]
    expect(len(set(lengths)) == 1, ", ".join(CURVES), "of the same length", lengths)


def check_table(table: Any, n_features: int) -> None:
    """Raise ValueError unless `table` describes a data frame that is encoded as `n_features` columns."""
    expect(isinstance(table, Table), "_table", "a Table", table)
    names = {field.name for field in fields(Table)}
    expect(vars(table).keys() == names, "_table", f"stored with exactly its fields {sorted(names)}", vars(table))
    expect(table.library in ("pandas", "polars"), "_table.library", "'pandas' or 'polars'", table.library)
    columns = table.columns
    is_valid = isinstance(columns, tuple) and all(isinstance(column, Column) for column in columns)
    expect(is_valid, "_table.columns", "a tuple of Columns", columns)
    names, start = {field.name for field in fields(Column)}, 0
    for i, column in enumerate(columns):
        name = f"_table.columns[{i}]"
        expect(vars(column).keys() == names, name, f"stored with exactly its fields {sorted(names)}", vars(column))
        expect(column.kind in (*NUMBERS, "category"), f"{name}.kind", "a kind of column", column.kind)
        expect(is_categories(column.categories), f"{name}.categories", "a list of different values", column.categories)
        width = len(column.categories) if column.kind == "category" else 1
        place = (column.start, column.stop)
        expect(place == (start, start + width), name, f"at {start} to {start + width}", place)
        is_valid = isinstance(column.limits, tuple) and len(column.limits) == 2 and all(map(is_integer, column.limits))
        expect(is_valid, f"{name}.limits", "two integers", column.limits)
        expect(isinstance(column.by_quantiles, bool), f"{name}.by_quantiles", "True or False", column.by_quantiles)
        expect(isinstance(column.dtype, dict), f"{name}.dtype", "a description of a dtype", column.dtype)
        start += width
    expect(start == n_features, "_table", f"a table of {n_features} columns in the matrix", start)


def check_architecture(architecture: Any, classifies: bool) -> None:
    """Raise ValueError unless `architecture` describes a model, with classes if and only if `classifies`."""
    expect(isinstance(architecture, Architecture), "_architecture", "an Architecture", architecture)
    state = vars(architecture)
    missing = sorted({field.name for field in fields(Architecture)} ^ state.keys())
    expect(not missing, "_architecture", f"stored with exactly its fields, but these differ: {missing}", sorted(state))
    sizes = architecture.hidden_layer_sizes
    coordinates = architecture.n_coordinates
    least = 2 if classifies else 0
    counts = {
        "n_features": is_count(architecture.n_features, 1),
        "n_components": is_count(architecture.n_components, 1),
        "n_coordinates": coordinates is None or is_count(coordinates, 1),
        "hidden_layer_sizes": isinstance(sizes, tuple) and all(is_count(size, 1) for size in sizes),
        "linear": isinstance(architecture.linear, bool),
        "n_classes": is_count(architecture.n_classes, least) and (classifies or not architecture.n_classes),
        "n_mixture_components": is_count(architecture.n_mixture_components, int(classifies))
        and (classifies or not architecture.n_mixture_components),
    }
    for name, is_valid in counts.items():
        expect(is_valid, f"_architecture.{name}", "valid for a model", state[name])
    kinds = {"likelihood": Likelihood, "prior": Prior, "network": Network, "objective": Objective}
    for name, kind in kinds.items():
        check_component(f"_architecture.{name}", state[name], kind)
    is_joint = isinstance(architecture.objective, Joint)
    expect(is_joint == classifies, "_architecture.objective", "a Joint for classifiers only", architecture.objective)
    if is_joint:
        check_component("_architecture.objective.objective", architecture.generative_objective, Objective)


def is_built_in(architecture: Architecture) -> bool:
    """Return whether the likelihood, prior and network are of classes that this package names."""
    named = (LIKELIHOODS, architecture.likelihood), (PRIORS, architecture.prior), (NETWORKS, architecture.network)
    return all(type(component) in family.values() for family, component in named)


def check_module_state(model: VAE, arrays: Any) -> None:
    """Raise ValueError unless the arrays have the names, shapes and dtypes of the model's state, and valid values."""
    expect(isinstance(arrays, dict), "module_", "a dictionary of arrays", arrays)
    tensors, parameters = model.state_dict(), dict(model.named_parameters(remove_duplicate=False))
    differing = sorted(map(str, tensors.keys() ^ arrays.keys()))
    expect(not differing, "module_", f"a dictionary of {list(tensors)}, which differs in {differing}", list(arrays))
    for name, tensor in tensors.items():
        check_stored_array(
            f"module_[{name!r}]", arrays[name], tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        )
        may_be_infinite = name not in parameters and name.startswith(MAY_BE_INFINITE)
        values = np.isnan(arrays[name]) if may_be_infinite else ~np.isfinite(arrays[name])
        expect(not values.any(), f"module_[{name!r}]", "finite", arrays[name])
    if model.class_mixture is not None:
        check_mixture(arrays, model.class_mixture)


def check_mixture(arrays: dict[str, np.ndarray], mixture: ClassMixture) -> None:
    """Raise ValueError unless p(y) and p(z|y) are probability distributions."""
    for name in ("log_class", "log_weight"):
        total = np.exp(arrays[f"class_mixture.{name}"]).sum(-1)
        expect(bool((np.abs(total - 1) < 1e-3).all()), f"module_['class_mixture.{name}']", "of sum 1", total)
    d = mixture.n_components
    diagonal = arrays["class_mixture.whitening"].reshape(-1, d, d).diagonal(axis1=1, axis2=2)
    expect(bool((diagonal > 0).all()), "module_['class_mixture.whitening']", "above 0 on its diagonals", diagonal)


def check_floats(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless `value` is a finite float32 array of this shape."""
    check_stored_array(name, value, shape, "float32")
    expect(bool(np.isfinite(value).all()), name, "finite", value)


def check_stored_array(name: str, value: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Raise ValueError unless `value` is an array of this shape and dtype."""
    is_valid = type(value) in (np.ndarray, np.memmap) and value.shape == shape and str(value.dtype) == dtype
    expect(is_valid, name, f"an array of shape {shape} and type {dtype}", value)


def expect(is_valid: bool, name: str, expected: str, value: Any) -> None:
    """Raise ValueError if the value that a file stores as `name` is not valid."""
    if not is_valid:
        is_array = isinstance(value, np.ndarray)
        got = f"an array of shape {value.shape} and type {value.dtype}" if is_array else reprlib.repr(value)
        raise ValueError(f"expected {name} to be {expected}, got {got}; the file is damaged or was changed.")


def is_count(value: Any, least: int = 0) -> bool:
    """Return whether a value is an integer of at least `least`."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def is_integer(value: Any) -> bool:
    """Return whether a value is an integer."""
    return not isinstance(value, bool) and isinstance(value, Integral)


def is_categories(value: Any) -> bool:
    """Return whether a value is a list of distinct strings, numbers or booleans."""
    is_valid = isinstance(value, list) and all(isinstance(one, str | bool | int | float) for one in value)
    return is_valid and len(set(value)) == len(value)


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, Real) and math.isfinite(value)


def is_curve(value: Any) -> bool:
    """Return whether a value is a list of numbers."""
    return isinstance(value, list) and all(isinstance(number, Real) for number in value)


def is_array(value: Any, length: int) -> bool:
    """Return whether a value is a vector of `length` finite floating-point numbers."""
    return (
        isinstance(value, np.ndarray)
        and value.shape == (length,)
        and value.dtype.kind == "f"
        and bool(np.isfinite(value).all())
    )


def is_sizes(value: Any, length: int) -> bool:
    """Return whether a value is a vector of `length` finite floating-point numbers of at least 0."""
    return is_array(value, length) and bool((value >= 0).all())


def is_strings(value: Any, length: int) -> bool:
    """Return whether a value is a vector of `length` strings."""
    return isinstance(value, np.ndarray) and value.shape == (length,) and all(isinstance(text, str) for text in value)


def is_labels(value: Any, length: int) -> bool:
    """Return whether a value is a vector of `length` distinct labels."""
    return (
        isinstance(value, np.ndarray)
        and value.shape == (length,)
        and all(isinstance(label, str | Real | np.bool_) for label in value)
        and len(set(value.tolist())) == length
    )
