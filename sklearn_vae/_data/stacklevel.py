"""The line of the user's code that a warning points to."""

from __future__ import annotations

import sys

# Packages whose code may lie between the user's line and a warning.
PACKAGES = ("sklearn_vae", "sklearn", "joblib")


def stacklevel_of_user() -> int:
    """Return the stack level of the first caller outside of this package and scikit-learn, for the calling function."""
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in PACKAGES:
        frame, level = frame.f_back, level + 1
    return level
