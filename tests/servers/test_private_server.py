"""The private server: it is what it says, and nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import COMMAND

from persistconn.testing import MariaDB, ServerError, ServerNotFound, eventually, find_mariadbd

pytestmark = pytest.mark.server
LIMIT = 60.0
"""Seconds until something hangs; a server's own start and end may take as long on a busy machine."""


@pytest.fixture
def own_server(server: MariaDB) -> Iterator[MariaDB]:
    """A server of this test's own, to be killed and restarted; `server` is there for its skip alone."""
    with MariaDB(wait_timeout=60, max_connections=20, general_log=True) as own:
        yield own


def query(server: MariaDB, statement: str) -> tuple[tuple[Any, ...], ...]:
    with closing(server.admin()) as admin, admin.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_start_returns_when_a_login_succeeds(server: MariaDB) -> None:
    """After start() the first attempt to connect succeeds, over TCP and over the unix socket."""
    with closing(pymysql.connect(**server.connect_args())) as connection:
        assert connection.open
    with closing(pymysql.connect(**server.connect_args(unix_socket=server.socket))) as connection:
        assert connection.open


def test_variables_reach_the_server(own_server: MariaDB) -> None:
    """Keyword arguments are server variables: underscores become dashes, True switches on."""
    assert query(own_server, "SELECT @@GLOBAL.wait_timeout, @@max_connections, @@general_log") == ((60, 20, 1),)


def test_a_default_can_be_switched_off(server: MariaDB) -> None:
    """A variable that we set by default gives way to the one that the user names."""
    with MariaDB(skip_name_resolve=False, performance_schema=True) as own:
        assert query(own, "SELECT @@skip_name_resolve, @@performance_schema") == ((0, 1),)


def test_system_configuration_is_not_read(server: MariaDB) -> None:
    """The server lives in its own directory and reads no option file."""
    assert query(server, "SELECT @@datadir, @@bind_address") == ((f"{server.directory}/data/", "127.0.0.1"),)
    assert server.pid is not None
    command = Path(f"/proc/{server.pid}/cmdline").read_bytes().split(b"\0")
    assert b"--no-defaults" in command[:2]


def test_test_user_may_do_all_and_nobody_else_may_log_in(own_server: MariaDB) -> None:
    """The accounts are `test` with every right, the server's own, and root on the unix socket."""
    rows = query(own_server, "SELECT user, host FROM mysql.user ORDER BY user")
    assert rows == (("mariadb.sys", "localhost"), ("root", "localhost"), ("test", "%"))
    ((grant,),) = query(own_server, "SHOW GRANTS")
    assert grant.startswith("GRANT ALL PRIVILEGES ON *.*")
    assert grant.endswith("WITH GRANT OPTION")


def test_committed_rows_survive_kill_and_start(own_server: MariaDB) -> None:
    """After SIGKILL and a start what was committed is there, what was not is not, and the port is the same."""
    query(own_server, "CREATE TABLE kept (id INT) ENGINE=InnoDB")
    query(own_server, "INSERT INTO kept VALUES (1)")
    port = own_server.port
    with closing(pymysql.connect(**own_server.connect_args())) as open_transaction:
        open_transaction.cursor().execute("INSERT INTO kept VALUES (2)")
        own_server.kill()
    assert own_server.pid is None
    own_server.start()
    assert own_server.port == port
    assert query(own_server, "SELECT id FROM kept") == ((1,),)


def test_restart_is_orderly_and_keeps_data(own_server: MariaDB) -> None:
    """restart() keeps the data and needs no crash recovery."""
    query(own_server, "CREATE TABLE kept (id INT) ENGINE=InnoDB")
    before = own_server.pid
    own_server.restart()
    assert own_server.pid != before
    assert query(own_server, "SHOW TABLES LIKE 'kept'") == (("kept",),)
    assert "Starting crash recovery" not in own_server.log.read_text()


def test_close_leaves_nothing_behind(server: MariaDB) -> None:
    """close() ends the process, frees the port and removes the directory; a second close() does nothing."""
    own = MariaDB()
    own.start()
    pid, port, directory = own.pid, own.port, own.directory
    assert pid is not None
    own.close()
    own.close()
    assert not is_alive(pid)
    assert not directory.exists()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_named_directory_stays_with_its_data(server: MariaDB, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A directory that the user names outlives close(), and a new server on it finds the rows."""
    directory = tmp_path_factory.mktemp("d")
    with MariaDB(directory=directory) as first:
        query(first, "CREATE TABLE kept (id INT)")
    with MariaDB(directory=directory) as second:
        assert query(second, "SHOW TABLES LIKE 'kept'") == (("kept",),)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("sys.exit()", id="without close"),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", id="by SIGKILL"),
        pytest.param(
            "os.kill(server.pid, signal.SIGSTOP); os.kill(os.getpid(), signal.SIGKILL)", id="with a server that is held"
        ),
        pytest.param("os.kill(os.getpid(), signal.SIGTERM)", id="by SIGTERM"),
    ],
)
def test_end_of_the_process_leaves_nothing_behind(server: MariaDB, end: str) -> None:
    """However a program ends that has forgotten its server, the server ends with it and its directory goes."""
    program = f"""
import os, signal, sys
from persistconn.testing import MariaDB
server = MariaDB()
server.start()
print(server.pid, server.directory, flush=True)
{end}
"""
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, timeout=5 * LIMIT, check=False
    )
    pid, directory = done.stdout.split()
    # Another process does the clearing away, so that its end is all one can wait for.
    eventually(lambda: not is_alive(int(pid)) and not Path(directory).exists(), timeout=LIMIT)


def test_forked_child_does_not_close_the_parents_server(own_server: MariaDB) -> None:
    """A child that was forked off and ends in order leaves the server to its parent."""
    child = os.fork()
    if child == 0:
        own_server.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert own_server.directory.exists()
    assert query(own_server, "SELECT 1") == ((1,),)


def test_interrupt_of_the_program_does_not_reach_the_server(server: MariaDB) -> None:
    """Ctrl-C goes to the process group of the terminal; the server is not in it."""
    assert server.pid is not None
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_unknown_variable_is_named(server: MariaDB) -> None:
    """A variable that the server does not know ends in an error that names it and says what to do; nothing stays."""
    own = MariaDB(no_such_variable=1)
    with pytest.raises(ServerError, match=r"(?s)check the name.*no-such-variable"), own:
        pass
    assert not own.directory.exists()


def test_a_variable_that_is_ours_is_refused(server: MariaDB) -> None:
    """The directory and the port are arguments, and setting them as variables is refused at construction."""
    with pytest.raises(ValueError, match="datadir is set by MariaDB itself"):
        MariaDB(datadir="/somewhere")


def test_directory_too_long_for_a_socket_is_refused(server: MariaDB, tmp_path: Path) -> None:
    """A path that the system cannot bind a unix socket to is refused before anything is made."""
    with pytest.raises(ValueError, match="too long for a unix socket"):
        MariaDB(directory=tmp_path / ("x" * 120))


def test_missing_binary_says_how_to_install(tmp_path: Path) -> None:
    """Without the program the error carries the command that installs it."""
    with pytest.raises(ServerNotFound, match="apt-get install mariadb-server-core"):
        MariaDB(binary=str(tmp_path / "mariadbd"))


def test_find_looks_beyond_path(server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """The directories of administrators are searched too: Debian puts the server where users have no PATH."""
    expected = find_mariadbd()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert Path(find_mariadbd()).samefile(expected)


def test_given_port_that_is_taken_is_an_error(server: MariaDB) -> None:
    """A port that the user named is never exchanged for another one."""
    with pytest.raises(ServerError, match="port is taken"), MariaDB(port=server.port):
        pass


def test_own_port_that_was_taken_meanwhile_is_exchanged(server: MariaDB) -> None:
    """A port of our choice that somebody took before the start costs a second try, not the test run."""
    own = MariaDB()
    own.port = server.port
    with own:
        assert own.port != server.port
        assert query(own, "SELECT @@port") == ((own.port,),)


def test_port_lies_below_those_of_clients(server: MariaDB) -> None:
    """A client that knocks while the server is down must never be given the server's port as its own."""
    assert server.port < 32768


def test_processlist_shows_clients_only(own_server: MariaDB) -> None:
    """The list holds the sessions of clients: not the one that asks, and no thread of the server."""
    assert own_server.processlist() == []
    with closing(pymysql.connect(**own_server.connect_args())) as connection:
        # For a moment it is still at what the client has said last.
        eventually(lambda: [session.command for session in own_server.processlist()] == ["Sleep"])
        (session,) = own_server.processlist()
    assert (session.id, session.user, session.db) == (connection.thread_id(), "test", "test")


def test_processlist_shows_statements_with_bytes_that_are_no_text(own_server: MariaDB) -> None:
    """A binary literal, say, or what a stored procedure was called with."""
    with closing(pymysql.connect(**own_server.connect_args())) as connection:
        connection._execute_command(COMMAND.COM_QUERY, b"SELECT SLEEP(60), _binary'\xff\xfe\xed'")  # type: ignore[attr-defined]
        eventually(lambda: [session.info for session in own_server.processlist()] != [None])
        (session,) = own_server.processlist()
        assert session.info is not None
        assert session.info.startswith("SELECT SLEEP(60), _binary'")
        own_server.kill_session(session.id)


def test_kill_session_ends_that_session(server: MariaDB) -> None:
    """kill_session() does what an administrator's KILL does; a session that has gone already is no error."""
    with closing(pymysql.connect(**server.connect_args())) as connection:
        server.kill_session(connection.thread_id())
        with pytest.raises(pymysql.err.OperationalError):
            connection.cursor().execute("SELECT 1")
        server.kill_session(connection.thread_id())


def test_status_returns_a_counter_and_does_not_move_connections(own_server: MariaDB) -> None:
    """Asking for counters opens no session, so that a test can count those of the code it watches."""
    before = own_server.status("Connections")
    assert own_server.status("Connections") == before
    pymysql.connect(**own_server.connect_args()).close()
    assert own_server.status("Connections") == before + 1


def test_unknown_counter_is_an_error(server: MariaDB) -> None:
    """A misspelt counter is refused, and never read as zero."""
    with pytest.raises(ServerError, match="No_such"):
        server.status("No_such_counter")


def test_questions_survive_the_loss_of_our_own_session(own_server: MariaDB) -> None:
    """A test may kill every session there is, the one that asks included."""
    own_server.status("Uptime")
    with closing(own_server.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND user = 'test'")
        ((ours,),) = cursor.fetchall()
        cursor.execute("KILL %s", (ours,))
    assert own_server.status("Uptime") >= 0


def test_aborted_connections_are_read_from_the_log(own_server: MariaDB) -> None:
    """A client that leaves without COM_QUIT is found in the log, and one that says goodbye is not."""
    pymysql.connect(**own_server.connect_args()).close()
    eventually(lambda: own_server.processlist() == [])
    assert own_server.aborted_in_log() == []
    connection = pymysql.connect(**own_server.connect_args())
    rude = connection.thread_id()
    connection._force_close()
    eventually(own_server.aborted_in_log)
    (line,) = own_server.aborted_in_log()
    assert f"Aborted connection {rude} " in line


def test_orderly_stop_of_the_server_writes_no_aborted_connection(own_server: MariaDB) -> None:
    """Our own session says goodbye before the server stops, so that the log speaks of the tested code alone."""
    own_server.status("Uptime")
    own_server.stop()
    assert own_server.aborted_in_log() == []


def test_repr_holds_no_password(server: MariaDB) -> None:
    """A server in a test's output tells its address and never a password."""
    assert repr(server) == f"<MariaDB 127.0.0.1:{server.port}, pid {server.pid}>"


def test_database_is_this_tests_own(database: dict[str, Any], server: MariaDB) -> None:
    """The fixture gives connect arguments for a new, empty database."""
    with closing(pymysql.connect(**database)) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        assert cursor.fetchall() == ()
    assert database["database"].startswith("t_")


def test_sigstop_is_no_end(own_server: MariaDB) -> None:
    """A server that is held (SIGSTOP) counts as running, and kill() ends it all the same."""
    assert own_server.pid is not None
    os.kill(own_server.pid, signal.SIGSTOP)
    assert own_server.pid is not None
    own_server.kill()
    assert own_server.pid is None
