"""How the server answers a command: which of its packets is what, and which one is the last. No I/O."""

from __future__ import annotations

from enum import Enum

from persistconn.testing.faults.framing import LONGEST, Frame
from persistconn.testing.faults.packet import Kind

_OK, _LOCAL_INFILE, _EOF, _ERR = 0x00, 0xFB, 0xFE, 0xFF
_PROGRESS = 0xFFFF  # MariaDB's progress report comes as an error of this number
_CURSOR_EXISTS, _MORE_RESULTS = 0x0040, 0x0008  # status flags
_EOF_LIMIT = 9  # an EOF packet is shorter; a row that begins with the same byte is far longer


class Step(Enum):
    """What the answer's next packet will be."""

    FIRST = "first"
    DEFINITIONS = "definitions"
    ROWS = "rows"
    FILE = "file"
    EVENTS = "events"
    DONE = "done"


_BEGINNINGS = {Kind.FIELD_LIST: Step.ROWS, Kind.FETCH: Step.ROWS, Kind.BINLOG: Step.EVENTS}


class Answer:
    """The state of one answer. `brief` says that both peers do without EOF packets (CLIENT_DEPRECATE_EOF)."""

    def __init__(self, command: Kind, *, brief: bool) -> None:
        self._command = command
        self._brief = brief
        self._blocks: list[int] = []  # definitions that are still to come, block by block
        self._after = Step.ROWS
        self.step = _BEGINNINGS.get(command, Step.FIRST)

    def see(self, frame: Frame) -> Kind:
        """Tell what the server's next packet is, and go on to the step after it."""
        if frame.head[:1] == b"\xff":
            return self._see_error(frame)
        if self.step is Step.DEFINITIONS:
            return self._see_definition(frame)
        if self.step is Step.ROWS:
            return self._see_row(frame)
        if self.step is Step.EVENTS:
            return Kind.EVENT
        return self._see_first(frame)

    def end_file(self) -> None:
        """Note that the client has sent the last packet of a file; the verdict is next."""
        self.step = Step.FIRST

    def _see_error(self, frame: Frame) -> Kind:
        if int.from_bytes(frame.head[1:3], "little") == _PROGRESS:
            return Kind.PROGRESS
        self.step = Step.DONE
        return Kind.ERR

    def _see_first(self, frame: Frame) -> Kind:
        first = frame.head[0] if frame.head else _OK
        if self._command is Kind.STATISTICS:
            self.step = Step.DONE
            return Kind.TEXT
        if self._command is Kind.PREPARE and first == _OK:
            return self._see_prepared(frame)
        if first in {_OK, _EOF}:
            self._finish(_read_ok_status(frame) if first == _OK or self._brief else _read_eof_status(frame))
            return Kind.OK if first == _OK else Kind.EOF
        if first == _LOCAL_INFILE:
            self.step = Step.FILE
            return Kind.FILE_REQUEST
        self._expect([_count_columns(frame)], Step.ROWS)
        return Kind.COLUMN_COUNT

    def _see_prepared(self, frame: Frame) -> Kind:
        columns, parameters = (int.from_bytes(frame.head[at : at + 2], "little") for at in (5, 7))
        self._expect([count for count in (parameters, columns) if count], Step.DONE)
        return Kind.PREPARED

    def _expect(self, blocks: list[int], after: Step) -> None:
        """Wait for blocks of definitions, each with an EOF behind it unless the peers do without."""
        self._blocks = [count for count in blocks if count] if self._brief else blocks
        self._after = after
        self.step = Step.DEFINITIONS if self._blocks else after

    def _see_definition(self, frame: Frame) -> Kind:
        if self._blocks[0] == 0:
            self._next_block()
            if self._command is Kind.EXECUTE and _read_eof_status(frame) & _CURSOR_EXISTS:
                self.step = Step.DONE  # the rows are asked for one by one
            return Kind.EOF
        self._blocks[0] -= 1
        if self._brief and self._blocks[0] == 0:
            self._next_block()
        return Kind.COLUMN

    def _next_block(self) -> None:
        del self._blocks[0]
        if not self._blocks:
            self.step = self._after

    def _see_row(self, frame: Frame) -> Kind:
        limit = LONGEST if self._brief else _EOF_LIMIT
        if frame.head[:1] == b"\xfe" and frame.length < limit:
            self._finish(_read_ok_status(frame) if self._brief else _read_eof_status(frame))
            return Kind.EOF
        return Kind.COLUMN if self._command is Kind.FIELD_LIST else Kind.ROW

    def _finish(self, status: int) -> None:
        self.step = Step.FIRST if status & _MORE_RESULTS else Step.DONE


def _count_columns(frame: Frame) -> int:
    count, end = _read_number(frame.head, 0)
    # MariaDB leaves the definitions of a prepared statement out if the client knows them, and says so in one more byte.
    return 0 if frame.head[end : end + 1] == b"\x00" else count


def _read_ok_status(frame: Frame) -> int:
    _, after_rows = _read_number(frame.head, 1)
    _, after_id = _read_number(frame.head, after_rows)
    return int.from_bytes(frame.head[after_id : after_id + 2], "little")


def _read_eof_status(frame: Frame) -> int:
    return int.from_bytes(frame.head[3:5], "little")


def _read_number(data: bytes, start: int) -> tuple[int, int]:
    """Read a length-encoded integer; return it and where it ends."""
    first = data[start] if start < len(data) else 0
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first, 0)
    if not width:
        return first, start + 1
    end = start + 1 + width
    return int.from_bytes(data[start + 1 : end], "little"), end
