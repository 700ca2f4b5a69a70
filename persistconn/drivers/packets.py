"""The packets of an answer that PyMySQL reads one by one in Python: a third of the time of a read by primary key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_HEADER = 4  # bytes: the length, and the number in its turn
_ERR = 0xFF
_MOST_COLUMNS = 4096


class Columns:
    """The descriptions of columns, each parsed once: the server sends the same bytes for the same column each time.

    Shared by all connections of the process. They are only read; two threads that parse the same one do no harm.
    """

    def __init__(self, column_class: Callable[[bytes, str], Any]) -> None:
        self.column_class = column_class
        self._known: dict[tuple[bytes, str], Any] = {}

    def get(self, payload: bytes, encoding: str) -> Any:
        """Return the description that these bytes are."""
        key = payload, encoding
        column = self._known.get(key)
        if column is None:
            if len(self._known) >= _MOST_COLUMNS:
                # Aliases that are made up anew in each statement.
                self._known.clear()
            column = self._known[key] = self.column_class(payload, encoding)
        return column


class ReadsAhead:
    """A base for PyMySQL's connection: what the first packet of an answer has brought along is taken from the buffer.

    PyMySQL reads header and payload of each packet one by one, with their time limit set anew.
    """

    packet_class: Any
    columns: Columns
    encoding: str
    _next_seq_id: int
    _rfile: Any

    def _read_packet(self, packet_type: Any = None) -> Any:
        kind, turn = packet_type or self.packet_class, self._next_seq_id
        # The first packet is waited for under the time limit that it sets; the next ones under the same.
        if turn > 1:
            try:
                waiting = self._rfile.peek()
            except (OSError, AttributeError):
                waiting = b""  # Lost: the driver's own read meets it again, and knows what to make of it.
            size = int.from_bytes(waiting[:3], "little") + _HEADER
            # Whole, in its turn, and no error; all else is the driver's.
            if _HEADER < size <= len(waiting) and waiting[3] == turn and waiting[_HEADER] != _ERR:
                self._next_seq_id = (turn + 1) % 256
                payload = self._rfile.read(size)[_HEADER:]
                return (self.columns.get if kind is self.columns.column_class else kind)(payload, self.encoding)
        return super()._read_packet(kind)  # type: ignore[misc]  # the driver's
