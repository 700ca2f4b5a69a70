"""Whole answers, read at one go: the very result that the driver reads from the same bytes, or nothing taken at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.connections import MySQLResult
from pymysql.constants import FIELD_TYPE

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where packets stands

from packets import column, connection, eof, facts, packets, row

from persistconn.drivers.answers import Answers

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
    "an OK that ends in its status": packets(b"\x00\x01\xfc\x02\x00\x02\x00") + b"what is behind it",
    "a goodbye": packets(b"\xff\xbf\x0f#HY000idle", turn=0),
    "an OK out of turn": packets(b"\x00\x01\x07\x02\x00\x00\x00", turn=2),
    "a row out of turn": packets(b"\x01", COLUMNS[0], eof()) + packets(row(b"1"), eof(), turn=9),
    "a column out of turn": packets(b"\x01") + packets(COLUMNS[0], eof(), eof(), turn=3),
    "a row with a column less": packets(b"\x02", *COLUMNS[:2], eof(), row(b"1"), eof()),
    "a row with a column more": packets(b"\x01", COLUMNS[0], eof(), row(b"1", b"2"), eof()),
    "more columns than one byte counts": packets(b"\xfc\xfb\x00", *COLUMNS[:1] * 251, eof(), eof()),
    "a very long value": packets(b"\x01", COLUMNS[0], eof(), b"\xfd\x05\x00\x00hello", eof()),
    "no end behind the columns": packets(b"\x01", COLUMNS[0], row(b"1"), eof()),
    "an end that is too long": packets(b"\x01", COLUMNS[0], eof(), row(b"1"), eof() + b"\x00", eof()),
    "more than an answer": packets(b"\x01", COLUMNS[0], eof(), row(b"1"), eof()) + b"what nobody has asked for",
    "an empty packet": packets(b"\x01", COLUMNS[0], eof(), b"", eof()),
}


def take(answers: Answers, raw: Any) -> Any:
    """Take the answer that waits."""
    return answers.take(raw, raw._rfile.peek())


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


def test_as_many_columns_as_one_byte_counts_are_taken() -> None:
    """More are told in another way, which is the driver's."""
    data = packets(b"\xfa", *COLUMNS[:1] * 250, eof(), row(*[b"7"] * 250), eof())
    assert facts(take(Answers(pymysql), connection(data))) == facts(read_by_the_driver(connection(data)))


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
