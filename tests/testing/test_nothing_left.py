"""However a test run ends: no process, no directory, no container of it is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistconn.testing import MariaDB, eventually
from persistconn.testing.containers import EngineNotFound, MySQLContainer, find_engine

pytestmark = pytest.mark.server

LIMIT = 120.0
"""Seconds until something is left; a server's own end may take half of them on a busy machine."""
HANGS = """
import pathlib, time
def test_it({fixture}):
    print({told}, flush=True)
    time.sleep(600)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_test_run_leaves_nothing(
    start: Callable[..., Any], tmp_path: Path, server: MariaDB, how: signal.Signals
) -> None:
    """Ctrl-C, an order to end, and a crash, in the middle of a test; `server` is there for its skip alone."""
    places = tmp_path / "places"
    places.mkdir()
    (tmp_path / "test_it.py").write_text(HANGS.format(fixture="mysql", told="'pid', mysql.pid"))
    options = ["-s", "-q", "-p", "no:cacheprovider", "--persistconn-server=mariadb", "-p", "no:randomly"]
    program = start("-m", "pytest", *options, "test_it.py", temporary=places)
    while not (line := program.line()).startswith("pid"):
        assert program.process.poll() is None
    pid = int(line.split()[1])
    assert is_alive(pid)
    program.end(how)
    eventually(lambda: not is_alive(pid) and list(places.iterdir()) == [], timeout=LIMIT)


def test_a_crash_while_the_data_directory_is_made_leaves_nothing(start: Callable[..., Any], tmp_path: Path) -> None:
    """The server is not there yet, and its directory is."""
    places = tmp_path / "places"
    places.mkdir()
    (tmp_path / "crash.py").write_text(
        "import os, signal\n"
        "from persistconn.testing import MariaDB\n"
        "class Slow(MariaDB):\n"
        "    def _create_data(self, data, options):\n"
        "        data.mkdir(); (data / 'half').touch(); os.kill(os.getpid(), signal.SIGKILL)\n"
        "Slow().start()\n"
    )
    program = start("crash.py", temporary=places)
    program.process.communicate(timeout=LIMIT)
    eventually(lambda: list(places.iterdir()) == [], timeout=LIMIT)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_test_run_leaves_no_container(start: Callable[..., Any], tmp_path: Path, how: signal.Signals) -> None:
    """By hand, where there is an engine: Ryuk may be switched off."""
    try:
        find_engine()
    except EngineNotFound as missing:
        pytest.skip(str(missing))
    import docker

    (tmp_path / "test_it.py").write_text(
        HANGS.format(fixture="mysql_container", told="'id', mysql_container._inside.id")
    )
    program = start("-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", "test_it.py")
    while not (line := program.line()).startswith("id"):
        assert program.process.poll() is None
    engine = docker.from_env()
    assert line.split()[1] in {one.id for one in engine.containers.list(all=True)}
    program.end(how)
    eventually(lambda: line.split()[1] not in {one.id for one in engine.containers.list(all=True)}, timeout=LIMIT)
    engine.close()


def test_a_container_that_cannot_be_had_says_what_helps() -> None:
    """An image that there is not; by hand, where there is an engine."""
    try:
        find_engine()
    except EngineNotFound as missing:
        pytest.skip(str(missing))
    from persistconn.testing import ServerError

    with pytest.raises(ServerError, match="docker pull localhost/no-such-image"):
        MySQLContainer("localhost/no-such-image").start()
