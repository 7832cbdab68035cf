"""What of an estimator is saved: arrays for the model, and versions, with what is said where others load it."""

from __future__ import annotations

import inspect
import math
import reprlib
import warnings
from collections.abc import Callable
from dataclasses import fields
from numbers import Integral, Real
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import is_classifier
from sklearn.exceptions import InconsistentVersionWarning

import sklearn_vae
from sklearn_vae._vae import VAE, Architecture
from sklearn_vae._weights import n_values
from sklearn_vae.likelihoods import LIKELIHOODS, Likelihood
from sklearn_vae.networks import NETWORKS, Network
from sklearn_vae.objectives import Joint, Objective
from sklearn_vae.priors import PRIORS, Prior
from sklearn_vae.priors.class_mixture import ClassMixture

# How much of a version has to be the same. The state is this package's own; scikit-learn and torch
# change what it means at minor releases, if at all.
COMPARED_PARTS = {"sklearn-vae": None, "scikit-learn": 2, "torch": 2}
# Lists of equal length, one number per epoch.
CURVES = ("loss_curve_", "reconstruction_curve_", "kl_curve_")
# Names of buffers that may hold infinity: masks of a user's networks, and logarithms of 0.
MAY_BE_INFINITE = ("encoder.", "decoder.", "class_mixture.log_")


class OtherVersionsWarning(InconsistentVersionWarning):
    """scikit-learn's warning of an estimator that other versions saved, with versions of several packages."""

    def __init__(self, name: str, saved: dict[str, str], here: dict[str, str], differing: list[str]):
        super().__init__(
            estimator_name=name,
            current_sklearn_version=here["scikit-learn"],
            original_sklearn_version=saved.get("scikit-learn", "unknown"),
        )
        self.pairs = ", ".join(
            f"{package} {saved.get(package, 'of an unknown version')} (here {here[package]})" for package in differing
        )

    def __str__(self) -> str:
        return (
            f"{self.estimator_name} was saved with {self.pairs}: results may differ, or methods fail. "
            "Load it with the versions it was saved with, or fit it again."
        )


def versions() -> dict[str, str]:
    """Return the versions of the packages that a state depends on, by the names pip knows them by.

    Local parts are left out: torch 2.6.0+cpu and 2.6.0+cu126 read each other's states.
    """
    found = {"sklearn-vae": sklearn_vae.__version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__}
    return {name: str(version).partition("+")[0] for name, version in found.items()}


def warn_of_other_versions(name: str, saved_with: dict[str, str]) -> None:
    """Warn if the estimator `name` was saved with versions unlike those here; none are known of an old state."""
    here = versions()
    differing = [
        package
        for package, n_parts in COMPARED_PARTS.items()
        if saved_with.get(package, "").split(".")[:n_parts] != here[package].split(".")[:n_parts]
    ]
    if differing:
        warnings.warn(OtherVersionsWarning(name, saved_with, here, differing), stacklevel=3)


def to_arrays(model: VAE) -> dict[str, np.ndarray]:
    """Return the model's weights and buffers as arrays by name."""
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def rebuild(architecture: Architecture, arrays: dict[str, np.ndarray], saved_with: dict[str, str]) -> VAE:
    """Build the architecture's model, on the CPU, with the weights that `to_arrays` returned.

    Sizes are compared with the weights before memory is taken for them, unless a network of the user's has
    to be built to know its sizes.

    Raises
    ------
    ValueError
        If what is built cannot take the weights, as when they are damaged, or when other versions or a changed
        network of the user's build it.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    try:
        if has_names(architecture):
            with torch.device("meta"):
                check_weights(architecture.build(generator), arrays)
        model = architecture.build(generator)
        check_weights(model, arrays)
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    except Exception as error:
        packages = ", ".join(map(" ".join, saved_with.items())) or "they were not stored"
        raise ValueError(
            f"expected to build the model that was saved, but that failed: {error} Load it with the code and the "
            f"versions that it was saved with ({packages})."
        ) from error
    return model


def check_versions(versions: Any) -> None:
    """Raise ValueError unless these are versions by package."""
    is_valid = isinstance(versions, dict) and all(isinstance(text, str) for pair in versions.items() for text in pair)
    expect(is_valid, "_versions", "a version for each package, as strings", versions)


def check_parameters(name: str, component: Any, kind: type) -> None:
    """Raise an error unless an object of `kind` has its parameters, valid ones, and no attribute in place of a method.

    Raises
    ------
    ValueError
        If it has not, which names the object or the parameter.
    """
    expect(isinstance(component, kind), name, f"of type {kind.__name__}", component)
    missing = [parameter for parameter in component._get_param_names() if not hasattr(component, parameter)]
    expect(not missing, name, f"stored with its parameters {', '.join(missing)}", sorted(vars(component)))
    replaced = [key for key in vars(component) if inspect.isroutine(getattr(kind, key, None))]
    expect(not replaced, name, f"stored without its methods {', '.join(replaced)}", sorted(vars(component)))
    if hasattr(component, "_parameter_constraints"):
        component._validate_params()


def check_fitted(estimator: Any) -> None:
    """Raise ValueError unless the fitted attributes, apart from the weights, are those of one architecture.

    Parameters
    ----------
    estimator : BaseVAE
        Fitted, with a state that has been loaded.
    """
    estimator._validate_params()
    state, architecture = vars(estimator), vars(estimator).get("_architecture")
    check_architecture(architecture, is_classifier(estimator))
    n, d, k = architecture.n_features, architecture.n_components, architecture.n_classes
    checks: dict[str, tuple[bool, str, Callable[[Any], bool]]] = {
        "n_features_in_": (True, f"{n}, as the model has", lambda v: is_count(v) and v == n),
        **dict.fromkeys(("n_iter_", "best_iter_", "n_steps_"), (True, "an integer of at least 0", is_count)),
        **dict.fromkeys(CURVES, (True, "a list of numbers", is_curve)),
        **dict.fromkeys(("validation_scores_", "validation_iter_"), (False, "a list of numbers", is_curve)),
        "best_validation_score_": (False, "a number", is_number),
        "noise_variance_": (False, f"a number or {n} of them, at least 0", lambda v: is_number(v) or is_sizes(v, n)),
        "kl_per_component_": (False, f"{d} finite numbers", lambda v: is_array(v, d)),
        "latent_scale_": (False, f"{d} finite numbers of at least 0", lambda v: is_sizes(v, d)),
        "feature_names_in_": (False, f"{n} strings", lambda v: is_strings(v, n)),
        "classes_": (k > 0, f"{k} different labels", lambda v: is_labels(v, k)),
        "class_prior_": (False, f"{k} finite numbers of at least 0", lambda v: is_sizes(v, k)),
    }
    for name, (is_required, expected, check) in checks.items():
        if is_required or name in state:
            expect(check(state.get(name)), name, expected, state.get(name))
    lengths = [len(state[name]) for name in CURVES]
    expect(len(set(lengths)) == 1, ", ".join(CURVES), "of the same length", lengths)


def check_architecture(architecture: Any, classifies: bool) -> None:
    """Raise ValueError unless this describes a model, with classes or without."""
    expect(isinstance(architecture, Architecture), "_architecture", "an Architecture", architecture)
    state = vars(architecture)
    missing = sorted({field.name for field in fields(Architecture)} ^ state.keys())
    expect(not missing, "_architecture", f"to be stored with its fields and no others, unlike {missing}", sorted(state))
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
        expect(is_valid, f"_architecture.{name}", "a size that a model may have", state[name])
    kinds = {"likelihood": Likelihood, "prior": Prior, "network": Network, "objective": Objective}
    for name, kind in kinds.items():
        check_parameters(f"_architecture.{name}", state[name], kind)
    is_joint = isinstance(architecture.objective, Joint)
    expect(is_joint == classifies, "_architecture.objective", "a Joint for a classifier alone", architecture.objective)
    if is_joint:
        check_parameters("_architecture.objective.objective", architecture.generative_objective, Objective)


def has_names(architecture: Architecture) -> bool:
    """Return True if all components that are built are this package's, apart from a user's modules."""
    named = (LIKELIHOODS, architecture.likelihood), (PRIORS, architecture.prior), (NETWORKS, architecture.network)
    return all(type(component) in family.values() for family, component in named)


def check_weights(model: VAE, arrays: Any) -> None:
    """Raise ValueError unless arrays are by name, shape and type those of the model, with values that it may have."""
    expect(isinstance(arrays, dict), "module_", "a dictionary of arrays", arrays)
    tensors, parameters = model.state_dict(), dict(model.named_parameters(remove_duplicate=False))
    differing = sorted(map(str, tensors.keys() ^ arrays.keys()))
    expect(not differing, "module_", f"the weights {list(tensors)}, unlike {differing}", list(arrays))
    for name, tensor in tensors.items():
        check_array(f"module_[{name!r}]", arrays[name], tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))
        may_be_infinite = name not in parameters and name.startswith(MAY_BE_INFINITE)
        values = np.isnan(arrays[name]) if may_be_infinite else ~np.isfinite(arrays[name])
        expect(not values.any(), f"module_[{name!r}]", "finite", arrays[name])
    if model.class_mixture is not None:
        check_mixture(arrays, model.class_mixture)


def check_mixture(arrays: dict[str, np.ndarray], mixture: ClassMixture) -> None:
    """Raise ValueError unless p(y) and p(z|y) are distributions."""
    for name in ("log_class", "log_weight"):
        total = np.exp(arrays[f"class_mixture.{name}"]).sum(-1)
        expect(bool((np.abs(total - 1) < 1e-3).all()), f"module_['class_mixture.{name}']", "of sum 1", total)
    d = mixture.n_components
    diagonal = arrays["class_mixture.whitening"].reshape(-1, d, d).diagonal(axis1=1, axis2=2)
    expect(bool((diagonal > 0).all()), "module_['class_mixture.whitening']", "above 0 on its diagonals", diagonal)


def check_training_state(state: Any, model: VAE) -> None:
    """Raise ValueError unless training of the model can go on from this, as the estimators keep it."""
    keys = {"n_rows", "weight_unit", "statistics", "trainer"}
    expect(isinstance(state, dict) and state.keys() == keys, "_training_state", f"a dictionary of {keys}", state)
    expect(is_count(state["n_rows"], 1), "_training_state['n_rows']", "an integer of at least 1", state["n_rows"])
    unit = state["weight_unit"]
    expect(is_number(unit) and unit > 0, "_training_state['weight_unit']", "a number above 0", unit)
    shapes, d = {"kl": (model.n_components,), "latent": (3, model.n_components)}, state["statistics"]
    is_valid = isinstance(d, dict) and d.keys() <= shapes.keys()
    expect(is_valid, "_training_state['statistics']", f"a dictionary of {list(shapes)}", d)
    for name, value in d.items():
        label = f"_training_state['statistics'][{name!r}]"
        expect(isinstance(value, tuple) and len(value) == 2 and is_number(value[0]), label, "a weight, means", value)
        check_array(label, value[1], shapes[name], "float64")
        expect(value[0] >= 0 and bool(np.isfinite(value[1]).all()), label, "finite", value)
    if state["trainer"] is not None:
        check_trainer(state["trainer"], model)


def check_trainer(state: Any, model: VAE) -> None:
    """Raise ValueError unless this is what `Trainer.state_dict` returns: the optimiser trusts the moments' sizes."""
    keys = {"step", "weights", "optima", "moments", "seed"}
    expect(isinstance(state, dict) and state.keys() == keys, "the trainer's state", f"a dictionary of {keys}", state)
    for name in ("step", "seed"):
        is_valid = is_count(state[name]) and state[name] < 2**63
        expect(is_valid, f"trainer[{name!r}]", "an integer of at least 0", state[name])
    shape = (n_values(model),)
    check_floats("trainer['weights']", state["weights"], shape)
    moments, optima, own = state["moments"], state["optima"], list(model.likelihood.optima())
    expect(
        isinstance(moments, dict) and moments.keys() == {"step", "exp_avg", "exp_avg_sq"},
        "trainer['moments']",
        "a dictionary of step, exp_avg and exp_avg_sq",
        moments,
    )
    for name, value in moments.items():
        label = f"trainer['moments'][{name!r}]"
        check_floats(label, value, () if name == "step" else shape)
        expect(name == "exp_avg" or bool((value >= 0).all()), label, "at least 0", value)
    expect(isinstance(optima, list) and len(optima) == len(own), "trainer['optima']", f"{len(own)} arrays", optima)
    for i, (value, tensor) in enumerate(zip(optima, own, strict=True)):
        check_floats(f"trainer['optima'][{i}]", value, tuple(tensor.shape))


def check_floats(name: str, value: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless this is an array of float32, of this shape and finite."""
    check_array(name, value, shape, "float32")
    expect(bool(np.isfinite(value).all()), name, "finite", value)


def check_array(name: str, value: Any, shape: tuple[int, ...], dtype: str) -> None:
    """Raise ValueError unless this is an array of this shape and type."""
    is_valid = type(value) in (np.ndarray, np.memmap) and value.shape == shape and str(value.dtype) == dtype
    expect(is_valid, name, f"an array of shape {shape} and type {dtype}", value)


def expect(is_valid: bool, name: str, expected: str, value: Any) -> None:
    """Raise ValueError if what a file has under `name` is not valid."""
    if not is_valid:
        is_array = isinstance(value, np.ndarray)
        got = f"an array of shape {value.shape} and type {value.dtype}" if is_array else reprlib.repr(value)
        raise ValueError(f"expected {name} to be {expected}, got {got}; the file is damaged or was changed.")


def is_count(value: Any, least: int = 0) -> bool:
    """Return True for an integer of at least `least`."""
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= least


def is_number(value: Any) -> bool:
    """Return True for a finite number."""
    return isinstance(value, Real) and math.isfinite(value)


def is_curve(value: Any) -> bool:
    """Return True for a list of numbers."""
    return isinstance(value, list) and all(isinstance(number, Real) for number in value)


def is_array(value: Any, length: int) -> bool:
    """Return True for an array of finite floating-point numbers."""
    return (
        isinstance(value, np.ndarray)
        and value.shape == (length,)
        and value.dtype.kind == "f"
        and bool(np.isfinite(value).all())
    )


def is_sizes(value: Any, length: int) -> bool:
    """Return True for an array of finite floating-point numbers of at least 0."""
    return is_array(value, length) and bool((value >= 0).all())


def is_strings(value: Any, length: int) -> bool:
    """Return True for an array of strings."""
    return isinstance(value, np.ndarray) and value.shape == (length,) and all(isinstance(text, str) for text in value)


def is_labels(value: Any, length: int) -> bool:
    """Return True for an array of different labels."""
    return (
        isinstance(value, np.ndarray)
        and value.shape == (length,)
        and all(isinstance(label, str | Real | np.bool_) for label in value)
        and len(set(value.tolist())) == length
    )
