"""Validation of a saved training state."""

from __future__ import annotations

from typing import Any

import numpy as np

from sklearn_vae._model.state_checks import check_floats, check_stored_array, expect, is_count, is_number
from sklearn_vae._model.vae import VAE
from sklearn_vae._training.restart import SeenRows
from sklearn_vae._training.weights import n_values


def check_training_state(state: Any, model: VAE, n_features: int) -> None:
    """Raise ValueError unless the estimator's training of the model can resume from `state`."""
    keys = {"n_rows", "weight_unit", "statistics", "trainer", "seen", "input_noise"}
    expect(isinstance(state, dict) and state.keys() == keys, "_training_state", f"a dictionary of {keys}", state)
    expect(is_count(state["n_rows"], 1), "_training_state['n_rows']", "an integer of at least 1", state["n_rows"])
    unit = state["weight_unit"]
    expect(is_number(unit) and unit > 0, "_training_state['weight_unit']", "a number above 0", unit)
    n_classes, d = 0 if model.class_mixture is None else model.class_mixture.n_classes, state["statistics"]
    shapes = {"kl": (model.n_components,), "latent": (3, model.n_components), "classes": (n_classes,)}
    is_valid = isinstance(d, dict) and d.keys() <= shapes.keys()
    expect(is_valid, "_training_state['statistics']", f"a dictionary of {list(shapes)}", d)
    for name, value in d.items():
        label = f"_training_state['statistics'][{name!r}]"
        expect(
            isinstance(value, tuple) and len(value) == 2 and is_number(value[0]),
            label,
            "a tuple of a weight and means",
            value,
        )
        check_stored_array(label, value[1], shapes[name], "float64")
        expect(value[0] >= 0 and bool(np.isfinite(value[1]).all()), label, "finite", value)
        expect(name != "latent" or bool((value[1][1:] >= 0).all()), label, "of mean squares of at least 0", value)
        expect(name != "classes" or bool((value[1] >= 0).all()), label, "of shares of at least 0", value)
    noise = state["input_noise"]
    is_valid = noise is None or (is_number(noise) and noise >= 0)
    expect(is_valid, "_training_state['input_noise']", "None or a number of at least 0", noise)
    if state["seen"] is not None:
        check_seen(state["seen"], n_features)
    if state["trainer"] is not None:
        check_trainer(state["trainer"], model)


def check_seen(state: Any, n_features: int) -> None:
    """Raise ValueError unless `state` holds the fields of `SeenRows`."""
    name = "_training_state['seen']"
    keys = set(SeenRows._fields)
    expect(isinstance(state, dict) and state.keys() == keys, name, f"a dictionary of {keys}", state)
    seen = SeenRows(**state)
    for field in ("weight", "variance"):
        value = getattr(seen, field)
        expect(is_number(value) and value >= 0, f"{name}['{field}']", "a number of at least 0", value)
    expect(seen.weight > 0, f"{name}['weight']", "above 0", seen.weight)
    check_stored_array(f"{name}['mean']", seen.mean, (n_features,), "float64")
    check_stored_array(f"{name}['directions']", seen.directions, (len(seen.directions), n_features), "float64")
    finite = bool(np.isfinite(seen.mean).all() and np.isfinite(seen.directions).all())
    expect(finite and len(seen.directions) > 0, name, "finite", seen)
    for field in ("n_calls", "start"):
        value = getattr(seen, field)
        expect(is_count(value, 1), f"{name}['{field}']", "an integer of at least 1", value)


def check_trainer(state: Any, model: VAE) -> None:
    """Raise ValueError unless `state` is a valid `Trainer.state_dict`. The optimiser itself does not check sizes."""
    keys = {"step", "weights", "optima", "moments", "seed", "digest"}
    expect(isinstance(state, dict) and state.keys() == keys, "the trainer's state", f"a dictionary of {keys}", state)
    for name in ("step", "seed"):
        is_valid = is_count(state[name]) and state[name] < 2**63
        expect(is_valid, f"trainer[{name!r}]", "an integer of at least 0", state[name])
    expect(isinstance(state["digest"], str), "trainer['digest']", "a string", state["digest"])
    shape = (n_values(model),)
    check_floats("trainer['weights']", state["weights"], shape)
    moments, optima, expected = state["moments"], state["optima"], list(model.likelihood.optima())
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
    expect(
        isinstance(optima, list) and len(optima) == len(expected),
        "trainer['optima']",
        f"{len(expected)} arrays",
        optima,
    )
    for i, (value, tensor) in enumerate(zip(optima, expected, strict=True)):
        check_floats(f"trainer['optima'][{i}]", value, tuple(tensor.shape))
