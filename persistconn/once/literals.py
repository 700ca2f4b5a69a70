"""Values in SQL as hexadecimal literals, which no character set and no sql_mode can bend; and text that comes back. Pure."""

from __future__ import annotations

import functools
from datetime import datetime, timezone

_OFFSET = len("+00:00")


def of_bytes(value: bytes) -> str:
    """Return a binary literal."""
    return f"X'{value.hex()}'"


def of_text(value: str | None) -> str:
    r"""Return a literal in utf8mb4; half a surrogate pair, which no server takes, is written out as ``\ud800``."""
    return "NULL" if value is None else f"_utf8mb4 X'{value.encode(errors='backslashreplace').hex()}'"


@functools.lru_cache(maxsize=1024)
def of_name(name: str) -> str:
    """Return the literal of a text that comes again and again: a job's name, say. Not for values, which it would keep."""
    return of_text(name)


def of_moment(value: datetime | None) -> str:
    """Return a literal for a DATETIME in UTC."""
    return "NULL" if value is None else f"'{value.astimezone(timezone.utc).isoformat(sep=' ')[:-_OFFSET]}'"


def as_text(value: object) -> str:
    """Return what a driver returned for text: bytes, under ``use_unicode=False``."""
    return value.decode() if isinstance(value, bytes) else str(value)
