"""Sees what a job does outside of the database: files that it writes, peers that it connects to, programs that it starts.

A replay does it again, for no rollback undoes it.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

_WRITES = os.O_WRONLY | os.O_RDWR
_ON_FILES = {"os.remove": "removed", "os.rename": "renamed", "os.mkdir": "made the directory", "os.rmdir": "removed"}


class Spy:
    """Counts what one thread does while it watches. One for the process: an audit hook is never removed."""

    def __init__(self) -> None:
        self._seen: Counter[str] | None = None
        self._thread = 0
        self._expected: Collection[Any] = ()
        self._is_hooked = False

    @contextmanager
    def watching(self, expected: Collection[Any]) -> Iterator[Counter[str]]:
        """Count what the calling thread does; connections to the addresses that are ``expected`` are the database's."""
        if not self._is_hooked:
            sys.addaudithook(self._hear)
            self._is_hooked = True
        seen: Counter[str] = Counter()
        self._seen, self._thread, self._expected = seen, threading.get_ident(), expected
        try:
            yield seen
        finally:
            self._seen = None

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if self._seen is None or threading.get_ident() != self._thread:
            return
        if (deed := _deed(event, args, self._expected)) is not None:
            self._seen[deed] += 1


def _deed(event: str, args: tuple[Any, ...], expected: Collection[Any]) -> str | None:
    """Say what an audit event means; None if it leaves no trace."""
    if event == "open":
        return _opened(*args)
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        known = address in expected or (isinstance(address, tuple) and address[1] in expected)
        return None if known else f"sent to {address}"
    if event == "subprocess.Popen":
        return f"started {args[0]}"
    return f"{_ON_FILES[event]} {args[0]}" if event in _ON_FILES else None


def _opened(path: Any, mode: str | None, flags: int) -> str | None:
    writes = any(letter in mode for letter in "wax+") if mode else bool(flags & _WRITES)
    is_ours = "__pycache__" in str(path) or str(path) == os.devnull
    return f"opened {path} for writing" if writes and not is_ours else None


SPY = Spy()
