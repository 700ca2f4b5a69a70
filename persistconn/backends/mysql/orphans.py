"""Ends the sessions of wrappers that are gone: the registry holds a session, where stock Django's ends with its wrapper."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from persistconn.connection import PersistentConnection

# Filled by finalizers, which run in the middle of anything, perhaps under the registry's lock: they may only append.
_orphans: deque[PersistentConnection] = deque()


class Tie:
    """Ties a held connection to the wrapper that uses it. One wrapper has one; used on the wrapper's thread."""

    def __init__(self, wrapper: Any) -> None:
        self._held: list[PersistentConnection] = []
        weakref.finalize(wrapper, _orphans.extend, self._held).atexit = False

    def hold(self, connection: PersistentConnection) -> None:
        """Note the wrapper's connection, and really close the one that it supersedes (another ``NAME``, say)."""
        retire_all()
        for superseded in [held for held in self._held if held is not connection]:
            self._held.remove(superseded)
            superseded.retire()
        if not self._held:
            self._held.append(connection)

    def retire(self) -> None:
        """Really close the wrapper's connection."""
        while self._held:
            self._held.pop().retire()


def retire_all() -> None:
    """Really close the connections of all wrappers that are gone."""
    while _orphans:
        try:
            orphan = _orphans.popleft()
        except IndexError:  # Another thread was quicker.
            return
        orphan.retire()
