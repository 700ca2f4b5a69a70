"""The conversation: each packet is named for what it is, and no secret is kept."""

from __future__ import annotations

import random
import struct

import pytest

from persistconn.testing.faults import Conversation, Direction, Frame, Framing, Kind, Sighting
from persistconn.testing.faults.conversation import first_words
from persistconn.testing.faults.framing import LONGEST

SSL, COMPRESS, DEPRECATE_EOF = 1 << 11, 1 << 5, 1 << 24
OFFERED = 0xFFFFFFFF
MORE_RESULTS, CURSOR_EXISTS = 8, 64

OK = b"\0\0\0\2\0\0\0"
EOF = b"\xfe\0\0\2\0"
ERR = b"\xff\x28\x04#42000no"


def ok(status: int) -> bytes:
    return b"\0\0\0" + struct.pack("<HH", status, 0)


def eof(status: int) -> bytes:
    return b"\xfe\0\0" + struct.pack("<H", status)


def brief_eof(status: int = 2) -> bytes:
    return b"\xfe\0\0" + struct.pack("<HH", status, 0)


class Talk:
    """Shows a conversation packets, and notes their kinds."""

    def __init__(self) -> None:
        self.conversation = Conversation(7)
        self.sightings: list[Sighting] = []

    def client(self, *payloads: bytes, sequence: int = 0) -> list[Kind]:
        return [self._show(Direction.TO_SERVER, payload, sequence) for payload in payloads]

    def server(self, *payloads: bytes) -> list[Kind]:
        return [self._show(Direction.TO_CLIENT, payload, at) for at, payload in enumerate(payloads, 1)]

    def long_one(self, direction: Direction, head: bytes) -> Kind:
        """Show a frame that says that it goes on in the next one."""
        header = b"\xff\xff\xff\0"
        sighting = self.conversation.see(direction, Frame(Framing.MYSQL, header, head, LONGEST))
        return sighting.packet.kind

    def _show(self, direction: Direction, payload: bytes, sequence: int) -> Kind:
        framing = self.conversation.framing
        if framing is Framing.TLS:
            frame = Frame(framing, payload[:1] + b"\3\3" + struct.pack(">H", 9), b"", 9)
        else:
            header = len(payload).to_bytes(3, "little") + bytes([sequence % 256]) + b"\0\0\0"
            frame = Frame(framing, header[: framing.value], payload, len(payload))
        sighting = self.conversation.see(direction, frame)
        self.sightings.append(sighting)
        return sighting.packet.kind


def greeting(offered: int = OFFERED) -> bytes:
    low, high = offered & 0xFFFF, offered >> 16
    return b"\x0a10.11.6-MariaDB\0" + b"\x29\0\0\0" + b"saltsalt\0" + struct.pack("<HBHH", low, 45, 2, high) + bytes(31)


def login(wanted: int = 0) -> bytes:
    return struct.pack("<IIB23x", wanted, LONGEST, 45) + b"root\0\x14hash-of-the-password-"


def logged_in(wanted: int = 0) -> Talk:
    talk = Talk()
    assert talk.server(greeting()) == [Kind.GREETING]
    assert talk.client(login(wanted), sequence=1) == [Kind.LOGIN]
    assert talk.server(OK) == [Kind.OK]
    return talk


def query(text: str) -> bytes:
    return b"\x03" + text.encode()


# --- the connection phase --------------------------------------------------------------------------------------------


def test_login_with_an_auth_switch() -> None:
    """Until the server's OK everything belongs to the login, a password or a key that goes to and fro included."""
    talk = Talk()
    talk.server(greeting())
    talk.client(login())
    assert talk.server(b"\xfecaching_sha2_password\0salt\0") == [Kind.AUTH_SWITCH]
    assert talk.client(b"\x03 not a query, but a hash") == [Kind.AUTH_DATA]
    assert talk.server(b"\x01\x04") == [Kind.AUTH_MORE]
    assert talk.client(b"password\0") == [Kind.AUTH_DATA]
    assert talk.server(OK) == [Kind.OK]
    assert talk.client(query("SELECT 1")) == [Kind.QUERY]


def test_refused_login() -> None:
    """A wrong password ends the login with an error."""
    talk = Talk()
    talk.server(greeting())
    talk.client(login())
    assert talk.server(ERR) == [Kind.ERR]


def test_error_instead_of_a_greeting() -> None:
    """A server with too many connections (1040) says so before any greeting."""
    assert Talk().server(b"\xff\x10\x04Too many connections") == [Kind.ERR]


def test_tls_is_counted_by_records() -> None:
    """After the request for TLS both directions are records, the numbers go on, and no text is known."""
    talk = Talk()
    talk.server(greeting())
    assert talk.client(login(SSL)[:32], sequence=1) == [Kind.SSL_REQUEST]
    assert talk.conversation.framing is Framing.TLS
    assert talk.client(b"\x16", b"\x17") == [Kind.TLS_HANDSHAKE, Kind.TLS_DATA]
    assert talk.server(b"\x16", b"\x14", b"\x17", b"\x15") == [
        Kind.TLS_HANDSHAKE,
        Kind.TLS_OTHER,
        Kind.TLS_DATA,
        Kind.TLS_ALERT,
    ]
    last = talk.sightings[-1]
    assert (last.packet.number, last.packet.sequence, last.text) == (5, None, "")


def test_compression_begins_behind_the_login() -> None:
    """A client that asked for compression speaks it from the server's OK on, if the server offers it."""
    talk = logged_in(COMPRESS)
    assert talk.conversation.framing is Framing.COMPRESSED
    assert talk.client(b"zzz") == [Kind.COMPRESSED]
    plain = Talk()
    plain.server(greeting(OFFERED & ~COMPRESS))
    plain.client(login(COMPRESS))
    plain.server(OK)
    assert plain.conversation.framing is Framing.MYSQL


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("payload", [b"\x0e", b"\x02test", b"\x1f", b"\x0d", query("INSERT INTO t VALUES (1)")])
def test_one_packet_answers_a_simple_command(payload: bytes) -> None:
    """OK or an error ends the answer: the next packet belongs to the next command."""
    talk = logged_in()
    for answer, kind in ((OK, Kind.OK), (ERR, Kind.ERR)):
        talk.client(payload)
        assert talk.server(answer) == [kind]
    talk.client(query("SELECT 1"))
    assert talk.server(b"\x01") == [Kind.COLUMN_COUNT]


RESULT = (b"\x02", b"\3def", b"\3def", EOF, b"\xfb\xfb", b"\0\0", EOF)
RESULT_KINDS = [Kind.COLUMN_COUNT, Kind.COLUMN, Kind.COLUMN, Kind.EOF, Kind.ROW, Kind.ROW, Kind.EOF]


def test_result_set() -> None:
    """Count, definitions, EOF, rows, EOF: rows that begin like another packet are rows all the same."""
    talk = logged_in()
    talk.client(query("SELECT a, b FROM t"))
    assert talk.server(*RESULT) == RESULT_KINDS
    assert {sighting.text for sighting in talk.sightings[-7:]} == {"SELECT a, b FROM t"}
    talk.client(b"\x0e")
    assert talk.server(OK) == [Kind.OK]


def test_result_set_of_peers_that_do_without_eof() -> None:
    """With CLIENT_DEPRECATE_EOF nothing stands between definitions and rows, and an OK in disguise ends them."""
    talk = logged_in(DEPRECATE_EOF)
    talk.client(query("SELECT a FROM t"))
    assert talk.server(b"\x01", b"\3def", b"\x01a", brief_eof()) == [
        Kind.COLUMN_COUNT,
        Kind.COLUMN,
        Kind.ROW,
        Kind.EOF,
    ]
    talk.client(b"\x0e")
    assert talk.server(OK) == [Kind.OK]


@pytest.mark.parametrize("wanted", [0, DEPRECATE_EOF])
def test_further_results_belong_to_the_same_answer(wanted: int) -> None:
    """As long as the server says that more results follow, the answer goes on: CALL, or several statements in one."""
    talk = logged_in(wanted)
    talk.client(query("CALL p()"))
    end = brief_eof(MORE_RESULTS) if wanted else eof(MORE_RESULTS)
    middle = () if wanted else (EOF,)
    talk.server(ok(MORE_RESULTS), b"\x01", b"\3def", *middle, b"\x01a", end)
    assert talk.server(OK) == [Kind.OK]
    talk.client(b"\x09")
    assert talk.server(b"Uptime: 7") == [Kind.TEXT]


def test_error_in_the_middle_of_rows() -> None:
    """A statement that is killed while it sends rows ends with an error."""
    talk = logged_in()
    talk.client(query("SELECT a FROM t"))
    assert talk.server(b"\x01", b"\3def", EOF, b"\x01a", ERR)[-1] is Kind.ERR
    talk.client(b"\x0e")
    assert talk.server(OK) == [Kind.OK]


def test_column_count_of_more_than_one_byte() -> None:
    """A result of 300 columns has 300 definitions."""
    talk = logged_in()
    talk.client(query("SELECT wide"))
    kinds = talk.server(b"\xfc\x2c\x01", *[b"\3def"] * 300, EOF, b"\x01a", EOF)
    assert kinds.count(Kind.COLUMN) == 300
    assert kinds[-2:] == [Kind.ROW, Kind.EOF]


def test_progress_reports_do_not_end_an_answer() -> None:
    """MariaDB tells the progress of ALTER TABLE in errors of a number that is none."""
    talk = logged_in()
    talk.client(query("ALTER TABLE t FORCE"))
    assert talk.server(b"\xff\xff\xff\x01\x01\x02", OK) == [Kind.PROGRESS, Kind.OK]


def test_local_file() -> None:
    """LOAD DATA LOCAL turns the roles: the client sends a file, an empty packet ends it, the server's verdict follows."""
    talk = logged_in()
    talk.client(query("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"))
    assert talk.server(b"\xfb/tmp/f") == [Kind.FILE_REQUEST]
    assert talk.client(b"\x03 SELECT of a file", b"") == [Kind.FILE_DATA, Kind.FILE_DATA]
    assert talk.server(OK) == [Kind.OK]
    assert talk.client(query("SELECT 1")) == [Kind.QUERY]


def test_prepared_statements() -> None:
    """PREPARE is answered by definitions of parameters and columns, EXECUTE as a query is, FETCH by rows alone."""
    talk = logged_in()
    assert talk.client(b"\x16SELECT a FROM t WHERE b = ?") == [Kind.PREPARE]
    prepared = b"\0" + struct.pack("<IHHxH", 1, 1, 1, 0)
    assert talk.server(prepared, b"\3def", EOF, b"\3def", EOF) == [
        Kind.PREPARED,
        Kind.COLUMN,
        Kind.EOF,
        Kind.COLUMN,
        Kind.EOF,
    ]
    assert talk.client(b"\x18\1\0\0\0\0\0x", b"\x17\1\0\0\0\1\1\0\0\0") == [Kind.LONG_DATA, Kind.EXECUTE]
    assert talk.server(b"\x01", b"\3def", eof(CURSOR_EXISTS))[-1] is Kind.EOF
    assert talk.client(b"\x1c\1\0\0\0\1\0\0\0") == [Kind.FETCH]
    assert talk.server(b"\0\0\1a", EOF) == [Kind.ROW, Kind.EOF]
    assert talk.client(b"\x19\1\0\0\0", b"\x0e") == [Kind.CLOSE_STATEMENT, Kind.PING]
    assert talk.server(OK) == [Kind.OK]


def test_prepared_statement_without_parameters_or_columns() -> None:
    """Its answer is one packet."""
    talk = logged_in()
    talk.client(b"\x16COMMIT", b"\x0e")
    assert talk.server(b"\0" + struct.pack("<IHHxH", 1, 0, 0, 0), OK) == [Kind.PREPARED, Kind.OK]


def test_metadata_that_the_client_knows_is_left_out() -> None:
    """MariaDB marks a count whose definitions it does not send again."""
    talk = logged_in(DEPRECATE_EOF)
    talk.client(b"\x17\1\0\0\0\0\1\0\0\0")
    assert talk.server(b"\x01\0", b"\0\0\1a", brief_eof()) == [Kind.COLUMN_COUNT, Kind.ROW, Kind.EOF]


def test_commands_in_a_row_are_answered_in_turn() -> None:
    """A client that does not wait for answers gets them in order, and each is named by its own command."""
    talk = logged_in()
    talk.client(query("INSERT INTO a VALUES (1)"), query("UPDATE b SET c = 1"), b"\x01")
    talk.server(OK, OK)
    assert [sighting.packet.words for sighting in talk.sightings[-2:]] == ["INSERT INTO", "UPDATE B"]


def test_change_user_is_a_login_again() -> None:
    """COM_CHANGE_USER asks for a password as a login does, and commands follow its OK."""
    talk = logged_in()
    assert talk.client(b"\x11root\0") == [Kind.CHANGE_USER]
    assert talk.server(b"\xfemysql_native_password\0salt\0") == [Kind.AUTH_SWITCH]
    assert talk.client(b"\x03hash") == [Kind.AUTH_DATA]
    assert talk.server(OK) == [Kind.OK]
    assert talk.client(b"\x0e") == [Kind.PING]


def test_error_that_nobody_asked_for() -> None:
    """MySQL says 4031 before it ends an idle session."""
    assert logged_in().server(b"\xff\xbf\x0f#HY000idle") == [Kind.ERR]


def test_packet_of_over_16_mb_goes_on_in_the_next_frame() -> None:
    """The frames behind the first one are continuations, whatever they begin with; the statement is named by the first."""
    talk = logged_in()
    assert talk.long_one(Direction.TO_SERVER, query("INSERT INTO t VALUES ('...")) is Kind.QUERY
    assert talk.client(b"\x01 not COM_QUIT", sequence=1) == [Kind.CONTINUATION]
    assert talk.server(OK) == [Kind.OK]
    assert talk.sightings[-1].packet.words == "INSERT INTO"
    talk.client(query("SELECT b FROM t"))
    talk.server(b"\x01", b"\3def", EOF)
    assert talk.long_one(Direction.TO_CLIENT, b"\xfe\0\0\0\1") is Kind.ROW
    assert talk.server(b"\xfe", EOF) == [Kind.CONTINUATION, Kind.EOF]


@pytest.mark.parametrize("seed", range(50))
def test_nothing_upsets_it(seed: int) -> None:
    """Frames that make no sense are named somehow, and counted all the same."""
    rng = random.Random(seed)
    talk = logged_in(rng.choice([0, DEPRECATE_EOF]))
    before = len(talk.sightings)
    for _ in range(300):
        payload = bytes([rng.choice([0, 1, 3, 0x16, 0x17, 0x1C, 0xFB, 0xFE, 0xFF]), *rng.randbytes(rng.randrange(12))])
        payload = payload[: rng.randrange(len(payload) + 1)]
        assert (talk.client if rng.random() < 0.5 else talk.server)(payload)
    assert len(talk.sightings) == before + 300


# --- what is told ----------------------------------------------------------------------------------------------------


def test_packets_are_numbered_by_direction() -> None:
    """Each direction counts from 1; sequence and length are those of the wire."""
    talk = logged_in()
    talk.client(query("SELECT 1"))
    last = talk.sightings[-1].packet
    assert (last.conversation, last.direction, last.number, last.sequence, last.length) == (
        7,
        Direction.TO_SERVER,
        2,
        0,
        9,
    )
    assert str(last) == "7: to the server 2 query SELECT (9 B)"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("commit", "COMMIT"),
        ("  INSERT\n INTO t VALUES ('secret')", "INSERT INTO"),
        ("/* trace=42 */ /* b */ SELECT 1", "SELECT"),
        ("-- why\n# how\nUPDATE t SET a = 'secret'", "UPDATE T"),
        ("(SELECT a FROM t)", "SELECT A"),
        ("SELECT 'secret'", "SELECT"),
        ("SELECT secret_of_more_than_32_letters_which_may_be_a_token", "SELECT"),
        ("INSERT INTO t2", "INSERT INTO"),
        ("DELETE t2", "DELETE T2"),
        ("/**/" * 1000 + "'secret'", ""),
        ("SET PASSWORD='secret'", "SET PASSWORD"),
        ("SET PASSWORD = PASSWORD('secret')", "SET PASSWORD"),
        ("'secret'", ""),
        ("/* never closed", ""),
        ("", ""),
    ],
)
def test_two_bare_words_are_kept_of_a_statement(statement: str, words: str) -> None:
    """Never a literal, which may be a password, and never a comment."""
    assert first_words(statement) == words


def test_no_secret_is_shown() -> None:
    """Neither the statement nor the login appears in the repr of what is passed around."""
    talk = logged_in()
    talk.client(query("SET PASSWORD = 'secret'"))
    talk.server(OK)
    shown = repr([talk.sightings, talk.conversation.__dict__, [sighting.packet for sighting in talk.sightings]])
    assert "secret" not in shown
    assert "hash-of" not in shown
