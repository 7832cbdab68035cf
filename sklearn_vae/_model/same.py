"""Structural equality of parameters. `repr` shortens values, and `==` is False for copies."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from torch import Tensor, nn


def same(a: Any, b: Any, begun: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Return whether two parameters are equal, or copies of each other.

    Estimators and other objects are compared by type and content, and arrays by value. torch modules are compared by
    the types of their layers and the shapes of their states, not by their weights. `begun` holds the pairs of ids whose
    comparison has led to this one, because objects may contain themselves.
    """
    if a is b or (id(a), id(b)) in begun:
        return True
    begun |= {(id(a), id(b))}
    if isinstance(a, BaseEstimator | nn.Module | Tensor | np.ndarray) and type(a) is not type(b):
        return False
    if isinstance(a, BaseEstimator):
        return same(a.get_params(deep=False), b.get_params(deep=False), begun)
    if isinstance(a, nn.Module):
        return _layout(a) == _layout(b)
    if isinstance(a, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype
    if isinstance(a, np.ndarray):
        return a.shape == b.shape and a.dtype == b.dtype and same(a.tolist(), b.tolist(), begun)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return list(a) == list(b) and all(same(a[key], b[key], begun) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(same(x, y, begun) for x, y in zip(a, b, strict=True))
    if _equal(a, b):
        return True
    content = _content(a)
    return type(a) is type(b) and content is not None and same(content, _content(b), begun)


def _equal(a: Any, b: Any) -> bool:
    """Return whether two values are equal, or both NaN; False if `==` gives no single answer."""
    try:
        return bool(a == b) or bool(a != a and b != b)
    except Exception:
        return False


def _layout(module: nn.Module) -> tuple[list, list]:
    """Return the names, types and options of a module's layers, and the shapes and dtypes of its state."""
    layers = [(name, type(layer), layer.extra_repr()) for name, layer in module.named_modules()]
    return layers, [(name, tuple(value.shape), value.dtype) for name, value in module.state_dict().items()]


def _content(value: Any) -> Any:
    """Return the parts or attributes of an object; None if it has none that are known."""
    if isinstance(value, functools.partial):
        return value.func, value.args, value.keywords
    if isinstance(value, types.MethodType):
        return value.__func__, value.__self__
    slots = [name for cls in type(value).__mro__ for name in getattr(cls, "__slots__", ())]
    attributes = {**{name: getattr(value, name, None) for name in slots}, **getattr(value, "__dict__", {})}
    return None if type(value).__module__ == "builtins" else attributes
