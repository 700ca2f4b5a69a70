"""The bytes of a server's answers, a connection of PyMySQL's that finds them in its buffer, and what is read of them."""

from __future__ import annotations

import io
from typing import Any

from pymysql.connections import Connection

_RESULT = (
    "affected_rows",
    "insert_id",
    "server_status",
    "warning_count",
    "message",
    "field_count",
    "description",
    "rows",
    "converters",
    "has_next",
    "unbuffered_active",
    "connection",
)
_FIELD = (
    "catalog",
    "db",
    "table_name",
    "org_table",
    "name",
    "org_name",
    "charsetnr",
    "length",
    "type_code",
    "flags",
    "scale",
)
_WIDTHS = {2: b"\xfc", 3: b"\xfd", 8: b"\xfe"}
"""Of a length-encoded integer that takes more than its own byte: what says how many there are."""


def packets(*payloads: bytes, turn: int = 1) -> bytes:
    """Build an answer; ``turn`` is the number of its first packet."""
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([(turn + number) % 256]) + payload
        for number, payload in enumerate(payloads)
    )


def number(value: int, width: int = 0) -> bytes:
    """Build a length-encoded integer, in as few bytes as it takes or in those that are asked for (1, 2, 3 or 8)."""
    if not width:
        width = 1 if value < 251 else 2 if value < 1 << 16 else 3 if value < 1 << 24 else 8
    return bytes([value]) if width == 1 else _WIDTHS[width] + value.to_bytes(width, "little")


def text(value: bytes | None) -> bytes:
    """Build a value, its length before it."""
    return b"\xfb" if value is None else number(len(value)) + value


def column(name: bytes, kind: int, charset: int = 45, length: int = 80, table: bytes = b"item") -> bytes:
    """Build the description of a column."""
    texts = b"".join(text(part) for part in (b"def", b"shop", b"t", table, name, name))
    return texts + b"\x0c" + charset.to_bytes(2, "little") + length.to_bytes(4, "little") + bytes([kind, 0, 0, 0, 0, 0])


def eof(warnings: int = 0, status: int = 2) -> bytes:
    """Build what stands behind the columns, and behind the rows."""
    return b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little")


def row(*values: bytes | None) -> bytes:
    """Build a row."""
    return b"".join(text(value) for value in values)


def connection(data: bytes, *, turn: int = 1, buffer: int = 1 << 18, **arguments: Any) -> Any:
    """Make a connection of the driver's that has sent a statement and finds this answer."""
    made: Any = Connection(defer_connect=True, ssl_disabled=True, **arguments)
    made._rfile = io.BufferedReader(io.BytesIO(data), buffer_size=buffer)  # type: ignore[arg-type]
    made._next_seq_id = turn
    made._current_timeout = made._read_timeout
    made._sock = object()
    return made


def facts(result: Any) -> dict[str, Any]:
    """Return what the driver's cursors, and their callers, read of a result."""
    found = {name: getattr(result, name, None) for name in _RESULT}
    found["fields"] = [[getattr(field, name) for name in _FIELD] for field in getattr(result, "fields", ())]
    return found
