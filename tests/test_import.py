"""What importing the package loads."""

import subprocess
import sys

import pytest

import sklearn_vae

REQUIREMENTS = "sklearn, torch, skorch"
CODE = f"""
import sys, {REQUIREMENTS}
before = set(sys.modules)
import sklearn_vae
print(*set(sys.modules) - before)
"""


@pytest.fixture(scope="module")
def added():
    """Names of the modules that the package loads beyond what its requirements have loaded."""
    return subprocess.run([sys.executable, "-c", CODE], check=True, capture_output=True, text=True).stdout.split()


def test_import_adds_no_other_package(added):
    """Neither matplotlib nor pandas, rich or polars, unless the requirements load them."""
    packages = {name.split(".")[0] for name in added}
    assert "sklearn_vae" in packages
    assert packages <= {"joblib", "numpy", "scipy", "sklearn", "sklearn_vae", "skorch", "torch"}


@pytest.mark.parametrize("name", ["sklearn.mixture", "sklearn.cluster", "sklearn.semi_supervised"])
def test_import_leaves_slow_parts_of_scikit_learn_for_later(added, name):
    """They take longer to load than all of this package."""
    assert name not in added


def test_displays_come_with_the_package_when_they_are_used(added):
    assert "sklearn_vae.displays" not in added
    code = "import sklearn_vae; print(sklearn_vae.displays.KLDisplay.__name__)"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed == "KLDisplay\n"
    with pytest.raises(AttributeError, match="module 'sklearn_vae' has no attribute 'plots'"):
        sklearn_vae.plots  # noqa: B018
