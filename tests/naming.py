"""Names of parametrised tests, and lists of all public names."""

import importlib
import inspect
import pkgutil
import re

import sklearn_vae


def shown(value):
    """Show a value without memory addresses in its repr, so that test names are the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def public_packages():
    """sklearn_vae and its public subpackages."""
    names = [m.name for m in pkgutil.iter_modules(sklearn_vae.__path__) if m.ispkg and not m.name.startswith("_")]
    return [sklearn_vae, *(importlib.import_module(f"sklearn_vae.{name}") for name in names)]


def public_objects():
    """Path and object of every public class and function; registries are neither."""
    return [
        (f"{package.__name__}.{name}", value)
        for package in public_packages()
        for name in package.__all__
        if inspect.isclass(value := getattr(package, name)) or inspect.isfunction(value)
    ]


def public_classes():
    """Path and object of every public class."""
    return [(path, value) for path, value in public_objects() if inspect.isclass(value)]
