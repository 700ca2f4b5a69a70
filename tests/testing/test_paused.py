"""`paused()` and `read_log()` of the kit's servers."""

from __future__ import annotations

import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from contextlib import closing
from pathlib import Path

import pymysql
import pytest

from persistconn.testing import AnyServer, ServerError, eventually
from persistconn.testing.process import ServerProcess
from persistconn.testing.remote import Remote

pytestmark = pytest.mark.server


def is_greeted(server: AnyServer, within: float) -> bool:
    """Tell whether a client that connects hears from the server."""
    with socket.create_connection((server.host, server.port), timeout=within) as sock:
        try:
            return bool(sock.recv(1))
        except TimeoutError:
            return False


def test_a_paused_server_takes_everything_and_answers_nothing(mysql: AnyServer) -> None:
    """Afterwards it executes what was sent meanwhile."""
    with closing(pymysql.connect(**mysql.connect_args())) as client, ThreadPoolExecutor(1) as pool:
        with mysql.paused():
            sent = pool.submit(client.cursor().execute, "SELECT 1")
            assert not is_greeted(mysql, within=0.5)
            with pytest.raises(NotYet):
                sent.result(0.1)
        assert 1 == sent.result(60)
    assert is_greeted(mysql, within=60)


def test_it_goes_on_after_an_error_in_the_block(mysql: AnyServer) -> None:
    """A test that fails in the block must not break those after it."""
    with pytest.raises(ZeroDivisionError), mysql.paused():
        raise ZeroDivisionError
    assert mysql.ask("SELECT 1") == [(1,)]


def test_all_threads_have_stopped_when_the_block_begins(tmp_path: Path) -> None:
    """Threads stop one by one, each when it next runs. `pause()` returns after the last one."""
    busy = "[__import__('threading').Thread(target=lambda: sum(iter(lambda: 1, 0))).start() for _ in range(8)]"
    process = ServerProcess([sys.executable, "-c", busy], tmp_path / "log", leaves=None)
    try:
        eventually(lambda: len(states_of(process.pid)) == 9)
        for _ in range(20):
            process.pause()
            assert ["T"] * 9 == states_of(process.pid)
            process.resume()
    finally:
        process.kill()


def states_of(pid: int) -> list[str]:
    """Return the state of each thread, in Linux's letters."""
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return [path.read_text().rpartition(")")[2].split()[0] for path in threads]


def test_a_server_that_does_not_run_cannot_be_paused(mysql: AnyServer) -> None:
    """A test of it would prove nothing."""
    server = type(mysql)()
    with pytest.raises(ServerError, match="is not running, so it cannot be paused"), server.paused():
        pass
    server.close()


def test_a_server_of_somebody_else_is_left_alone(mysql: AnyServer) -> None:
    """It is not ours to pause, and its log is on another machine."""
    remote = Remote(mysql.dsn)
    with pytest.raises(ServerError, match="not ours to pause"), remote.paused():
        pass
    with pytest.raises(ServerError, match=r"log of .* is out of reach"):
        remote.read_log()


def test_the_log_tells_who_left_without_a_word(mysql: AnyServer) -> None:
    """A client that said goodbye is not mentioned."""
    polite, rude = (pymysql.connect(**mysql.connect_args()) for _ in range(2))
    ids = polite.thread_id(), rude.thread_id()
    polite.close()
    rude._force_close()
    eventually(lambda: f"Aborted connection {ids[1]} " in mysql.read_log(), timeout=60)
    assert f"Aborted connection {ids[0]} " not in mysql.read_log()
    assert [line for line in mysql.aborted_in_log() if f"Aborted connection {ids[1]} " in line]
