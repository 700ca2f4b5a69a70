"""Who a connection belongs to: one thread, known to be alive or not from any other thread."""

from __future__ import annotations

import threading
import weakref


class _Tether:
    """Lives in a thread's local storage, so it dies with its thread, however that was started."""


class _Local(threading.local):
    tether: _Tether
    owner: Owner


class Owner:
    """The thread that a connection belongs to. Idents are reused by the system; an ``Owner`` never is."""

    def __init__(self, tether: _Tether) -> None:
        self.ident = threading.get_ident()
        self.name = threading.current_thread().name
        self._tether = weakref.ref(tether)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs; safe to ask from any thread."""
        return self._tether() is not None

    def __repr__(self) -> str:
        return f"<Owner {self.name} ({'alive' if self.is_alive else 'ended'})>"


_local = _Local()
_by_ident: weakref.WeakValueDictionary[int, Owner] = weakref.WeakValueDictionary()


def local_class() -> type:
    """Return the class of the local storage by which owners are told apart."""
    return _Local


def current_owner() -> Owner:
    """Return the calling thread's ``Owner``, the same one as long as the thread lives."""
    try:
        return _local.owner
    except AttributeError:
        _local.tether = _Tether()
        _local.owner = _by_ident[threading.get_ident()] = Owner(_local.tether)
        return _local.owner


def owner_of(ident: int) -> Owner | None:
    """Return the ``Owner`` of the living thread with this ident; None of one that has never connected."""
    owner = _by_ident.get(ident)
    return owner if owner is not None and owner.is_alive else None
