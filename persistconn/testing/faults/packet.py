"""What is known, and may be told, of one packet."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Direction(Enum):
    """Which way a packet goes."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"

    @property
    def opposite(self) -> Direction:
        """The other way."""
        return Direction.TO_CLIENT if self is Direction.TO_SERVER else Direction.TO_SERVER


class Kind(Enum):
    """What a packet is, as far as an onlooker can tell."""

    # The connection phase.
    GREETING = "greeting"
    SSL_REQUEST = "ssl request"
    LOGIN = "login"
    AUTH_SWITCH = "auth switch"
    AUTH_MORE = "auth more data"
    AUTH_DATA = "auth data"
    # The client's commands.
    QUERY = "query"
    PING = "ping"
    QUIT = "quit"
    INIT_DB = "init db"
    CHANGE_USER = "change user"
    RESET_CONNECTION = "reset connection"
    PREPARE = "prepare"
    EXECUTE = "execute"
    FETCH = "fetch"
    LONG_DATA = "long data"
    CLOSE_STATEMENT = "close statement"
    RESET_STATEMENT = "reset statement"
    FIELD_LIST = "field list"
    STATISTICS = "statistics"
    BINLOG = "binlog dump"
    COMMAND = "another command"
    FILE_DATA = "file data"
    # The server's answers.
    OK = "ok"
    ERR = "err"
    EOF = "eof"
    PROGRESS = "progress"
    COLUMN_COUNT = "column count"
    COLUMN = "column"
    ROW = "row"
    PREPARED = "prepared"
    FILE_REQUEST = "file request"
    TEXT = "text"
    EVENT = "event"
    # Either way.
    CONTINUATION = "continuation"
    COMPRESSED = "compressed"
    TLS_HANDSHAKE = "tls handshake"
    TLS_DATA = "tls data"
    TLS_ALERT = "tls alert"
    TLS_OTHER = "other tls record"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Packet:
    """One packet of the trace; of what it carried, only the first two words of a statement are kept.

    `conversation` counts the connections from 1, `number` the packets of one direction of a conversation from 1.
    `sequence` is the protocol's own number, `length` the payload's bytes. `words` of a server's packet are those of
    the statement that it answers.
    """

    conversation: int
    direction: Direction
    number: int
    sequence: int | None
    kind: Kind
    words: str
    length: int

    def __str__(self) -> str:
        words = f" {self.words}" if self.words else ""
        return f"{self.conversation}: {self.direction.value} {self.number} {self.kind.value}{words} ({self.length} B)"


class Sighting(NamedTuple):
    """A packet as it comes by: `text` is the statement (or the one answered), `size` all its bytes on the wire.

    `statement` counts the statements of a conversation from 1: of a packet to the client, the one that it answers; 0 of
    one that belongs to none, a login say. `is_last` marks the packet that ends an answer.
    """

    packet: Packet
    text: str
    size: int
    statement: int = 0
    is_last: bool = False

    def __repr__(self) -> str:
        # The text may hold secrets: it is matched and forgotten.
        return f"<Sighting of {self.packet}>"
