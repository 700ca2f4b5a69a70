"""Django lets several threads use one wrapper, one at a time: its connection belongs to the wrapper then, not to a thread."""

from __future__ import annotations

import weakref
from threading import get_ident
from typing import Any

from persistconn.owner import Owner


class WrapperOwner(Owner):
    """Owns the connection of one wrapper, and judges as ``validate_thread_sharing()`` does who may use it.

    It lives as long as both the wrapper and the thread that made it: a thread that merely used it may end.
    """

    def __init__(self, wrapper: Any, maker: Owner) -> None:
        self.name = maker.name
        self._maker = maker
        self._wrapper = weakref.ref(wrapper)

    @property
    def ident(self) -> int:  # type: ignore[override]  # of the thread that may use it now
        """The calling thread where the wrapper allows sharing, else the wrapper's own."""
        wrapper = self._wrapper()
        return get_ident() if wrapper is not None and wrapper.allow_thread_sharing else self._maker.ident

    @property
    def is_alive(self) -> bool:
        """Whether somebody may still use it."""
        return self._wrapper() is not None and self._maker.is_alive
