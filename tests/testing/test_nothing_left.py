"""However a test run ends: no process and no directory of it is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from persistconn.testing import MariaDB, eventually

pytestmark = pytest.mark.server

LIMIT = 120.0
"""Seconds until something is left; a server's own end may take half of them on a busy machine."""
HANGS = """
import time
def test_it(mysql):
    print('pid', mysql.pid, flush=True)
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
    (tmp_path / "test_it.py").write_text(HANGS)
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
