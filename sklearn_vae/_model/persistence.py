"""Serialisation: arrays, versions, and the warning on a mismatch."""

from __future__ import annotations

import warnings

import numpy as np
import sklearn
import torch
from sklearn.exceptions import InconsistentVersionWarning

from sklearn_vae._model.architecture import Architecture
from sklearn_vae._model.state_checks import check_module_state, is_built_in
from sklearn_vae._model.vae import VAE
from sklearn_vae._version import __version__

# Number of leading parts of a version that must agree; None for all. Any release of this package may change the state.
# Releases of scikit-learn and torch change its meaning at most when the minor version changes.
COMPARED_PARTS = {"sklearn-vae": None, "scikit-learn": 2, "torch": 2}


class OtherVersionsWarning(InconsistentVersionWarning):
    """scikit-learn's warning about an estimator that other versions saved, extended to several packages."""

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
    """Return the versions of the packages that a saved state depends on, by the packages' names on PyPI.

    Local version labels are left out: torch 2.6.0+cpu and 2.6.0+cu126 read each other's states.
    """
    found = {"sklearn-vae": __version__, "scikit-learn": sklearn.__version__, "torch": torch.__version__}
    return {name: str(version).partition("+")[0] for name, version in found.items()}


def warn_of_other_versions(name: str, saved_with: dict[str, str]) -> None:
    """Warn if the estimator `name` was saved with other versions, or with versions that were not stored."""
    here = versions()
    differing = [
        package
        for package, n_parts in COMPARED_PARTS.items()
        if saved_with.get(package, "").split(".")[:n_parts] != here[package].split(".")[:n_parts]
    ]
    if differing:
        warnings.warn(OtherVersionsWarning(name, saved_with, here, differing), stacklevel=3)


def to_arrays(model: VAE) -> dict[str, np.ndarray]:
    """Return the model's weights and buffers as a dictionary of arrays."""
    return {name: tensor.cpu().numpy() for name, tensor in model.state_dict().items()}


def rebuild(architecture: Architecture, arrays: dict[str, np.ndarray], saved_with: dict[str, str]) -> VAE:
    """Build the architecture's model on the CPU and load the weights that `to_arrays` returned.

    Sizes are compared with the weights before memory is allocated. A user's own likelihood, prior or network is an
    exception: only building it tells its sizes.

    Raises
    ------
    ValueError
        If the model cannot be built or cannot take the weights. The file may be damaged, or the package's version
        or a user's component may have changed.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    try:
        if is_built_in(architecture):
            check_module_state(_build_without_memory(architecture, generator), arrays)
        model = architecture.build(generator)
        check_module_state(model, arrays)
        model.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    except Exception as error:
        packages = ", ".join(map(" ".join, saved_with.items())) or "they were not stored"
        raise ValueError(
            f"expected to rebuild the saved model, but that failed: {error} Load it with the code and the "
            f"versions that it was saved with ({packages})."
        ) from error
    return model


def _build_without_memory(architecture: Architecture, generator: torch.Generator) -> VAE:
    """Build a model on torch's device "meta", which has shapes only; raise ValueError for impossible sizes."""
    try:
        with torch.device("meta"):
            return architecture.build(generator)
    except (RuntimeError, OverflowError):
        raise ValueError("its sizes are larger than any memory.") from None
