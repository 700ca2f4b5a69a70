"""The session behind `ask()` is opened again whenever it was lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pymysql
import pytest

from persistconn.testing import AnyServer, eventually
from persistconn.testing.asking import OwnSession
from persistconn.testing.servers import Server

pytestmark = pytest.mark.server

PATIENCE = 60.0
"""Seconds until a test gives up waiting for the server."""


@pytest.fixture
def own(mysql: AnyServer) -> Iterator[OwnSession]:
    """A connected session like the one behind `mysql.ask()`."""
    own = OwnSession(mysql.admin)
    own.ask("SELECT 1")
    yield own
    own.close()


def identify(own: OwnSession) -> int:
    return int(own.ask("SELECT CONNECTION_ID()")[0][0])


def kill(mysql: AnyServer, session: int) -> None:
    mysql.kill_session(session)
    eventually(lambda: session not in {one.id for one in mysql.processlist()}, PATIENCE)


def expire(mysql: AnyServer, own: OwnSession) -> None:
    session = identify(own)
    own.ask("SET SESSION wait_timeout = 1")
    eventually(lambda: session not in {one.id for one in mysql.processlist()}, PATIENCE)


def break_the_wire(mysql: AnyServer, own: OwnSession) -> None:
    assert own._session is not None
    own._session._force_close()


ENDS: dict[str, Callable[[AnyServer, OwnSession], None]] = {
    "killed": lambda mysql, own: kill(mysql, identify(own)),
    "expired": expire,
    "closed here": break_the_wire,
}


@pytest.mark.parametrize("end", ENDS)
def test_it_is_opened_again_when_it_has_ended(mysql: AnyServer, own: OwnSession, end: str) -> None:
    """The next question is answered on a new session, however the old one ended."""
    before = identify(own)
    ENDS[end](mysql, own)
    assert before != identify(own)


def test_it_is_opened_again_when_it_ends_in_the_middle_of_a_question(mysql: AnyServer, own: OwnSession) -> None:
    """The question is asked once more."""
    session = identify(own)
    answers: list[Any] = []
    question = f"SELECT IF(CONNECTION_ID() = {session}, SLEEP(60), 7)"
    asking = threading.Thread(target=lambda: answers.append(own.ask(question)))
    asking.start()
    eventually(lambda: "SLEEP" in str([one.info for one in mysql.processlist() if one.id == session]), PATIENCE)
    mysql.kill_session(session)
    asking.join(PATIENCE)
    assert [[(7,)]] == answers


def test_a_question_that_is_cut_short_is_not_asked_again(
    mysql: AnyServer, own: OwnSession, kill_query: Callable[[Any, int], None]
) -> None:
    """KILL QUERY is deliberate, and leaves the session as it was."""
    session = identify(own)
    answers: list[Any] = []

    def ask() -> None:
        try:
            answers.append(own.ask("SELECT COUNT(*) FROM information_schema.COLUMNS a, information_schema.COLUMNS b"))
        except pymysql.err.OperationalError as error:
            answers.append(error.args[0])

    asking = threading.Thread(target=ask)
    asking.start()
    eventually(lambda: "COLUMNS" in str([one.info for one in mysql.processlist() if one.id == session]), PATIENCE)
    kill_query(mysql, session)
    asking.join(PATIENCE)
    assert [1317] == answers
    assert session == identify(own)


class Dying:
    """A connection whose next statement fails with this number."""

    open = True

    def __init__(self, number: int) -> None:
        self.number = number

    def cursor(self) -> Any:
        raise pymysql.err.OperationalError(self.number, "")


@pytest.mark.parametrize("number", [1053, 1927, 2006, 2013, 4031])
def test_each_number_of_a_lost_session_is_known(mysql: AnyServer, number: int) -> None:
    """No server produces all of them on demand."""
    connections: list[Any] = [Dying(number), mysql.admin()]
    own = OwnSession(lambda: connections.pop(0))
    assert [(1,)] == own.ask("SELECT 1")
    own.close()


@pytest.mark.persistconn(own_server=True)
@pytest.mark.parametrize("kill", [False, True])
def test_it_is_opened_again_when_the_server_was_restarted(mysql: AnyServer, own: OwnSession, kill: bool) -> None:
    """This session was not told: `restart()` closes only the server's own."""
    mysql.restart(kill=kill)
    assert [(1,)] == own.ask("SELECT 1")


@pytest.mark.persistconn(own_server=True)
def test_while_the_server_is_away_the_driver_s_error_is_raised(mysql: AnyServer) -> None:
    """The first question after that is answered."""
    if not isinstance(mysql, Server):
        pytest.skip("a container cannot be stopped without being restarted")
    # By TCP: PyMySQL leaves a Unix socket open that it could not connect.
    own = OwnSession(lambda: pymysql.connect(**mysql.connect_args()))
    own.ask("SELECT 1")
    mysql.kill()
    for _ in range(2):
        with pytest.raises(pymysql.err.OperationalError):
            own.ask("SELECT 1")
    mysql.start()
    assert [(1,)] == own.ask("SELECT 1")
    own.close()


def test_it_may_end_itself(mysql: AnyServer) -> None:
    """A test may kill every session of the process list, ours included."""
    ((session,),) = mysql.ask("SELECT CONNECTION_ID()")
    mysql.kill_session(session)
    assert [(session,)] != mysql.ask("SELECT CONNECTION_ID()")
