"""What importing the package loads."""

import subprocess
import sys

import pytest

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
