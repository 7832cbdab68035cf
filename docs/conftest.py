"""Doctests of the pages: without scikit-learn's callbacks, which came with 1.9, their page is not run."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("sklearn.callback") else ["guide/progress.rst"]
