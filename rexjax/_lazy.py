"""Packages that export names of their modules and import a module only when one of its names is used.

A package lists its names twice: as real imports under ``TYPE_CHECKING``, for type checkers and editors, and as the
mapping for ``attach``, for the run. A test holds the two lists equal.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Makes ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Args:
        package: the package's ``__name__``.
        names: each public name, and where it is: ``"package.module"`` if the name is the same there,
            ``"package.module:other"`` if it is ``other`` there, ``"package.module:"`` for the module itself. A name
            must not be that of a module of the package: ``from package import module`` would then give the name.

    Returns:
        the three, for ``__getattr__, __dir__, __all__ = attach(__name__, {…})``.
    """

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, colon, attribute = names[name].partition(":")
        found = import_module(module)
        return found if colon and not attribute else getattr(found, attribute or name)

    public = sorted(names)
    return get, lambda: public, public
