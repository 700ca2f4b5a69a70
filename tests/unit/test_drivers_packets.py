"""What the first packet of an answer brought along, taken from the buffer; and columns that are parsed once."""

from __future__ import annotations

import io
from typing import Any

import pytest

from persistconn.drivers.packets import Columns, ReadsAhead


class Payload:
    """A packet as the driver makes one."""

    def __init__(self, payload: bytes, encoding: str) -> None:
        self.payload, self.encoding = payload, encoding


class Column(Payload):
    """One that describes a column."""


class Driver:
    """Says that it was left to the driver."""

    def _read_packet(self, packet_type: Any) -> str:
        return f"the driver reads a {packet_type.__name__}"


class Reader(ReadsAhead, Driver):
    """A connection that has read the first packet of an answer; ``behind`` is what came with it."""

    packet_class = Payload
    encoding = "utf8"

    def __init__(self, behind: bytes, turn: int = 2) -> None:
        self.columns = Columns(Column)
        self._rfile, self._next_seq_id = io.BufferedReader(io.BytesIO(behind)), turn


def packet(turn: int, payload: bytes) -> bytes:
    """Build a packet."""
    return len(payload).to_bytes(3, "little") + bytes([turn]) + payload


def test_packets_that_came_along_are_taken_in_turn() -> None:
    """Their numbers go around after 255."""
    reader = Reader(packet(255, b"one") + packet(0, b"two"), turn=255)
    assert reader._read_packet().payload == b"one"
    assert reader._next_seq_id == 0


@pytest.mark.parametrize(
    "behind",
    [b"", packet(2, b"whole")[:6], packet(3, b"out of turn"), packet(2, b"\xff error"), packet(2, b"")],
    ids=["nothing", "a part", "out of turn", "an error", "an empty one"],
)
def test_all_else_is_the_driver_s(behind: bytes) -> None:
    """And is still there for it."""
    reader = Reader(behind)
    assert reader._read_packet(Column) == "the driver reads a Column"
    assert (reader._rfile.read(), reader._next_seq_id) == (behind, 2)


@pytest.mark.parametrize("turn", [0, 1])
def test_the_first_packet_is_the_driver_s(turn: int) -> None:
    """It is waited for, under a time limit."""
    assert Reader(packet(turn, b"first"), turn)._read_packet() == "the driver reads a Payload"


def test_a_lost_connection_is_the_driver_s() -> None:
    """It knows what to make of it."""
    reader = Reader(b"")
    reader._rfile = None
    assert reader._read_packet() == "the driver reads a Payload"


def test_a_column_is_parsed_once() -> None:
    """Another one, or the same in another encoding, is not taken for it."""
    columns = Columns(Column)
    column = columns.get(b"id", "utf8")
    assert columns.get(b"id", "utf8") is column
    assert columns.get(b"id", "latin1").encoding == "latin1"
    assert columns.get(b"x", "utf8").payload == b"x"


def test_columns_without_end_are_forgotten() -> None:
    """Aliases that are made up anew in each statement must not fill the memory."""
    columns = Columns(Column)
    for number in range(10_000):
        columns.get(b"%d" % number, "utf8")
    assert len(columns._known) <= 4096
