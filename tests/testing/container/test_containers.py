"""The kit's containers do what private servers do, leave nothing behind, and say what to do when they cannot start."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from persistconn.testing import ServerError, eventually
from persistconn.testing.containers import MySQLContainer

pytestmark = [pytest.mark.server, pytest.mark.slow]

PATIENCE = 120.0
"""Seconds until a test gives up waiting for the engine."""

HANGS = """
import contextlib, time

def test_it(mysql_container):
    with {block}:
        print("id", mysql_container._inside.id, flush=True)
        time.sleep(600)
"""


@pytest.fixture(autouse=True)
def engine() -> Iterator[Any]:
    """The container engine, by Docker's library."""
    import docker

    engine = docker.from_env()
    yield engine
    engine.close()


def test_a_container_does_what_a_private_server_does(run: Callable[..., pytest.RunResult]) -> None:
    """Variables, expiry by the real `wait_timeout`, and a restart by SIGKILL."""
    code = """
        import pymysql, pytest
        @pytest.mark.persistconn(wait_timeout=2, max_connections=33)
        def test_it(mysql_container, expire, restart_server, sessions):
            assert mysql_container.ask("SELECT @@GLOBAL.wait_timeout, @@max_connections") == [(2, 33)]
            client = pymysql.connect(**mysql_container.connect_args())
            assert 1 == expire() and sessions() == []
            with pytest.raises(pymysql.err.OperationalError): client.cursor().execute("SELECT 1")
            restart_server(kill=True)
            pymysql.connect(**mysql_container.connect_args()).close()
    """
    run(code).assert_outcomes(passed=1)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("block", ["contextlib.nullcontext()", "mysql_container.paused()"], ids=["running", "paused"])
def test_a_test_run_leaves_no_container(
    start: Callable[..., Any], tmp_path: Path, engine: Any, block: str, how: signal.Signals
) -> None:
    """The run is interrupted or killed, with a server that runs or is frozen. It works without Ryuk."""
    (tmp_path / "test_it.py").write_text(HANGS.format(block=block), encoding="utf-8")
    program = start("-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "test_it.py")
    while not (line := program.line()).startswith("id"):
        assert program.process.poll() is None
    made = line.split()[1]

    def is_there() -> bool:
        # Listing all containers would fail when another test removes its own meanwhile.
        return bool(engine.containers.list(all=True, filters={"id": made}))

    assert is_there()
    program.end(how)
    eventually(lambda: not is_there(), PATIENCE)


def test_an_image_that_is_not_there_says_what_helps() -> None:
    """The error names the command that pulls it."""
    with pytest.raises(ServerError, match="docker pull localhost/no-such-image"):
        MySQLContainer("localhost/no-such-image").start()
