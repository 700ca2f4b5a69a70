"""What each method of the driver protocol promises, on every driver, against real servers."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

import pytest

from persistconn.drivers import Driver, Fault
from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import Cut, FaultProxy, Kind, Place, Rule, to_client
from persistconn.testing.process import pick_port
from persistconn.testing.waiting import PATIENCE

pytestmark = pytest.mark.server

Connect = Callable[..., Any]
UntilConclusive = Callable[[Callable[[float], "str | None"]], None]
OnceUnderWay = Callable[[int, Callable[[], object]], Any]

ROWS = "information_schema.COLUMNS"
both_readers = pytest.mark.parametrize("fast_reads", [True, False], ids=["fast_reads", "driver_reads"])
"""What depends on how an answer is read; to mysqlclient it is all the same."""


def fetch(raw: Any, sql: str) -> Any:
    """Run a statement on a raw connection and return its rows."""
    with raw.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def failure(act: Callable[[], Any]) -> Exception:
    """Return what an act that must fail raised."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is for the driver to say
        act()
    return caught.value


def in_background(act: Callable[[], Any]) -> Future[Any]:
    """Act on a thread that holds nobody up, should it never come back: ``result(PATIENCE)`` of what is returned tells."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(act())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def assert_is_waiting(patient: Future[Any]) -> None:
    """Fail if what has more time gives up together with what has less: then it was given some other time."""
    assert not wait([patient], 0.2).done, "it was not the limit that was asked for"


def is_on(server: Any, session: int) -> bool:
    """Ask the server whether it has the session."""
    return bool(server.ask(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {session}"))


def is_under_way(server: Any, raw: Any, driver: Driver) -> bool:
    """Ask the server whether a statement of the session is running."""
    session = driver.session_id(raw)
    return bool(server.ask(f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {session} AND COMMAND = 'Query'"))


# --- connecting --------------------------------------------------------------------------------------------------------


def test_session_id_is_the_server_s(driver: Driver, connect: Connect, arguments_over: dict[str, Any]) -> None:
    """What KILL takes and the process list shows; also when the connection is no more."""
    raw = connect(arguments_over)
    session = driver.session_id(raw)
    assert fetch(raw, "SELECT CONNECTION_ID()") == ((session,),)
    driver.quit(raw)
    assert driver.session_id(raw) == session


@both_readers
def test_wait_timeout_is_the_session_s_own(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Neither the server's default nor that of interactive clients."""
    raw = connect(arguments, init_command="SET SESSION wait_timeout = 1234")
    assert driver.wait_timeout(raw) == 1234.0


@both_readers
def test_asking_for_wait_timeout_leaves_the_last_answer(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """The cursor whose statement went before may not have taken it yet."""
    raw = connect(arguments)
    raw.query("INSERT INTO t (x) VALUES (1), (2), (3)")
    driver.wait_timeout(raw)
    assert (raw.insert_id(), raw.affected_rows()) == (1, 3)
    assert fetch(raw, "SELECT COUNT(*) FROM t") == ((3,),)


@pytest.mark.parametrize("answers", [0, 1, 2])
def test_server_that_falls_silent_in_the_handshake_is_given_up(
    driver: Driver, connect: Connect, arguments: dict[str, Any], relay: Callable[..., Any], answers: int
) -> None:
    """``timeout`` covers the greeting, the login, and the session's set-up behind it."""
    error = failure_of_the_first_to_give_up(connect, arguments, lambda: relay(answers))
    assert driver.classify(None, error) is Fault.AWAY


def failure_of_the_first_to_give_up(
    connect: Connect, arguments: dict[str, Any], make_relay: Callable[[], Any]
) -> Exception:
    """Connect twice through relays, with a limit of a second and of a minute; return how the one with the second failed."""

    def begin(way: Any, timeout: float) -> Future[Any]:
        return in_background(lambda: failure(lambda: connect({**arguments, "port": way.port}, timeout=timeout)))

    with make_relay() as way, make_relay() as other_way:
        patient = begin(other_way, 2 * PATIENCE)
        error: Exception = begin(way, 1.0).result(PATIENCE)
        assert_is_waiting(patient)
    patient.result(PATIENCE)
    return error


@pytest.mark.parametrize("transport", ["tls"], indirect=True)
@pytest.mark.parametrize("answers", [0, 1, 2])
def test_server_that_falls_silent_in_the_tls_handshake_is_given_up(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], relay: Callable[..., Any], answers: int
) -> None:
    """As without TLS."""
    error = failure_of_the_first_to_give_up(connect, arguments_over, lambda: relay(answers))
    assert driver.classify(None, error) is Fault.AWAY


def test_waiting_for_the_wait_timeout_has_a_limit(
    driver: Driver,
    connect: Connect,
    arguments: dict[str, Any],
    relay: Callable[..., Any],
    until_conclusive: UntilConclusive,
) -> None:
    """It is the last step of connecting, and must not be the one that hangs."""

    def experiment(factor: float) -> str | None:
        with relay() as way, relay() as other_way:
            try:
                raw = connect({**arguments, "port": way.port}, timeout=factor)
            except driver.module.Error:
                return f"the connect itself took longer than {factor:g} s"
            other = connect({**arguments, "port": other_way.port}, timeout=2 * PATIENCE)
            way.fall_silent()
            other_way.fall_silent()
            patient = in_background(lambda: failure(lambda: driver.wait_timeout(other)))
            in_background(lambda: failure(lambda: driver.wait_timeout(raw))).result(PATIENCE)
            assert_is_waiting(patient)
        patient.result(PATIENCE)
        return None

    until_conclusive(experiment)


def test_statement_has_no_limit_of_ours(
    driver: Driver, connect: Connect, arguments: dict[str, Any], until_conclusive: UntilConclusive
) -> None:
    """``timeout`` ends with the connect: a report may take hours."""

    def experiment(factor: float) -> str | None:
        try:
            raw = connect(arguments, timeout=factor)
        except driver.module.Error:
            return f"the connect itself took longer than {factor:g} s"
        assert fetch(raw, f"SELECT SLEEP({1.6 * factor})") == ((0,),)
        assert not driver.hung_up(raw)
        return None

    until_conclusive(experiment)


def test_server_that_is_away_is_worth_waiting_for(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Nobody listens."""
    error = failure(lambda: connect({**arguments, "port": pick_port("127.0.0.1")}))
    assert driver.classify(None, error) is Fault.AWAY


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"database": "nowhere"}, {"nonsense": 1}])
def test_mistake_in_the_arguments_is_not(
    driver: Driver, connect: Connect, arguments: dict[str, Any], wrong: dict[str, Any]
) -> None:
    """It would be the same again."""
    assert driver.classify(None, failure(lambda: connect({**arguments, **wrong}))) is Fault.REFUSED


def test_server_without_a_free_place_is_told_from_one_that_is_away(
    driver: Driver, connect: Connect, arguments: dict[str, Any], contract_server: Any, database: str
) -> None:
    """Asking it often makes it worse."""
    contract_server.ask(f"CREATE USER {database} IDENTIFIED BY 'x' WITH MAX_USER_CONNECTIONS 1")
    contract_server.ask(f"GRANT ALL ON {database}.* TO {database}")
    try:
        narrow = {**arguments, "user": database, "password": "x"}
        raw = connect(narrow)
        assert driver.classify(None, failure(lambda: connect(narrow))) is Fault.NO_CAPACITY
        driver.quit(raw)
    finally:
        contract_server.ask(f"DROP USER {database}")


def test_what_the_caller_set_in_this_process_is_carried_over(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """Also when the old connection is closed already."""

    class Money(int):
        """A type of the caller's."""

    old, new = connect(arguments), connect(arguments)
    old.encoders[Money] = lambda value, mapping: f"{int(value)}.00"
    driver.abandon(old)
    driver.carry_over(old, new)
    with new.cursor() as cursor:
        cursor.execute("SELECT CAST(%s AS CHAR)", (Money(7),))
        assert cursor.fetchall() == (("7.00",),)


# --- what the server told ----------------------------------------------------------------------------------------------


@both_readers
@pytest.mark.parametrize("autocommit", [True, False])
def test_new_session_has_no_transaction(
    driver: Driver, connect: Connect, arguments: dict[str, Any], autocommit: bool
) -> None:
    """And its autocommit is what was asked for."""
    raw = connect(arguments, autocommit=autocommit)
    assert driver.wait_timeout(raw) > 0
    assert (driver.in_transaction(raw), driver.autocommits(raw)) == (False, autocommit)


@both_readers
def test_transaction_shows_from_begin_to_commit(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """However it is begun and ended."""
    raw = connect(arguments)
    ways: list[tuple[Callable[[], Any], Callable[[], Any]]] = [
        (raw.begin, raw.commit),
        (lambda: fetch(raw, "START TRANSACTION"), lambda: fetch(raw, "ROLLBACK")),
        (lambda: fetch(raw, "/* job 7 */ begin"), raw.rollback),
        (raw.begin, lambda: fetch(raw, "CREATE TABLE IF NOT EXISTS other (id INT)")),
    ]
    for begin, end in ways:
        begin()
        assert driver.in_transaction(raw)
        fetch(raw, "SELECT 1")
        assert driver.in_transaction(raw)
        end()
        assert not driver.in_transaction(raw)


@both_readers
def test_locking_read_under_autocommit_0_shows_a_transaction(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """Its locks would be kept, although nothing was begun."""
    raw = connect(arguments, autocommit=False)
    fetch(raw, "SELECT * FROM t FOR UPDATE")
    assert driver.in_transaction(raw)
    raw.rollback()
    assert not driver.in_transaction(raw)


@both_readers
def test_failed_first_statement_under_autocommit_0_shows_a_transaction(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """A duplicate key leaves a lock behind, and an error carries no status flags."""
    connect(arguments).query("INSERT INTO t (id) VALUES (1)")
    raw = connect(arguments, autocommit=False)
    failure(lambda: raw.query("INSERT INTO t (id) VALUES (1)"))
    assert driver.in_transaction(raw)
    assert not driver.autocommits(raw)


@both_readers
def test_procedure_that_begins_a_transaction_shows_one(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """No text of ours said BEGIN."""
    raw = connect(arguments)
    fetch(raw, "CREATE PROCEDURE p() BEGIN START TRANSACTION; INSERT INTO t (x) VALUES (1); END")
    fetch(raw, "CALL p()")
    assert driver.in_transaction(raw)
    raw.rollback()
    assert not driver.in_transaction(raw)


@both_readers
def test_autocommit_is_the_server_s(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Whether it was switched through the driver or by a statement; also known when the connection is gone."""
    raw = connect(arguments)
    fetch(raw, "SET autocommit = 0")
    assert not driver.autocommits(raw)
    raw.autocommit(True)
    assert driver.autocommits(raw)
    raw.autocommit(False)
    driver.abandon(raw)
    assert not driver.autocommits(raw)


@both_readers
def test_streamed_rows_are_unread_until_the_last(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """So that nobody pings in between."""
    raw = connect(arguments)
    fetch(raw, "INSERT INTO t (x) VALUES (1), (2), (3), (4)")
    streaming = driver.cursor(raw, driver.module.cursors.SSCursor)
    streaming.execute("SELECT id FROM t ORDER BY id")
    assert driver.has_unread(raw)
    assert list(streaming.fetchmany(2)) == [(1,), (2,)]
    assert driver.has_unread(raw)
    assert list(streaming.fetchall()) == [(3,), (4,)]
    assert not driver.has_unread(raw)
    streaming.close()
    assert fetch(raw, "SELECT 7") == ((7,),)


@both_readers
def test_buffered_rows_are_read_with_their_statement(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """The statement and its rows fail as one."""
    raw = connect(arguments)
    raw.query("SELECT 1 UNION SELECT 2")
    assert not driver.has_unread(raw)


@both_readers
def test_further_results_are_unread_until_the_last(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Of a procedure as of several statements in one text."""
    raw = connect(arguments)
    fetch(raw, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END")
    with raw.cursor() as cursor:
        cursor.execute("CALL p()")
        assert driver.has_unread(raw)
        assert cursor.fetchall() == ((1,),)
        assert cursor.nextset()
        assert cursor.fetchall() == ((2,),)
        assert driver.has_unread(raw)
        cursor.nextset()
        assert not driver.has_unread(raw)
    assert fetch(raw, "SELECT 7") == ((7,),)


@both_readers
def test_error_is_the_last_of_the_results(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Nothing is unread behind it, and the connection is good."""
    raw = connect(arguments)
    fetch(raw, "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT * FROM nowhere; END")
    with raw.cursor() as cursor:
        cursor.execute("CALL p()")
        assert driver.classify(raw, failure(cursor.nextset)) is Fault.NONE
        if driver.name == "MySQLdb":
            assert not driver.has_unread(raw)


@both_readers
def test_no_more_results_is_what_next_result_says(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Mysqlclient's cursors ask until they hear it."""
    raw = connect(arguments)
    fetch(raw, "SELECT 1")
    if driver.name == "MySQLdb":
        assert raw.next_result() == driver.no_more_results


# --- is it alive? ------------------------------------------------------------------------------------------------------


def test_idle_connection_has_not_hung_up(driver: Driver, connect: Connect, arguments_over: dict[str, Any]) -> None:
    """Nor one that has just answered."""
    raw = connect(arguments_over)
    assert not driver.hung_up(raw)
    fetch(raw, "SELECT 1")
    assert not driver.hung_up(raw)


def test_killed_session_has_hung_up(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """The socket tells, without a round trip."""
    raw = connect(arguments_over)
    contract_server.kill_session(driver.session_id(raw))
    eventually(lambda: driver.hung_up(raw))
    assert [alive for _, alive in driver.ping([raw], 2.0)] == [False]


def test_expired_session_has_hung_up(driver: Driver, connect: Connect, arguments_over: dict[str, Any]) -> None:
    """``wait_timeout`` is what this library is about."""
    raw = connect(arguments_over)
    assert not driver.hung_up(raw)
    fetch(raw, "SET SESSION wait_timeout = 1")
    eventually(lambda: driver.hung_up(raw))


def test_session_of_a_restarted_server_has_hung_up(
    driver: Driver, connect: Connect, arguments: dict[str, Any], contract_server: Any
) -> None:
    """And a statement on it does not look like an answer."""
    raw = connect(arguments)
    contract_server.restart()
    eventually(lambda: driver.hung_up(raw))
    assert driver.classify(raw, failure(lambda: raw.query("SELECT 1"))) in (Fault.DEFINITE, Fault.AMBIGUOUS)


def test_ping_is_answered(driver: Driver, connect: Connect, arguments_over: dict[str, Any]) -> None:
    """By each, and nothing of the last statement is lost by it."""
    raws = [connect(arguments_over) for _ in range(3)]
    raws[0].query("INSERT INTO t (x) VALUES (1), (2)")
    assert {id(raw) for raw, alive in driver.ping(raws, PATIENCE) if alive} == {id(raw) for raw in raws}
    assert (raws[0].insert_id(), raws[0].affected_rows()) == (1, 2)
    assert fetch(raws[0], "SELECT COUNT(*) FROM t") == ((2,),)
    assert not any(driver.in_transaction(raw) for raw in raws)


def test_pings_of_a_paused_server_fail_together(
    driver: Driver,
    connect: Connect,
    arguments_over: dict[str, Any],
    contract_server: Any,
    until_conclusive: UntilConclusive,
) -> None:
    """Half-open: it takes all and answers nothing; all of them cost one timeout."""

    def experiment(factor: float) -> str | None:
        timeout = 0.5 * factor
        raws = [connect(arguments_over) for _ in range(12)]
        with contract_server.paused():
            started = time.monotonic()
            assert [alive for _, alive in driver.ping(raws, timeout)] == [False] * 12
            timeouts = (time.monotonic() - started) / timeout
            for raw in raws:
                driver.abandon(raw)
        assert timeouts > 0.8
        # Of twelve that would pass if they were awaited in turn. What a busy machine adds does not grow with the timeout.
        return None if timeouts < 5 else f"the pings took as long as {timeouts:.1f} timeouts of {timeout:g} s"

    until_conclusive(experiment)


def test_silent_connection_does_not_hold_up_the_pings_of_others(
    driver: Driver, connect: Connect, arguments: dict[str, Any], relay: Callable[..., Any]
) -> None:
    """Their answers come as they come."""
    with relay() as way:
        silent = connect({**arguments, "port": way.port})
        others = [connect(arguments) for _ in range(3)]
        way.fall_silent()
        answers = driver.ping([silent, *others], 4 * PATIENCE)
        assert in_background(lambda: [next(answers)[1] for _ in others]).result(PATIENCE) == [True] * 3
    assert list(answers) == [(silent, False)]


def test_statement_that_waits_fails_when_it_is_abandoned(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """By the shutdown of the process, from another thread."""
    raw = connect(arguments_over)
    statement = in_background(lambda: failure(lambda: raw.query(f"SELECT SLEEP({4 * PATIENCE})")))
    eventually(lambda: is_under_way(contract_server, raw, driver))
    driver.abandon(raw)
    assert driver.classify(raw, statement.result(PATIENCE)) is not Fault.NONE


# --- the end -----------------------------------------------------------------------------------------------------------


def test_quit_says_goodbye(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """The server notes no aborted connection; a second goodbye does nothing."""
    raw = connect(arguments_over)
    session, before = driver.session_id(raw), len(contract_server.read_log())
    fetch(raw, "SELECT 1")
    driver.quit(raw)
    eventually(lambda: not is_on(contract_server, session))
    driver.quit(raw)
    driver.abandon(raw)
    assert f"Aborted connection {session} " not in contract_server.read_log()[before:]
    assert driver.hung_up(raw)


def test_quit_is_not_held_up_by_a_server_that_does_not_answer(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """Nobody waits for an answer to a goodbye."""
    raw = connect(arguments_over)
    with contract_server.paused():
        in_background(lambda: driver.quit(raw)).result(PATIENCE)


def test_quit_does_not_read_the_unread(
    driver: Driver, connect: Connect, arguments: dict[str, Any], contract_server: Any
) -> None:
    """Rows that nobody wants could be millions."""
    raw = connect(arguments)
    session = driver.session_id(raw)
    streaming = driver.cursor(raw, driver.module.cursors.SSCursor)
    # Tens of gigabytes.
    streaming.execute(f"SELECT REPEAT('x', 10000) FROM {ROWS} a, {ROWS} b")
    streaming.fetchmany(2)
    in_background(lambda: driver.quit(raw)).result(PATIENCE)
    del streaming
    eventually(lambda: not is_on(contract_server, session))


def test_abandon_closes_the_socket(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """Without a word; and again does nothing."""
    raw = connect(arguments_over)
    session, inode = driver.session_id(raw), os.fstat(driver.fileno(raw)).st_ino
    driver.abandon(raw)
    driver.abandon(raw)
    eventually(lambda: not is_on(contract_server, session))
    assert inode not in sockets_of_this_process()
    assert driver.hung_up(raw)
    assert driver.classify(raw, failure(lambda: raw.query("SELECT 1"))) is Fault.DEFINITE


def sockets_of_this_process() -> set[int]:
    """Return the inodes of all open descriptors."""
    inodes = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            inodes.add(os.fstat(int(name)).st_ino)
        except OSError:
            continue
    return inodes


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked_child_lets_go_without_disturbing_its_parent(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any]
) -> None:
    """The socket is shared: one byte from the child would be the parent's end."""
    raw = connect(arguments_over)
    fetch(raw, "BEGIN")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            driver.abandon(raw)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert fetch(raw, "SELECT 41 + 1") == ((42,),)
    assert driver.in_transaction(raw)


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES"])
@pytest.mark.parametrize("end", ["quit", "abandon"])
def test_escaping_goes_on_after_the_end(
    driver: Driver, connect: Connect, arguments: dict[str, Any], mode: str, end: str
) -> None:
    """The owner of a connection that is being replaced makes his next statement ready."""
    raw, other = (connect(arguments, init_command=f"SET SESSION sql_mode = '{mode}'") for _ in range(2))
    getattr(driver, end)(raw)
    for value in ("it's", 'a "quote"', "back\\slash", "\\'; DROP TABLE t; --", "ä€😀", b"\x00\x01'", 7, None):
        literal = raw.escape(value, raw.encoders) if driver.name == "pymysql" else raw.literal(value)
        text = literal.decode() if isinstance(literal, bytes) else literal
        (found,) = fetch(other, f"SELECT {text}")[0]
        assert found in (value, value.decode("latin-1") if isinstance(value, bytes) else value)


# --- what an error means -----------------------------------------------------------------------------------------------


@both_readers
@pytest.mark.parametrize(
    "sql", ["SELECT * FROM nowhere", "SELEKT 1", "INSERT INTO t (id) VALUES (1)", "SELECT 1 FROM t FOR ever"]
)
def test_server_error_is_an_answer(driver: Driver, connect: Connect, arguments: dict[str, Any], sql: str) -> None:
    """The connection stays."""
    raw = connect(arguments)
    fetch(raw, "INSERT INTO t (id) VALUES (1)")
    error = failure(lambda: raw.query(sql))
    assert (driver.classify(raw, error), driver.diagnose(raw, error)) == (Fault.NONE, Fault.NONE)
    assert fetch(raw, "SELECT 7") == ((7,),)


def test_statement_that_cannot_be_encoded_was_not_sent(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """The connection stays."""
    raw = connect(arguments)
    assert driver.classify(raw, failure(lambda: raw.query("SELECT '\ud800'"))) is Fault.NONE
    assert fetch(raw, "SELECT 7") == ((7,),)


def test_kill_query_is_an_answer(
    driver: Driver,
    connect: Connect,
    arguments: dict[str, Any],
    contract_server: Any,
    once_under_way: OnceUnderWay,
    kill_query: Callable[[Any, int], None],
) -> None:
    """It is somebody's will, and the connection stays."""
    raw = connect(arguments)
    session = driver.session_id(raw)
    # Not SLEEP(), which MySQL ends with an ordinary row.
    with once_under_way(session, lambda: kill_query(contract_server, session)):
        error = failure(
            lambda: fetch(raw, f"SELECT COUNT(*) FROM {ROWS} a, {ROWS} b, {ROWS} c WHERE a.TABLE_NAME <> b.DATA_TYPE")
        )
    assert error.args[0] == 1317
    assert driver.diagnose(raw, error) is Fault.NONE
    assert fetch(raw, "SELECT 7") == ((7,),)


def test_deadlock_is_an_answer_that_undid_the_transaction(
    driver: Driver, connect: Connect, arguments: dict[str, Any]
) -> None:
    """The connection stays; what came before the statement does not."""
    one, two = connect(arguments), connect(arguments)
    fetch(one, "INSERT INTO t (id) VALUES (1), (2)")
    for raw, first in ((one, 1), (two, 2)):
        raw.begin()
        fetch(raw, f"UPDATE t SET x = {first} WHERE id = {first}")
    caught: list[tuple[Any, Exception]] = []

    def cross(raw: Any, other: int) -> None:
        try:
            raw.query(f"UPDATE t SET x = 9 WHERE id = {other}")
        except Exception as error:
            caught.append((raw, error))

    thread = threading.Thread(target=cross, args=(one, 2))
    thread.start()
    cross(two, 1)
    thread.join()
    ((victim, error),) = caught
    assert (driver.classify(victim, error), driver.diagnose(victim, error)) == (Fault.NONE, Fault.ROLLED_BACK)
    assert not driver.hung_up(victim)


def test_read_only_server_is_the_wrong_one(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """Where a failover has left the connection."""
    raw = connect(arguments)
    fetch(raw, "SET SESSION TRANSACTION READ ONLY")
    error = failure(lambda: raw.query("INSERT INTO t (x) VALUES (1)"))
    assert (driver.classify(raw, error), driver.diagnose(raw, error)) == (Fault.NONE, Fault.WRONG_SERVER)


@both_readers
def test_loss_in_the_middle_of_a_statement_is_ambiguous(
    driver: Driver,
    connect: Connect,
    arguments_over: dict[str, Any],
    contract_server: Any,
    once_under_way: OnceUnderWay,
) -> None:
    """Nobody can tell what became of it."""
    raw = connect(arguments_over)
    session = driver.session_id(raw)
    with once_under_way(session, lambda: contract_server.kill_session(session)):
        error = failure(lambda: raw.query(f"SELECT SLEEP({4 * PATIENCE})"))
    assert driver.classify(raw, error) is Fault.AMBIGUOUS


@pytest.mark.parametrize("place", list(Place))
@both_readers
def test_loss_among_the_rows_is_ambiguous(
    driver: Driver, connect: Connect, arguments: dict[str, Any], place: Place
) -> None:
    """They are read with their statement, so that it fails as a whole."""
    with FaultProxy(arguments["host"], arguments["port"]) as way:
        raw = connect({**arguments, "host": way.host, "port": way.port})
        fetch(raw, "INSERT INTO t (x) VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)")
        cut = way.arm(Rule(Cut(), to_client("REPEAT", kind=Kind.ROW, nth=4, place=place)))
        error = failure(lambda: raw.query("SELECT REPEAT('x', 100000) FROM t"))
        cut.wait()
        assert driver.classify(raw, error) is Fault.AMBIGUOUS


@both_readers
def test_goodbye_to_an_idle_session_is_definite(
    driver: Driver, connect: Connect, arguments_over: dict[str, Any], contract_server: Any
) -> None:
    """MySQL says 4031 before it closes; PyMySQL makes 2013 of it, and nevertheless nothing was executed."""
    raw = connect(arguments_over)
    fetch(raw, "SET SESSION wait_timeout = 1")
    eventually(lambda: driver.hung_up(raw))
    fault = driver.classify(raw, failure(lambda: raw.query("INSERT INTO t (x) VALUES (1)")))
    if not isinstance(contract_server, MariaDB):
        assert fault is Fault.DEFINITE
    assert fault in (Fault.DEFINITE, Fault.AMBIGUOUS)


def test_exception_of_another_kind_is_ambiguous(driver: Driver, connect: Connect, arguments: dict[str, Any]) -> None:
    """A KeyboardInterrupt may strike anywhere."""
    raw = connect(arguments)
    assert driver.classify(raw, KeyboardInterrupt()) is Fault.AMBIGUOUS
