"""Whole answers, read at one go: the very result that the driver reads from the same bytes, or nothing taken at all."""

from __future__ import annotations

import io
from typing import Any

import pymysql
import pytest
from pymysql.connections import Connection, MySQLResult
from pymysql.constants import FIELD_TYPE

from persistconn.drivers.answers import Answers

ATTRIBUTES = (
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
)


def packets(*payloads: bytes, turn: int = 1) -> bytes:
    """Build an answer."""
    return b"".join(
        len(payload).to_bytes(3, "little") + bytes([(turn + number) % 256]) + payload
        for number, payload in enumerate(payloads)
    )


def text(value: bytes | None) -> bytes:
    """Build a value, its length before it."""
    if value is None:
        return b"\xfb"
    size = len(value)
    return (bytes([size]) if size < 251 else b"\xfc" + size.to_bytes(2, "little")) + value


def column(name: bytes, kind: int, charset: int = 45) -> bytes:
    """Build the description of a column."""
    texts = b"".join(text(part) for part in (b"def", b"shop", b"t", b"item", name, name))
    return texts + b"\x0c" + charset.to_bytes(2, "little") + (80).to_bytes(4, "little") + bytes([kind, 0, 0, 0, 0, 0])


def eof(warnings: int = 0, status: int = 2) -> bytes:
    """Build what stands behind the columns, and behind the rows."""
    return b"\xfe" + warnings.to_bytes(2, "little") + status.to_bytes(2, "little")


def row(*values: bytes | None) -> bytes:
    """Build a row."""
    return b"".join(text(value) for value in values)


COLUMNS = (
    column(b"id", FIELD_TYPE.LONG, 63),
    column(b"name", FIELD_TYPE.VAR_STRING),
    column(b"data", FIELD_TYPE.BLOB, 63),
    column(b"price", FIELD_TYPE.NEWDECIMAL, 63),
    column(b"at", FIELD_TYPE.DATETIME, 63),
    column(b"more", FIELD_TYPE.JSON, 63),
)
ROW = row(b"7", "Käse".encode(), b"\xff\x00\xfe", b"1.50", b"2026-03-29 02:30:00", b'{"a": 1}')
NULLS = row(*[None] * 6)
LONG = row(b"8", b"x" * 300, b"y" * 2000, None, b"0000-00-00 00:00:00", b"[]")

WHOLE = {
    "an OK": packets(b"\x00\x01\x07\x02\x00\x00\x00"),
    "an OK with great numbers and a text": packets(
        b"\x00\xfc\x10\x27\xfe\x01\x00\x00\x00\x01\x00\x00\x00\x03\x00\x02\x00Rows matched: 10000"
    ),
    "an OK with a number of three bytes": packets(b"\x00\xfd\x10\x27\x01\x00\x02\x00\x00\x00"),
    "no rows": packets(b"\x06", *COLUMNS, eof(), eof()),
    "a row": packets(b"\x06", *COLUMNS, eof(), ROW, eof(warnings=3)),
    "rows": packets(b"\x06", *COLUMNS, eof(), ROW, NULLS, LONG, eof()),
    "numbers that go around": packets(b"\x01", COLUMNS[0], eof(), *[row(b"%d" % n) for n in range(600)], eof()),
    "an empty text": packets(b"\x01", COLUMNS[1], eof(), row(b""), row(b"a"), eof()),
}
NOT_WHOLE = {
    "nothing": b"",
    "an error": packets(b"\xff\x15\x04#28000no"),
    "an error among the columns": packets(b"\x02", COLUMNS[0], b"\xff\x15\x04#28000no"),
    "an error among the rows": packets(b"\x01", COLUMNS[0], eof(), row(b"1"), b"\xff\x15\x04#28000no"),
    "a file that is wanted": packets(b"\xfb/etc/passwd"),
    "further results": packets(b"\x01", COLUMNS[0], eof(status=10), row(b"1"), eof(status=10)),
    "further results behind an OK": packets(b"\x00\x01\x00\x0a\x00\x00\x00"),
    "a goodbye": packets(b"\xff\xbf\x0f#HY000idle", turn=0),
    "an OK out of turn": packets(b"\x00\x01\x07\x02\x00\x00\x00", turn=2),
    "a row out of turn": packets(b"\x01", COLUMNS[0], eof()) + packets(row(b"1"), eof(), turn=9),
    "a column out of turn": packets(b"\x01") + packets(COLUMNS[0], eof(), eof(), turn=3),
    "a row with a column less": packets(b"\x02", *COLUMNS[:2], eof(), row(b"1"), eof()),
    "a row with a column more": packets(b"\x01", COLUMNS[0], eof(), row(b"1", b"2"), eof()),
    "a very long value": packets(b"\x01", COLUMNS[0], eof(), b"\xfd\x05\x00\x00hello", eof()),
    "no end behind the columns": packets(b"\x01", COLUMNS[0], row(b"1"), eof()),
    "more than an answer": packets(b"\x01", COLUMNS[0], eof(), row(b"1"), eof()) + b"what nobody has asked for",
    "an empty packet": packets(b"\x01", COLUMNS[0], eof(), b"", eof()),
}


def connection(data: bytes, **arguments: Any) -> Any:
    """Make a connection of the driver's that has sent a statement and finds this answer."""
    made: Any = Connection(defer_connect=True, ssl_disabled=True, **arguments)
    made._rfile = io.BufferedReader(io.BytesIO(data), buffer_size=1 << 16)  # type: ignore[arg-type]
    made._next_seq_id = 1
    made._current_timeout = made._read_timeout
    made._sock = object()
    return made


def take(answers: Answers, raw: Any) -> Any:
    """Take the answer that waits."""
    return answers.take(raw, raw._rfile.peek())


def facts(result: Any) -> dict[str, Any]:
    """Return what the driver's cursors read of a result."""
    found = {name: getattr(result, name, None) for name in ATTRIBUTES}
    found["fields"] = [str(field) for field in getattr(result, "fields", ())]
    return found


def read_by_the_driver(raw: Any) -> Any:
    result = MySQLResult(raw)
    result.read()
    raw._sock = None
    return result


@pytest.mark.parametrize(
    "arguments", [{}, {"use_unicode": False, "conv": {}}, {"conv": {}}], ids=["usual", "bytes", "unconverted"]
)
@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE.keys())
def test_a_whole_answer_is_what_the_driver_reads(data: bytes, arguments: dict[str, Any]) -> None:
    """Twice: the second time its columns are known."""
    answers, theirs = Answers(pymysql), connection(data, **arguments)
    expected = facts(read_by_the_driver(theirs))
    for _ in range(2):
        raw = connection(data, **arguments)
        assert facts(take(answers, raw)) == expected
        assert (raw._rfile.read(), raw._next_seq_id) == (b"", theirs._next_seq_id)


@pytest.mark.parametrize("data", WHOLE.values(), ids=WHOLE.keys())
def test_an_answer_that_is_cut_off_anywhere_stays_in_the_buffer(data: bytes) -> None:
    """The rest may be on its way, and the driver waits for it."""
    answers = Answers(pymysql)
    for end in range(len(data)):
        raw = connection(data[:end])
        assert take(answers, raw) is None, end
        assert (raw._rfile.read(), raw._next_seq_id) == (data[:end], 1)


@pytest.mark.parametrize("data", NOT_WHOLE.values(), ids=NOT_WHOLE.keys())
def test_all_else_is_the_driver_s(data: bytes) -> None:
    """And is still there for it."""
    raw = connection(data)
    assert take(Answers(pymysql), raw) is None
    assert (raw._rfile.read(), raw._next_seq_id) == (data, 1)


def test_a_converter_of_one_connection_is_not_that_of_another() -> None:
    """Columns are shared, converters are not: each connection has its own, and may change them at any time."""
    answers, data = Answers(pymysql), packets(b"\x01", COLUMNS[0], eof(), row(b"7"), eof())
    assert take(answers, connection(data)).rows == ((7,),)
    assert take(answers, connection(data, conv={FIELD_TYPE.LONG: lambda value: f"<{value}>"})).rows == (("<7>",),)
    assert take(answers, connection(data, use_unicode=False, conv={})).rows == ((b"7",),)


def test_columns_without_end_are_forgotten() -> None:
    """Aliases that are made up anew in each statement must not fill the memory."""
    answers = Answers(pymysql)
    for number in range(3000):
        take(answers, connection(packets(b"\x01", column(b"c%d" % number, FIELD_TYPE.LONG), eof(), eof())))
    assert len(answers._heads) <= 1024


def test_what_a_converter_raises_is_raised() -> None:
    """It is the caller's, and nothing of the connection's."""

    def refuse(value: str) -> None:
        raise OSError(value)

    raw = connection(packets(b"\x01", COLUMNS[0], eof(), row(b"7"), eof()), conv={FIELD_TYPE.LONG: refuse})
    with pytest.raises(OSError, match="7"):
        take(Answers(pymysql), raw)
