"""What PyMySQL makes of a server that says goodbye before it has read the statement."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pymysql
import pytest

from persistconn.drivers import Driver, Fault, driver_for


@pytest.fixture(params=[True, False], ids=["fast_reads", "driver_reads"])
def driver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """PyMySQL's; where it is to read by itself, ours is not even made."""
    if not request.param:
        monkeypatch.setattr("persistconn.drivers.pymysql_raw.Answers", None)
    return driver_for(pymysql, fast_reads=request.param)


@pytest.fixture
def ends(driver: Driver) -> Iterator[tuple[Any, socket.socket]]:
    """A raw connection as it is after its login, and the server's end of its socket."""
    ours, theirs = socket.socketpair()
    raw = driver._raw_class(user="nobody", defer_connect=True, ssl_disabled=True)  # type: ignore[attr-defined]
    raw._sock, raw._rfile, raw._current_timeout = ours, ours.makefile("rb"), None
    with ours, theirs:
        yield raw, theirs
        driver.abandon(raw)


def error_packet(sequence: int, code: int) -> bytes:
    """Build an error as the server sends it."""
    payload = b"\xff" + code.to_bytes(2, "little") + b"#HY000" + b"the server's own words"
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def fault_of(driver: Driver, raw: Any) -> Fault:
    """Send a statement and return what its failure means."""
    with pytest.raises(pymysql.Error) as caught:
        raw.query("INSERT INTO t VALUES (1)")
    return driver.classify(raw, caught.value)


@pytest.mark.parametrize("code", [4031, 1053, 1927])
def test_error_that_was_sent_before_the_statement_is_definite(
    driver: Driver, ends: tuple[Any, socket.socket], code: int
) -> None:
    """Its sequence number is 0; PyMySQL calls it 2013."""
    raw, server = ends
    server.sendall(error_packet(0, code))
    assert fault_of(driver, raw) is Fault.DEFINITE
    assert raw.goodbye == code


def test_end_without_a_word_is_ambiguous(driver: Driver, ends: tuple[Any, socket.socket]) -> None:
    """The statement may have been executed."""
    raw, server = ends
    server.shutdown(socket.SHUT_WR)
    assert fault_of(driver, raw) is Fault.AMBIGUOUS


@pytest.mark.parametrize("length", range(1, 13))
def test_error_that_was_cut_is_ambiguous(driver: Driver, ends: tuple[Any, socket.socket], length: int) -> None:
    """Nobody knows whose it was, unless it is there as far as its number and state."""
    raw, server = ends
    server.sendall(error_packet(1, 4031)[:length])
    server.shutdown(socket.SHUT_WR)
    assert fault_of(driver, raw) is Fault.AMBIGUOUS


def test_error_in_answer_to_the_statement_is_taken_as_such(driver: Driver, ends: tuple[Any, socket.socket]) -> None:
    """Its sequence number is 1."""
    raw, server = ends
    server.sendall(error_packet(1, 1062))
    assert fault_of(driver, raw) is Fault.NONE
    assert raw.goodbye is None


def test_goodbye_after_the_first_packet_of_an_answer_is_ambiguous(
    driver: Driver, ends: tuple[Any, socket.socket]
) -> None:
    """The server had read the statement: it had begun to answer."""
    raw, server = ends
    server.sendall(b"\x01\x00\x00\x01\x01" + error_packet(0, 1053))
    assert fault_of(driver, raw) is Fault.AMBIGUOUS


@pytest.mark.parametrize("error", [pymysql.err.InterfaceError(0, ""), pymysql.err.Error("Already closed")])
def test_what_has_no_connection_any_more_was_not_sent(
    driver: Driver, ends: tuple[Any, socket.socket], error: Exception
) -> None:
    """PyMySQL says so in two ways, one of them without a number."""
    assert driver.classify(ends[0], error) is Fault.DEFINITE


@pytest.mark.parametrize("tls", [None, {"check_hostname": False}])
def test_tls_context_is_built_once_for_the_same_settings(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, tls: dict[str, Any] | None
) -> None:
    """PyMySQL builds one for each connection, and loads all that the system trusts into it."""
    monkeypatch.setattr("persistconn.drivers.pymysql_raw._contexts", {})
    make = driver._raw_class  # type: ignore[attr-defined]
    contexts = [make(user="nobody", ssl=tls, defer_connect=True).ctx for _ in range(3)]
    assert len(set(map(id, contexts))) == 1
    assert make(user="nobody", ssl={"check_hostname": True}, defer_connect=True).ctx is not contexts[0]
