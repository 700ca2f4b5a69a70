"""Names of other packages that we use although they are not promised to us: checked at set-up, so that a missing one is told.

A name needs no check where its absence is an error that names it, at once. It needs one if it is a method that we override,
which nobody would call any more; an attribute that we set, which nobody would read; or if its absence would be taken for
something else: a ping that fails for it, for a connection that was lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from opcode import EXTENDED_ARG, opmap
from types import CodeType, FunctionType
from typing import Any

from persistconn.errors import ConfigError

Names = Mapping[str, str]
"""By the place in the package, ``connections.Connection`` say: the names, with spaces between."""


def insist(module: Any, product: str, names: Names, remedy: str) -> None:
    """Raise ConfigError unless the package has all the names. Connects to nothing, and takes a millisecond.

    ``product`` names the package and its version, ``remedy`` what to install, or do, unless it is a newer persistconn.
    """
    missing = list(_missing(module, names))
    if missing:
        from persistconn import __version__

        raise ConfigError(
            f"{product} has no {', '.join(missing)}, which persistconn {__version__} needs;"
            f" {remedy} or a newer persistconn"
        )


def _missing(module: Any, names: Names) -> Iterator[str]:
    for place, listed in names.items():
        known = _known(_at(module, place))
        yield from (f"{place.rpartition('.')[-1]}.{name}" for name in listed.split() if name not in known)


def _at(module: Any, place: str) -> Any:
    found = module
    for name in place.split("."):
        found = getattr(found, name, None)
    return found


def _known(owner: Any) -> set[str]:
    """Return what an object has; of a class, also what its own methods set on its instances."""
    # Some attributes are there only once a connection is made, and none is made for this.
    methods = [of_it for of_it in vars(owner).values() if isinstance(of_it, FunctionType)] if owner is not None else []
    return {*dir(owner), *(name for method in methods for name in _set_by(method.__code__))}


def _set_by(code: CodeType) -> Iterator[str]:
    # What dis.get_instructions() would tell as well, in 40 ms for PyMySQL's connection instead of one.
    high = 0
    for operation, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = high | low
        high = argument << 8 if operation == EXTENDED_ARG else 0
        if operation == opmap["STORE_ATTR"]:
            yield code.co_names[argument]
