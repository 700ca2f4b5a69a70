"""The server's status flags: what they say, and how they are had from mysqlclient, which does not hand them out.

MariaDB's client library has a function for them in its C API, and mysqlclient a capsule with the handle that it takes.
With Oracle's library there is no such function: then the flag of an open transaction is concluded from the statements,
and where they leave a doubt, a transaction *may* be open.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from persistconn.statement import SQL, first_word

IN_TRANSACTION = 0x0001
AUTOCOMMIT = 0x0002
MORE_RESULTS = 0x0008
NO_BACKSLASH_ESCAPES = 0x0200

Reader = Callable[[], int]


def may_be_open(flags: int, is_current: bool) -> bool:
    """Say whether a transaction is open, or may be: under ``autocommit=0``, after an answer that brought no flags."""
    return bool(flags & IN_TRANSACTION or not (flags & AUTOCOMMIT or is_current))


# From <mysql.h> of MariaDB Connector/C; the same in all of 3.0 to 3.4, which only ever added behind it.
_MARIADB_CONNECTION_SERVER_STATUS = 30
_CAPSULE = b"_mysql.connection.native_connection"


@functools.cache
def _library_call(path: str) -> Any:
    # A library that is opened anew has a class of functions of its own: 3 KiB for each connection.
    get_info = ctypes.PyDLL(path).mariadb_get_info
    get_info.restype = ctypes.c_byte
    return get_info


@functools.cache
def _pointer_of() -> Any:
    prototype = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    return prototype(("PyCapsule_GetPointer", ctypes.pythonapi))


def open_reader(c_module: Any, raw: Any) -> Reader | None:
    """Return what reads the flags of a connection, without I/O or the GIL's release; None if the library has no way.

    The reader may be called while another thread is inside the library, but not after the connection was collected.
    """
    try:
        # PyDLL keeps the GIL: giving it up costs more than the call.
        get_info = _library_call(c_module.__file__)
    except (AttributeError, OSError):
        return None
    capsule = raw._get_native_connection()
    status = ctypes.c_uint(0)
    # Made once: what ctypes has to convert at each call costs as much as the call.
    arguments = (
        ctypes.c_void_p(_pointer_of()(capsule, _CAPSULE)),
        ctypes.c_int(_MARIADB_CONNECTION_SERVER_STATUS),
        ctypes.byref(status),
    )

    def read() -> int:
        get_info(*arguments)
        return status.value

    # Seen through, not trusted: the one flag that mysqlclient does hand out must agree.
    agrees = get_info(*arguments) == 0
    return read if agrees and bool(read() & AUTOCOMMIT) == bool(raw.get_autocommit()) else None


# Procedures, prepared statements and XA may begin a transaction that no text of ours shows.
_MAY_BEGIN = frozenset({"BEGIN", "START", "CALL", "EXECUTE", "XA"})
_ENDS = frozenset({"COMMIT", "ROLLBACK"})
_OPENS_NONE = frozenset({"", "SET", "USE"})  # The empty one is a call that is no statement.


def conclude(sql: SQL, before: int, *, autocommit: bool, more_results: bool) -> int:
    """Conclude the flags behind a statement that has succeeded from those before it; never misses an open transaction."""
    told = (AUTOCOMMIT if autocommit else 0) | (MORE_RESULTS if more_results else 0)
    if autocommit and not before & AUTOCOMMIT:
        return told  # Switching it on commits what is open.
    return told | (IN_TRANSACTION if _may_be_open(sql, bool(before & IN_TRANSACTION), autocommit) else 0)


def _may_be_open(sql: SQL, before: bool, autocommit: bool) -> bool:
    text = sql if isinstance(sql, str) else bytes(sql).decode("latin-1")
    # Several statements in one text, or one that hides in a comment for the server.
    if is_several(text) or "/*!" in text or "/*M!" in text:
        return before or not autocommit or not _is_harmless(text)
    word = first_word(text)
    if word in _ENDS:
        upper = text.upper()
        return "CHAIN" in upper.replace("NO CHAIN", "") or (" TO " in upper and before)
    if word in _MAY_BEGIN:
        return True
    return before or not (autocommit or word in _OPENS_NONE)


def is_several(sql: SQL) -> bool:
    """Say whether a text may hold several statements (or a semicolon in a string)."""
    text = sql if isinstance(sql, str) else bytes(sql).decode("latin-1")
    return ";" in text.rstrip().rstrip(";")


def _is_harmless(text: str) -> bool:
    upper = text.upper()
    return not any(word in upper for word in _MAY_BEGIN)
