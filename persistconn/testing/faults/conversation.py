"""Both directions of one connection, packet by packet: what each one is. No I/O."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from persistconn.testing.faults.answers import Answer, Step
from persistconn.testing.faults.framing import LONGEST, Frame, Framing
from persistconn.testing.faults.packet import Direction, Kind, Packet, Sighting

_CLIENT_COMPRESS, _CLIENT_SSL, _CLIENT_DEPRECATE_EOF, _CLIENT_ZSTD = 1 << 5, 1 << 11, 1 << 24, 1 << 26
_SSL_REQUEST_LENGTH = 32  # a login cut off before the user's name

_COMMANDS = {
    0x01: Kind.QUIT,
    0x02: Kind.INIT_DB,
    0x03: Kind.QUERY,
    0x04: Kind.FIELD_LIST,
    0x09: Kind.STATISTICS,
    0x0E: Kind.PING,
    0x11: Kind.CHANGE_USER,
    0x12: Kind.BINLOG,
    0x16: Kind.PREPARE,
    0x17: Kind.EXECUTE,
    0x18: Kind.LONG_DATA,
    0x19: Kind.CLOSE_STATEMENT,
    0x1A: Kind.RESET_STATEMENT,
    0x1C: Kind.FETCH,
    0x1E: Kind.BINLOG,
    0x1F: Kind.RESET_CONNECTION,
    0xFA: Kind.EXECUTE,  # MariaDB's bulk form
}
_STATEMENTS = frozenset({Kind.QUERY, Kind.EXECUTE})
_UNANSWERED = frozenset({Kind.QUIT, Kind.LONG_DATA, Kind.CLOSE_STATEMENT, Kind.CHANGE_USER})
_AUTH_ANSWERS = {0x00: Kind.OK, 0x01: Kind.AUTH_MORE, 0xFE: Kind.AUTH_SWITCH, 0xFF: Kind.ERR}
_TLS_KINDS = {21: Kind.TLS_ALERT, 22: Kind.TLS_HANDSHAKE, 23: Kind.TLS_DATA}

#: Comments and brackets before a statement, then at most two bare words: never a literal, which may be a password.
#: Each part has one way to match: a lazy `.*?` would try all ways to split a thousand comments.
_COMMENT = r"/\*(?:[^*]|\*(?!/))*\*/|--[^\n]*\n|#[^\n]*\n"
_WORD = r"([A-Za-z_]\w{0,31})(?!\w)"
_WORDS = re.compile(rf"(?:\s|\(|{_COMMENT})*{_WORD}(?:\s+{_WORD})?", re.ASCII)


class _Phase(Enum):
    """What the client may say next."""

    GREETING = "nothing before the greeting"
    LOGIN = "a login"
    AUTH = "what the login asks for"
    COMMANDS = "a command"


class _Statement(NamedTuple):
    """The text of a command, to be matched, and the words of it that may be kept."""

    text: str
    words: str

    def __repr__(self) -> str:
        return f"<{self.words or 'no statement'}>"


class _Command(NamedTuple):
    """A command that the server has not fully answered yet; `ordinal` is 0 of one that is no statement."""

    statement: _Statement
    answer: Answer
    ordinal: int


@dataclass
class _Way:
    """What is counted in one direction."""

    number: int = 0
    continues: bool = False  # the next frame belongs to the packet before it


_NONE = _Statement("", "")


class Conversation:
    """The state machine of one connection: shown each frame, in the order in which they come by, it names the packet.

    It never refuses: what it cannot make out is UNKNOWN, and the frames go on being counted.
    """

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.framing = Framing.MYSQL
        self._to_server, self._to_client = _Way(), _Way()
        self._phase = _Phase.GREETING
        self._offered = 0  # capabilities of the server
        self._agreed = 0  # capabilities that both have
        self._commands: deque[_Command] = deque()
        self._statements = 0

    def see(self, direction: Direction, frame: Frame) -> Sighting:
        """Name the next packet of a direction; `framing` is afterwards what both directions speak from then on."""
        is_client = direction is Direction.TO_SERVER
        way = self._to_server if is_client else self._to_client
        way.number += 1
        answered, ordinal = (self._commands[0].statement, self._commands[0].ordinal) if self._commands else (_NONE, 0)
        open_before = len(self._commands)
        kind = self._classify(way, frame)
        is_last = len(self._commands) < open_before
        statement = _read_statement(kind, frame) if is_client else answered
        if is_client:
            ordinal = self._statements if kind in _STATEMENTS else 0
        # By position: a large result is a hundred thousand of these.
        packet = Packet(self.number, direction, way.number, frame.sequence, kind, statement.words, frame.length)
        return Sighting(packet, statement.text, frame.size, ordinal, is_last)

    def _classify(self, way: _Way, frame: Frame) -> Kind:
        if frame.framing is Framing.TLS:
            return _TLS_KINDS.get(frame.header[0], Kind.TLS_OTHER)
        if frame.framing is Framing.COMPRESSED:
            return Kind.COMPRESSED
        is_continuation, way.continues = way.continues, frame.length == LONGEST
        if is_continuation:
            return Kind.CONTINUATION
        return self._see_client(frame) if way is self._to_server else self._see_server(frame)

    # --- what the client says --------------------------------------------------------------------------------------

    def _see_client(self, frame: Frame) -> Kind:
        if self._phase is _Phase.AUTH:
            return Kind.AUTH_DATA
        if self._phase is not _Phase.COMMANDS:
            return self._see_login(frame)
        if self._commands and self._commands[0].answer.step is Step.FILE:
            if not frame.length:
                self._commands[0].answer.end_file()
            return Kind.FILE_DATA
        return self._see_command(frame)

    def _see_login(self, frame: Frame) -> Kind:
        wanted = int.from_bytes(frame.head[:4], "little")
        if frame.length == _SSL_REQUEST_LENGTH and wanted & _CLIENT_SSL:
            self.framing = Framing.TLS
            return Kind.SSL_REQUEST
        self._agreed = wanted & self._offered
        self._phase = _Phase.AUTH
        return Kind.LOGIN

    def _see_command(self, frame: Frame) -> Kind:
        kind = _COMMANDS.get(frame.head[0], Kind.COMMAND) if frame.head else Kind.UNKNOWN
        if kind is Kind.CHANGE_USER:
            self._phase = _Phase.AUTH  # answered as a login is
        self._statements += kind in _STATEMENTS
        if kind not in _UNANSWERED:
            answer = Answer(kind, brief=bool(self._agreed & _CLIENT_DEPRECATE_EOF))
            ordinal = self._statements if kind in _STATEMENTS else 0
            self._commands.append(_Command(_read_statement(kind, frame), answer, ordinal))
        return kind

    # --- what the server says --------------------------------------------------------------------------------------

    def _see_server(self, frame: Frame) -> Kind:
        if self._phase is _Phase.GREETING:
            return self._see_greeting(frame)
        if self._phase is _Phase.AUTH:
            return self._see_auth(frame)
        if not self._commands:
            # Unasked: the server says why it hangs up (MySQL's 4031), or the login was none that we know.
            return Kind.ERR if frame.head[:1] == b"\xff" else Kind.UNKNOWN
        answer = self._commands[0].answer
        kind = answer.see(frame)
        if answer.step is Step.DONE:
            self._commands.popleft()
        return kind

    def _see_greeting(self, frame: Frame) -> Kind:
        if frame.head[:1] == b"\xff":
            return Kind.ERR  # too many connections, or a host that is blocked
        self._phase = _Phase.LOGIN
        self._offered = _read_capabilities(frame.head)
        return Kind.GREETING

    def _see_auth(self, frame: Frame) -> Kind:
        kind = _AUTH_ANSWERS.get(frame.head[0], Kind.UNKNOWN) if frame.head else Kind.UNKNOWN
        if kind is Kind.OK:
            self._phase = _Phase.COMMANDS
            if self._agreed & (_CLIENT_COMPRESS | _CLIENT_ZSTD):
                self.framing = Framing.COMPRESSED
        return kind


def first_words(text: str) -> str:
    """Return the first two bare words of a statement in capitals, without the comments before them."""
    found = _WORDS.match(text)
    return " ".join(word.upper() for word in found.groups() if word) if found else ""


def _read_statement(kind: Kind, frame: Frame) -> _Statement:
    if kind is not Kind.QUERY and kind is not Kind.PREPARE:
        return _NONE
    text = frame.head[1:].decode("utf-8", "replace")
    return _Statement(text, first_words(text))


def _read_capabilities(greeting: bytes) -> int:
    """Return the server's capabilities: two bytes behind version, session id and salt, and two more further on."""
    at = greeting.find(b"\0", 1) + 1 + 4 + 8 + 1
    return int.from_bytes(greeting[at : at + 2] + greeting[at + 5 : at + 7], "little")
