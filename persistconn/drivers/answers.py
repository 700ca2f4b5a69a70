"""The answer to a statement that has arrived whole, read at one go: PyMySQL's own reading is half the time of a short read.

PyMySQL reads each packet by itself, header and payload one by one, and describes the same columns anew in each answer.
What is not here, or in any way out of the ordinary, stays in the buffer and is the driver's: answers that are longer, or
have not come yet, errors, further results, values that are longer than 64 KiB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

_HEADER = 4  # bytes: the length, and the number in its turn
_OK, _EOF, _ERR = 0x00, 0xFE, 0xFF
_SHORTEST_OK, _EOF_SIZE = 7, 5
_EOF_HEADER = _EOF_SIZE.to_bytes(3, "little")
_MOST_COLUMNS = 250
"""In an answer: a byte of more means something else."""
_NULL, _TWO_BYTES = 0xFB, 0xFC
"""What a first byte means that is no length itself."""
_MORE_RESULTS = 0x0008
_MOST_HEADS = 1024


class _NotWhole(Exception):
    """The answer is not all here, or not as it is nearly always."""


class Head(NamedTuple):
    """What an answer says of its columns. Shared by all connections, and only read."""

    fields: tuple[Any, ...]
    description: tuple[Any, ...]
    kinds: tuple[tuple[str | None, int], ...]
    """Of each column: what its values are encoded in (None: left as bytes), and its type."""


class Answers:
    """Reads the whole answers of one driver module. Any thread.

    The columns of an answer are described once: the server sends the same bytes for the same columns each time. Two threads
    that describe the same ones do no harm.
    """

    def __init__(self, module: ModuleType) -> None:
        self._result_class: Any = module.connections.MySQLResult
        self._column_class: Any = module.protocol.FieldDescriptorPacket
        self._packet_class: Any = module.protocol.MysqlPacket
        self._unconverted: Any = module.converters.through
        self._heads: dict[tuple[bytes, str, bool], Head] = {}

    def take(self, raw: Any, data: bytes, *, with_rows: bool = True) -> Any:
        """Return the result that ``data`` is, the bytes that wait in a connection's buffer, and take it out of there.

        None if it is the driver's to read; ``with_rows`` off, what has rows is so too. Raises what a converter raises.
        """
        try:
            result, end, turn = self._parse(raw, data, with_rows)
        except (_NotWhole, IndexError):
            return None
        raw._rfile.read(end)
        raw._next_seq_id = turn
        return result

    def _parse(self, raw: Any, data: bytes, with_rows: bool) -> tuple[Any, int, int]:
        """Return the result, where it ends, and the number of the packet that would come next."""
        turn = raw._next_seq_id
        size, first = int.from_bytes(data[:3], "little"), data[_HEADER]
        if data[3] != turn or size + _HEADER > len(data):
            raise _NotWhole
        result = self._result_class(None)
        if size == 1 and 0 < first <= _MOST_COLUMNS and with_rows:
            result.field_count = first
            return (result, *self._read_rows(raw, data, result))
        if first != _OK or size < _SHORTEST_OK:
            raise _NotWhole
        _read_ok(data, size + _HEADER, result)
        return result, size + _HEADER, (turn + 1) % 256

    def _read_rows(self, raw: Any, data: bytes, result: Any) -> tuple[int, int]:
        if data[-_EOF_SIZE - _HEADER : -_EOF_SIZE - 1] != _EOF_HEADER or data[-_EOF_SIZE] != _EOF:
            raise _NotWhole  # Before a part of it is read in vain.
        end = 0
        for _ in range(result.field_count + 2):
            end += data[end] + (data[end + 1] << 8) + (data[end + 2] << 16) + _HEADER
        head = self._head(raw, data[:end], result.field_count)
        result.fields, result.description = list(head.fields), head.description
        converter_of, through = raw.decoders.get, self._unconverted
        result.converters = columns = [
            (encoding, None if (converter := converter_of(kind)) is through else converter)
            for encoding, kind in head.kinds
        ]
        rows, end, turn = _rows(data, end, (raw._next_seq_id + result.field_count + 2) % 256, columns)
        result.rows = tuple(rows)
        result.affected_rows = len(rows)
        result.warning_count = int.from_bytes(data[end - 4 : end - 2], "little", signed=True)
        result.has_next = 0
        return end, turn

    def _head(self, raw: Any, data: bytes, count: int) -> Head:
        key = data, raw.encoding, raw.use_unicode
        head = self._heads.get(key)
        if head is None:
            if len(self._heads) >= _MOST_HEADS:
                # Aliases that are made up anew in each statement.
                self._heads.clear()
            head = self._heads[key] = self._describe(raw, data, count)
        return head

    def _describe(self, raw: Any, data: bytes, count: int) -> Head:
        """Have the driver's own code describe the columns."""
        packets = _packets(data, raw._next_seq_id)
        next(packets)  # The number of columns.
        result = self._result_class(_Described(packets, raw, self._packet_class))
        result.field_count = count
        result._get_descriptions()
        result.connection = None
        return Head(tuple(result.fields), result.description, tuple(result.converters))


class _Described:
    """The connection as a result sees it that is to describe its columns; as a converter it is given the type itself."""

    def __init__(self, packets: Iterator[bytes], raw: Any, packet_class: Any) -> None:
        self.encoding, self.use_unicode = raw.encoding, raw.use_unicode
        self.decoders = _Itself()
        self._packets, self._packet_class = packets, packet_class

    def _read_packet(self, packet_type: Any = None) -> Any:
        packet = (packet_type or self._packet_class)(next(self._packets), self.encoding)
        if packet_type is None and not packet.is_eof_packet():
            raise _NotWhole
        return packet


class _Itself:
    def get(self, kind: int) -> int:
        return kind


def _packets(data: bytes, turn: int) -> Iterator[bytes]:
    """Yield the payloads of packets in their turn."""
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 3], "little")
        if data[at + 3] != turn or not size or data[at + _HEADER] == _ERR:
            break
        yield data[at + _HEADER : at + _HEADER + size]
        at, turn = at + _HEADER + size, (turn + 1) % 256
    raise _NotWhole


_Columns = list[tuple[str | None, Callable[[Any], Any] | None]]
"""Of each: what its values are encoded in, and what turns one into an object."""


def _rows(data: bytes, at: int, turn: int, columns: _Columns) -> tuple[list[tuple[Any, ...]], int, int]:
    """Return the rows, where the answer ends, and the number of the packet that would come next."""
    rows: list[tuple[Any, ...]] = []
    while True:
        end = at + data[at] + (data[at + 1] << 8) + (data[at + 2] << 16) + _HEADER
        if data[at + 3] != turn or end > len(data):
            raise _NotWhole
        at, turn = at + _HEADER, (turn + 1) % 256
        if data[at] == _EOF:
            if end - at != _EOF_SIZE or data[end - 2] & _MORE_RESULTS:
                raise _NotWhole
            return rows, end, turn
        rows.append(_row(data, at, end, columns))
        at = end


def _row(data: bytes, at: int, end: int, columns: _Columns) -> tuple[Any, ...]:
    row: list[Any] = []
    for encoding, convert in columns:
        size = data[at]
        at += 1
        if size >= _NULL:
            if size == _NULL:
                row.append(None)
                continue
            if size != _TWO_BYTES:
                raise _NotWhole
            size = data[at] + (data[at + 1] << 8)
            at += 2
        value: Any = data[at : at + size]
        at += size
        if at > end:  # Before it is converted: it is no value.
            raise _NotWhole
        if encoding is not None:
            value = value.decode(encoding)
        row.append(value if convert is None else convert(value))
    if at != end:
        raise _NotWhole
    return tuple(row)


def _read_ok(data: bytes, end: int, result: Any) -> None:
    """Read an OK: two numbers of some bytes each, the status and the warnings, and perhaps a text."""
    affected, at = _number(data, _HEADER + 1)
    insert_id, at = _number(data, at)
    if at + 4 > end:  # What is behind it is another packet's.
        raise _NotWhole
    status = data[at] + (data[at + 1] << 8)
    if status & _MORE_RESULTS:
        raise _NotWhole
    result.affected_rows, result.insert_id, result.server_status = affected, insert_id, status
    result.warning_count = data[at + 2] + (data[at + 3] << 8)
    result.message = data[at + 4 : end]
    result.has_next = 0


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a number of one to nine bytes, and where it ends."""
    first = data[at]
    if first < _NULL:
        return first, at + 1
    length = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
    if length is None:
        raise _NotWhole
    return int.from_bytes(data[at + 1 : at + 1 + length], "little"), at + 1 + length
