"""What of an estimator is saved: arrays for the model, and versions, with what is said where others load it."""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
import torch
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.state_checks import check_weights, has_names
from sklearn_vae._model.vae import VAE
from sklearn_vae._version import __version__

# How much of a version has to be the same. The state is this package's own; scikit-learn and torch
# change what it means at minor releases, if at all.
COMPARED_PARTS = {"sklearn-vae": None, "scikit-learn": 2, "torch": 2}


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
    found = {"sklearn-vae": __version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__}
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
