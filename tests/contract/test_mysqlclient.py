"""What is mysqlclient's alone: a library that closes descriptors unasked, and does not hand out its status."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from persistconn.drivers import Driver, Fault, driver_for, status
from persistconn.errors import ConfigError
from persistconn.testing import eventually

pytestmark = [pytest.mark.server, pytest.mark.parametrize("module", ["MySQLdb"], indirect=True)]

Connect = Callable[..., Any]


def run(raw: Any, sql: str) -> Any:
    """Run a statement and return its rows."""
    with raw.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def test_descriptor_that_is_somebody_else_s_now_is_left_alone(
    driver: Driver, connect: Connect, arguments: dict[str, Any], contract_server: Any
) -> None:
    """The library closes its own when the connection is lost, and goes on naming the number."""
    raw = connect(arguments)
    number = raw.fileno()
    contract_server.kill_session(driver.session_id(raw))
    eventually(lambda: driver.hung_up(raw))
    with pytest.raises(driver.module.OperationalError):
        raw.query("SELECT 1")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stranger = (
            os.dup(ours.fileno()) if number in (ours.fileno(), theirs.fileno()) else os.dup2(ours.fileno(), number)
        )
        driver.abandon(raw)
        driver.quit(raw)
        ours.sendall(b"still here")
        assert theirs.recv(100) == b"still here"
        os.fstat(number)
        os.close(stranger)


@pytest.mark.parametrize("told", [True, False])
def test_transaction_is_known_whether_or_not_the_library_tells(
    driver: Driver, connect: Connect, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    """MariaDB's library has a function for the flags; with Oracle's they are concluded from the statements."""
    if not told:
        monkeypatch.setattr(status, "open_reader", lambda c_module, raw: None)
    raw = connect(arguments)
    assert not driver.in_transaction(raw)
    assert driver.autocommits(raw)
    for begin, end in ((raw.begin, raw.commit), (lambda: run(raw, "START TRANSACTION"), lambda: run(raw, "ROLLBACK"))):
        begin()
        assert driver.in_transaction(raw)
        run(raw, "INSERT INTO t (x) VALUES (1)")
        assert driver.in_transaction(raw)
        end()
        assert not driver.in_transaction(raw)
    raw.autocommit(False)
    assert not driver.in_transaction(raw)
    assert not driver.autocommits(raw)
    run(raw, "SELECT * FROM t FOR UPDATE")
    assert driver.in_transaction(raw)
    raw.commit()
    assert not driver.in_transaction(raw)
    run(raw, "SELECT * FROM t")
    run(raw, "SET autocommit = 1")
    assert not driver.in_transaction(raw)
    with raw.cursor() as cursor:
        cursor.execute("SELECT 1; SELECT 2")
        assert driver.has_unread(raw)
        cursor.nextset()
        assert not driver.has_unread(raw)


def test_statement_while_rows_are_streamed_is_refused_and_harms_nothing(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """The library's 2014: nothing was sent. PyMySQL drops the rows instead."""
    raw = connect(arguments)
    streaming = driver.cursor(raw, driver.module.cursors.SSCursor)
    streaming.execute("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
    assert streaming.fetchone() == (1,)
    with pytest.raises(driver.module.ProgrammingError) as caught:
        raw.query("SELECT 4")
    assert driver.classify(raw, caught.value) is Fault.NONE
    assert driver.has_unread(raw)
    assert streaming.fetchall() == ((2,), (3,))
    assert run(raw, "SELECT 4") == ((4,),)


def test_version_before_2_2_is_refused(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the one that it is."""
    monkeypatch.setattr(module, "version_info", (2, 1, 1, "final", 0))
    with pytest.raises(ConfigError, match=r"mysqlclient \(2\.1\.1\) must be 2\.2 or newer"):
        driver_for(module)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
@pytest.mark.parametrize("act", ["quit", "collect"])
def test_forked_child_lets_go_without_disturbing_its_parent(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], act: str
) -> None:
    """The library would say goodbye on the shared socket, also when the child collects what it does not know of."""
    raw = connect(arguments_over)
    run(raw, "BEGIN")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if act == "quit":
                driver.quit(raw)
            else:
                raw.__del__()
                super(type(raw), raw).close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert run(raw, "SELECT 41 + 1") == ((42,),)
    assert driver.in_transaction(raw)


@pytest.mark.parametrize("charset", ["gbk", "big5", "sjis"])
def test_escaping_without_a_connection_is_refused_where_it_could_be_wrong(
    driver: Driver, connect: Connect, arguments: dict[str, Any], charset: str
) -> None:
    """In these charsets a character can end in a backslash, and the library would not know."""
    raw = connect(arguments, charset=charset)
    driver.quit(raw)
    with pytest.raises(driver.module.OperationalError):
        raw.literal("\u8a31' OR 1=1 --")
    assert raw.literal(7) == b"7"
