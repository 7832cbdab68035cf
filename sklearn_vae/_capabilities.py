"""Capabilities: optional abilities that a component class declares."""

from __future__ import annotations

from typing import Any, ClassVar


class DeclaresCapabilities:
    """Base class of components that declare capabilities: class attributes that subclasses do not inherit.

    A capability is a promise about a class's own methods, such as a KL divergence in closed form. A
    subclass may override these methods, so it has the capability only if it declares it again.

    Attributes
    ----------
    capabilities : tuple of str
        Class attribute. Names of the capability attributes, each False unless the class itself declares it.
    """

    capabilities: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in cls.capabilities:
            if name not in vars(cls):
                setattr(cls, name, False)
