"""The private MySQL: what differs from MariaDB, whose tests cover the rest, and that nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

from persistconn.testing import MySQL, ServerError, ServerNotFound, eventually, find_mysqld
from persistconn.testing.templates import copy_of

pytestmark = pytest.mark.server
LIMIT = 60.0
"""Seconds until something hangs; a server's own start and end may take as long on a busy machine."""


@pytest.fixture(scope="module")
def server(mysqld: str) -> Iterator[MySQL]:
    """One server for the tests that leave it as it was."""
    with MySQL(wait_timeout=60, binary=mysqld) as server:
        yield server


def query(server: MySQL, statement: str) -> tuple[tuple[Any, ...], ...]:
    with closing(server.admin()) as admin, admin.cursor() as cursor:
        cursor.execute(statement)
        return tuple(cursor.fetchall())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def write_program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# --- the program -------------------------------------------------------------------------------------------------------


def test_program_is_found_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PERSISTCONN_MYSQLD goes before PATH."""
    named = write_program(tmp_path / "mine", "echo 'mysqld  Ver 8.4.0'")
    monkeypatch.setenv("PERSISTCONN_MYSQLD", named)
    assert find_mysqld() == named


def test_variable_that_names_nothing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program than the one that was meant would be worse than none."""
    monkeypatch.setenv("PERSISTCONN_MYSQLD", str(tmp_path / "nowhere"))
    with pytest.raises(ServerNotFound, match=r"PERSISTCONN_MYSQLD names .*nowhere, which is no program"):
        find_mysqld()


def test_mysqld_of_mariadb_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian's package of MariaDB installs a mysqld; behind it on PATH there may be MySQL's."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    write_program(first / "mysqld", "echo 'mysqld  Ver 10.11.19-MariaDB'")
    wanted = write_program(second / "mysqld", "echo 'mysqld  Ver 8.4.0'")
    monkeypatch.delenv("PERSISTCONN_MYSQLD", raising=False)
    monkeypatch.setenv("PATH", f"{first}:{second}:{os.environ['PATH']}")
    assert find_mysqld() == wanted


def test_mysqld_of_mariadb_that_is_named_is_refused(tmp_path: Path) -> None:
    """A contract that was tested on MariaDB twice would look like one that was tested on MySQL."""
    named = write_program(tmp_path / "mysqld", "echo 'mysqld  Ver 10.11.19-MariaDB'")
    with pytest.raises(ServerNotFound, match="which is MariaDB's"):
        MySQL(binary=named)


# --- the server --------------------------------------------------------------------------------------------------------


def test_it_is_mysql_with_our_variables(server: MySQL) -> None:
    """Keyword arguments are server variables, and no option file is read."""
    ((version, patience, data),) = query(server, "SELECT @@version_comment, @@GLOBAL.wait_timeout, @@datadir")
    assert "MariaDB" not in version
    assert (60, f"{server.directory}/data/") == (patience, data)


def test_login_needs_neither_tls_nor_another_package(mysqld: str) -> None:
    """The first one over TCP after a start: no `cryptography`, no key of the server."""
    program = f"""
import sys
sys.modules["cryptography"] = None
import pymysql
from persistconn.testing import MySQL
with MySQL(binary={mysqld!r}) as server:
    pymysql.connect(**server.connect_args(ssl_disabled=True)).close()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT, check=False)
    assert (0, "") == (done.returncode, done.stderr)


@pytest.mark.parametrize("way", ["tls", "unix socket"])
def test_login_over_each_other_way(server: MySQL, way: str) -> None:
    """The server has made its certificates itself."""
    ways: dict[str, dict[str, Any]] = {
        "tls": {"ssl": {"verify_mode": "none"}},
        "unix socket": {"unix_socket": server.socket, "ssl_disabled": True},
    }
    with closing(pymysql.connect(**server.connect_args(**ways[way]))) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
        ((_, cipher),) = cursor.fetchall()
    assert bool(cipher) is (way == "tls")


def test_accounts_are_the_users_and_the_servers_own(server: MySQL) -> None:
    """`test` with every right, root on this machine, and nobody without a name."""
    rows = query(server, "SELECT user, host FROM mysql.user WHERE user NOT LIKE 'mysql.%' ORDER BY user")
    assert rows == (("root", "localhost"), ("test", "%"))


def test_each_server_has_an_identity_of_its_own(server: MySQL, mysqld: str) -> None:
    """Their data directories are copies of one, but a server's UUID must not be."""
    with MySQL(binary=mysqld) as other:
        assert query(server, "SELECT @@server_uuid") != query(other, "SELECT @@server_uuid")


def test_processlist_kill_and_counters(server: MySQL) -> None:
    """The questions are answered as by MariaDB."""
    eventually(lambda: server.processlist() == [])  # What another test has closed.
    before = server.status("Connections")
    with closing(pymysql.connect(**server.connect_args())) as connection:
        eventually(lambda: [session.command for session in server.processlist()] == ["Sleep"])
        (session,) = server.processlist()
        assert (connection.thread_id(), "test", "test") == (session.id, session.user, session.db)
        server.kill_session(session.id)
        with pytest.raises(pymysql.err.OperationalError):
            connection.cursor().execute("SELECT 1")
        eventually(lambda: server.processlist() == [])
        server.kill_session(session.id)
    assert before + 1 == server.status("Connections")


def test_aborted_connections_are_read_from_the_log(server: MySQL) -> None:
    """A client that leaves without COM_QUIT is found there, and one that says goodbye is not."""
    polite = pymysql.connect(**server.connect_args())
    rude = pymysql.connect(**server.connect_args())
    ids = polite.thread_id(), rude.thread_id()
    polite.close()
    rude._force_close()
    eventually(lambda: any(f"Aborted connection {ids[1]} " in line for line in server.aborted_in_log()))
    assert not any(f"Aborted connection {ids[0]} " in line for line in server.aborted_in_log())


def test_committed_rows_survive_kill_and_start(mysqld: str) -> None:
    """After SIGKILL what was committed is there, what was not is not, and the port is the same."""
    with MySQL(binary=mysqld) as own:
        query(own, "CREATE TABLE kept (id INT)")
        query(own, "INSERT INTO kept VALUES (1)")
        port = own.port
        with closing(pymysql.connect(**own.connect_args())) as open_transaction:
            open_transaction.cursor().execute("INSERT INTO kept VALUES (2)")
            own.kill()
        assert own.pid is None
        own.start()
        assert (port, ((1,),)) == (own.port, query(own, "SELECT id FROM kept"))


def test_unknown_variable_is_named(mysqld: str) -> None:
    """As by MariaDB: the error names it and says what to do; nothing stays."""
    own = MySQL(binary=mysqld, no_such_variable=1)
    with pytest.raises(ServerError, match=r"(?s)check the name.*no-such-variable"), own:
        pass
    assert not own.directory.exists()


def test_close_leaves_nothing_behind(mysqld: str) -> None:
    """The process ends and the directory goes."""
    own = MySQL(binary=mysqld)
    own.start()
    pid = own.pid
    assert pid is not None
    own.close()
    assert (False, False) == (is_alive(pid), own.directory.exists())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_end_of_the_process_leaves_nothing_behind(mysqld: str, number: signal.Signals) -> None:
    """A crash of the tests, and Ctrl-C: the server ends with them, through whatever script it was started."""
    program = f"""
import os, signal
from persistconn.testing import MySQL
server = MySQL(binary={mysqld!r})
server.start()
print(server.pid, server.directory, flush=True)
os.kill(os.getpid(), {int(number)})
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10 * LIMIT, check=False)
    pid, directory = done.stdout.split()
    eventually(lambda: not is_alive(int(pid)) and not Path(directory).exists(), timeout=LIMIT)


# --- what is kept ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where data directories are kept, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/persistconn/data"


class Maker:
    """Makes a directory with one file, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, data: Path) -> None:
        self.made += 1
        data.mkdir()
        (data / "file").write_text("whole")


def test_a_kind_is_made_once_and_copied(shelf: Path, tmp_path: Path) -> None:
    """And another kind is another directory."""
    make = Maker()
    copy_of(["kind"], tmp_path / "one", make)
    copy_of(["kind"], tmp_path / "two", make)
    assert 1 == make.made
    copy_of(["other kind"], tmp_path / "three", make)
    assert 2 == make.made
    assert ["whole"] * 3 == [(tmp_path / name / "file").read_text() for name in ("one", "two", "three")]


def test_a_copy_is_the_servers_own(shelf: Path, tmp_path: Path) -> None:
    """What it writes there nobody else sees."""
    make = Maker()
    copy_of(["kind"], tmp_path / "one", make)
    (tmp_path / "one/file").write_text("written")
    copy_of(["kind"], tmp_path / "two", make)
    assert "whole" == (tmp_path / "two/file").read_text()


def test_one_that_could_not_be_made_is_not_kept(shelf: Path, tmp_path: Path) -> None:
    """Nor are its pieces."""

    def fail(data: Path) -> None:
        data.mkdir()
        raise ServerError("no space")

    with pytest.raises(ServerError, match="no space"):
        copy_of(["kind"], tmp_path / "one", fail)
    assert [] == list(shelf.iterdir())


def test_two_that_make_the_same_kind_at_once_both_have_it(shelf: Path, tmp_path: Path) -> None:
    """The slower one throws its own away."""
    barrier = threading.Barrier(2)
    make = Maker()

    def make_together(data: Path) -> None:
        barrier.wait(LIMIT)
        make(data)

    threads = [
        threading.Thread(target=copy_of, args=(["kind"], tmp_path / name, make_together)) for name in ("one", "two")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert ["whole"] * 2 == [(tmp_path / name / "file").read_text() for name in ("one", "two")]
    assert 1 == len(list(shelf.iterdir()))


def test_what_was_left_half_made_is_cleared_away(shelf: Path, tmp_path: Path) -> None:
    """By a process that was killed long ago; one that may be at work is let alone."""
    old, new = shelf / ".new-old", shelf / ".new-new"
    old.mkdir(parents=True)
    new.mkdir()
    os.utime(old, (0, 0))
    copy_of(["kind"], tmp_path / "one", Maker())
    assert (False, True) == (old.exists(), new.exists())


def test_without_a_place_to_keep_it_it_is_made_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a home, or with one that is not ours."""
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    make = Maker()
    copy_of(["kind"], tmp_path / "one", make)
    copy_of(["kind"], tmp_path / "two", make)
    assert 2 == make.made
