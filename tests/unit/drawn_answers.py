"""Answers at random, as Hypothesis draws them: as nearly all are, or with whatever can become of them on their way."""

from __future__ import annotations

import functools
import itertools
import sys
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st
from pymysql.constants import FIELD_TYPE

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where packets stands

from packets import column, connection, eof, number, packets, row

LONGEST = 200_000
"""Bytes of the rows of one answer, so that a failing example is shrunk in no time."""
MORE = 0x0008
KINDS = sorted({kind for name, kind in vars(FIELD_TYPE).items() if name.isupper()})


REFUSED: dict[int, type[Exception]] = {0: IndexError, 3: IndexError, 5: OSError, 8: IndexError, 250: ValueError}
"""Values of which length a converter refuses, and with what: an error that a parser could take for its own."""


def refuse_some(value: Any) -> Any:
    """Convert, but not all values."""
    if len(value) in REFUSED:
        raise REFUSED[len(value)](value)
    return value


SETTINGS: dict[str, dict[str, Any]] = {
    "usual": {},
    "latin1": {"charset": "latin1"},
    "unconverted": {"conv": {}},
    "bytes": {"use_unicode": False, "conv": {}},
    "all converted": {"conv": dict.fromkeys(KINDS, repr)},
    "refusing": {"conv": dict.fromkeys(KINDS, refuse_some)},
}


class Given(NamedTuple):
    """What two connections find in their buffers, one after the other, and what each is like."""

    data: dict[str, bytes]
    """By what has become of it on its way."""
    turn: int
    buffer: int
    likes: tuple[str, str]

    def __repr__(self) -> str:
        return f"{' and '.join(self.likes)}, turn {self.turn}, a buffer of {self.buffer} bytes"

    def connect(self, like: str, data: bytes) -> Any:
        """Make a connection that finds such data."""
        return connection(data, turn=self.turn, buffer=min(self.buffer, len(data) + 1), **SETTINGS[like])


@functools.lru_cache(maxsize=None, typed=True)
def pick(*options: Any) -> st.SearchStrategy[Any]:
    """Return what draws one of them. Made anew for each draw, they would take most of the time."""
    return st.sampled_from(options)


# --- what a server may send ----------------------------------------------------------------------------------------------


def draw_number(draw: st.DrawFn) -> bytes:
    """Draw a length-encoded integer, now and then in more bytes than it takes."""
    width = draw(pick(1, 1, 2, 3, 8))
    return number(draw(pick(0, 1, 249, 250, *[256 ** (width - 1), 256**width - 1] if width > 1 else [])), width)


def draw_ok(draw: st.DrawFn, more: int) -> list[bytes]:
    """Draw an OK."""
    status = draw(pick(0, 1, 2, 3, 0x22, 0x4000, 0xFFF7)) | more
    warnings = draw(pick(0, 1, 255, 256, 32768, 65535))
    said = draw(pick(b"", b"", b"", b"Rows matched: 1  Changed: 0  Warnings: 0", b"\xfe" * 9))
    numbers = draw_number(draw) + draw_number(draw)
    return [b"\x00" + numbers + status.to_bytes(2, "little") + warnings.to_bytes(2, "little") + said]


WHOLE_NUMBERS, FRACTIONS = (b"0", b"-128", b"18446744073709551615", b"007"), (b"0", b"-1.50", b"1e30", b"9" * 65)
MOMENTS = (b"2026-03-29", b"2026-03-29 02:30:00.5", b"0000-00-00 00:00:00", b"-838:59:59.000001", b"25:61:00")
TEXTS = {
    **dict.fromkeys([FIELD_TYPE.TINY, FIELD_TYPE.SHORT, FIELD_TYPE.LONG, FIELD_TYPE.LONGLONG], WHOLE_NUMBERS),
    **dict.fromkeys([FIELD_TYPE.INT24, FIELD_TYPE.YEAR], WHOLE_NUMBERS),
    **dict.fromkeys([FIELD_TYPE.FLOAT, FIELD_TYPE.DOUBLE, FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL], FRACTIONS),
    **dict.fromkeys([FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP, FIELD_TYPE.TIME], MOMENTS),
}
"""Of the types whose values are converted."""
SIZES = (0, 1, 2, 7, 8, 249, 250, 251, 252, 253, 254, 255, 256, 257)
FILLINGS = (b"x", b"y", b"z", "é€😀".encode(), b"\xfb\xfc\xfd\xfe\xff", b"\x05\x00\x00\x07\xfe")


def draw_value(draw: st.DrawFn, kind: int, is_plain: bool) -> bytes | None:
    """Draw a value of a column: one that can be converted, or anything at all."""
    if kind in TEXTS and (is_plain or draw(pick(True, False))):
        value: bytes | None = draw(pick(None, *TEXTS[kind]))
        return value
    filling = b"ab\x00'" if is_plain else draw(pick(*FILLINGS))
    size = draw(pick(None, *SIZES, *SIZES, 65535, 1000 if is_plain else 65536))
    return None if size is None else (filling * (size // len(filling) + 1))[:size]


def draw_column(draw: st.DrawFn, kind: int) -> bytes:
    """Draw the description of a column; some end like the EOF that is looked for behind the rows."""
    name = draw(pick(b"id", "größe".encode(), b"", b"COUNT(*)", b"x" * 251))
    return column(name, kind, draw(pick(63, 45, 8, 33, 255)), draw(pick(5, 80, 2**32 - 1)))


def odd_row(*values: bytes | None) -> bytes:
    """Build a row whose lengths take more bytes than they have to, or begin with a byte that begins none."""
    odd = itertools.cycle([number, lambda size: b"\xff" + number(size % 65536, 2)[1:], lambda size: number(size, 8)])
    return b"".join(start(len(value)) + value for start, value in zip(odd, values, strict=False) if value is not None)


def draw_table(draw: st.DrawFn, more: int, is_plain: bool) -> list[bytes]:
    """Draw a set of rows, with its columns before it."""
    # Few things differ between many columns, and between many rows.
    times = draw(pick(*[1] * 16, 249, 250) if is_plain else pick(*[1] * 80, 250, 251, 256))
    kinds = [draw(pick(*KINDS)) for _ in range(draw(pick(1, 1, 2, 3, 6)) if times == 1 else 1)]
    described = [draw_column(draw, kind) for kind in kinds] * times
    some = [[draw_value(draw, kind, is_plain) for kind in kinds] * times for _ in range(draw(pick(0, 1, 2, 3)))]
    build = row if is_plain or draw(pick(True, True, True, False)) else odd_row
    rows = [build(*values) for values in some if sum(map(len, filter(None, values))) < LONGEST]
    rows *= draw(pick(1, 1, 1, 1, 100)) if sum(map(len, rows)) < LONGEST / 100 else 1
    status = [draw(pick(2, 3, 0x22)) | more for _ in range(2)]
    ends = eof(0, status[0]), eof(draw(pick(0, 1, 255, 32768, 65535)), status[1])
    return [number(len(described)), *described, ends[0], *rows, ends[1]]


def draw_answer(draw: st.DrawFn, more: int, is_plain: bool) -> list[bytes]:
    """Draw the packets of one answer."""
    return draw_table(draw, more, is_plain) if draw(pick(True, True, False)) else draw_ok(draw, more)


# --- what becomes of it on the way ---------------------------------------------------------------------------------------

ERRORS = (b"\xff\x15\x04#28000no", b"\xff\xbf\x0f#HY000idle", b"\xff\x00\x00no state", b"\xff")
MORE_BYTES = (b"\x00", packets(eof()), b"\x07\x00\x00\x09" + b"\x00" * 7)


def draw_place(draw: st.DrawFn, length: int) -> int:
    """Draw a place in what is so long, among the last ones as often as among all the others."""
    # No integer from a range without end: Hypothesis would take some from our sources, and each run would be another.
    percent, from_end = draw(pick(*range(100))), draw(pick(None, 1, 2, 3, 4))
    return percent * length // 100 if from_end is None else max(length - from_end, 0)


def draw_troubles(draw: st.DrawFn, payloads: list[bytes], turn: int) -> dict[str, bytes]:
    """Draw what may become of an answer: an error in the middle of it, a part that is missing, what no server sends."""
    at = draw_place(draw, len(payloads))
    packet = payloads[at]
    instead = {
        "whole": [packet],
        "an error": [draw(pick(*ERRORS))],
        "an empty packet": [b"", packet],
        "a packet twice": [packet, packet],
        "a packet too short": [packet[: -draw(pick(1, 2, 3, 4))]],
        "a packet too long": [packet + draw(pick(b"\x00", b"\xfb", b"\x02ab"))],
    }
    troubles = {name: packets(*payloads[:at], *new, *payloads[at + 1 :], turn=turn) for name, new in instead.items()}
    whole, more = troubles["whole"], draw(pick(*MORE_BYTES))
    where = draw_place(draw, len(whole))
    other = bytes([draw(pick(0, 1, 5, 0xFB, 0xFC, 0xFE, 0xFF))])
    return troubles | {
        "a packet lost": packets(*payloads[:at], turn=turn) + packets(*payloads[at + 1 :], turn=turn + at + 1),
        "cut": whole[:where],
        "another byte": whole[:where] + other + whole[where + 1 :],
        "more behind it": whole + more,
        "a packet too short, and more behind it": troubles["a packet too short"] + more,
    }


def draw_two(draw: st.DrawFn, *options: str) -> tuple[str, str]:
    """Draw what two connections are like: alike, or not."""
    first = draw(pick(*options))
    return first, draw(pick(first, *options))


TURNS = (1, 1, 1, 0, 250, 253, 254, 255)


@st.composite
def plain(draw: st.DrawFn) -> Given:
    """Draw one answer that is as nearly all are: it has arrived whole, and its values can be converted."""
    turn = draw(pick(*TURNS))
    data = packets(*draw_answer(draw, 0, is_plain=True), turn=turn)
    return Given({"whole": data}, turn, 1 << 24, draw_two(draw, *(like for like in SETTINGS if like != "refusing")))


@st.composite
def anything(draw: st.DrawFn) -> Given:
    """Draw answers behind each other, whole and broken, for connections with any settings."""
    turn, count = draw(pick(*TURNS)), draw(pick(1, 1, 1, 1, 1, 2, 3))
    flags = [MORE] * (count - 1) + [draw(pick(0, 0, 0, 0, 0, MORE))]
    payloads = [payload for more in flags for payload in draw_answer(draw, more, is_plain=False)]
    buffer = draw(pick(*[1 << 20] * 7, 8192, 300, 64))
    return Given(draw_troubles(draw, payloads, turn), turn, buffer, draw_two(draw, *SETTINGS, "refusing"))
