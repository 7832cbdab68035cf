"""Capabilities: what a component declares it can do beyond its interface."""

from __future__ import annotations

from typing import Any, ClassVar


class DeclaresCapabilities:
    """Base of components with capabilities: attributes of a class that its subclasses do not inherit.

    A capability is a promise about a class's own methods, such as a KL with a closed form. A subclass
    may override these methods, so it has the capability only if it declares it again.

    Attributes
    ----------
    capabilities : tuple of str
        Class attribute. Names of the attributes, which are False by default.
    """

    capabilities: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        for name in cls.capabilities:
            if name not in vars(cls):
                setattr(cls, name, False)
