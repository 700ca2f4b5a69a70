"""From bytes to frames: where one packet ends and the next one begins, whatever pieces they come in. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

#: So much of a packet is looked at before it is forwarded, in bytes: a statement's text is matched within it.
PEEK = 4096

#: A packet of this length goes on in the next frame: three bytes cannot say more.
LONGEST = 0xFFFFFF


class Framing(Enum):
    """How the bytes of a connection are cut into frames; the value is the length of a frame's header."""

    MYSQL = 4
    TLS = 5
    COMPRESSED = 7


class Frame(NamedTuple):
    """The beginning of one frame: its header, the first bytes of what it carries, and the length of all that it carries."""

    framing: Framing
    header: bytes
    head: bytes
    length: int

    def __repr__(self) -> str:
        # The head may be that of a login, so it is shown nowhere.
        return f"<{self.framing.name} frame, {self.length} B>"

    @property
    def size(self) -> int:
        """All its bytes on the wire."""
        return len(self.header) + self.length

    @property
    def sequence(self) -> int | None:
        """The number that the peers have given to the packet (modulo 256); None for a TLS record, which shows none."""
        return None if self.framing is Framing.TLS else self.header[3]


class Piece(NamedTuple):
    """Bytes of one frame in the order in which they came; `frame` is set on the first piece of each."""

    data: bytes
    frame: Frame | None = None

    def __repr__(self) -> str:
        return f"<Piece of {len(self.data)} B, {self.frame}>"


class PacketReader:
    """Bytes in, frames out, for one direction of a connection.

    A frame is told as soon as its header and its first bytes (at most PEEK) have come, so a packet of 16 MB is never
    kept whole. `framing` may be changed after any frame and counts from the next one on.
    """

    def __init__(self, framing: Framing = Framing.MYSQL) -> None:
        self.framing = framing
        self._pending = bytearray()
        self._left = 0  # bytes of the frame under way that have not come yet

    def feed(self, data: bytes) -> Iterator[Piece]:
        """Yield the pieces that are complete enough; each must be looked at before the next, for `framing`'s sake."""
        self._pending += data
        while piece := self._next_piece():
            yield piece

    def rest(self) -> bytes:
        """Return what has been kept back of a frame that will never be complete, at the end of the stream."""
        return self._take(len(self._pending))

    def _next_piece(self) -> Piece | None:
        frame = None
        if not self._left:
            frame = self._open_frame()
            if frame is None:
                return None
            self._left = frame.size
        data = self._take(min(self._left, len(self._pending)))
        self._left -= len(data)
        return Piece(data, frame) if data else None

    def _open_frame(self) -> Frame | None:
        width = self.framing.value
        if len(self._pending) < width:
            return None
        header = bytes(self._pending[:width])
        length = _read_length(self.framing, header)
        end = width + min(PEEK, length)
        if len(self._pending) < end:
            return None
        return Frame(self.framing, header, bytes(self._pending[width:end]), length)

    def _take(self, count: int) -> bytes:
        data = bytes(self._pending[:count])
        del self._pending[:count]
        return data


def _read_length(framing: Framing, header: bytes) -> int:
    if framing is Framing.TLS:
        return int.from_bytes(header[3:5], "big")
    return int.from_bytes(header[:3], "little")
