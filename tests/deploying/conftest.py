"""The examples as people run them: the real server programs, a real database, and what the database says of it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from json import loads
from pathlib import Path
from typing import Any

import pytest

import persistconn
from persistconn.testing import MariaDB, eventually
from persistconn.testing.process import pick_port

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = Path(__file__).parent / "scripts"
HOST = "127.0.0.1"
LIMIT = 120.0
"""Seconds until a program that has not begun to serve, has not answered or has not ended hangs; one or two are usual."""


def pytest_configure(config: pytest.Config) -> None:
    """Make our marker known."""
    config.addinivalue_line("markers", "needs(*names): modules and programs without which the test is skipped")


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    """Skip what cannot run here; fail where it must, which is the environment that tox makes for it."""
    wanted = [name for mark in request.node.iter_markers("needs") for name in mark.args]
    missing = [name for name in wanted if importlib.util.find_spec(name) is None and program(name) is None]
    if missing and os.environ.get("PERSISTCONN_REQUIRE_DEPLOYING"):
        pytest.fail(f"not installed: {', '.join(missing)}", pytrace=False)
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}; run: tox run -e deploying")


def program(name: str) -> str | None:
    """Find a program, first among those of this interpreter."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


class Database:
    """What the programs work on, and what it says of their sessions."""

    def __init__(self, server: MariaDB, name: str) -> None:
        self.server = server
        self.name = name
        self._admin = server.admin()
        self._names = {name}

    def add(self, name: str) -> str:
        """Make another database; return its name."""
        self.ask(f"CREATE DATABASE {name}")
        self._names.add(name)
        return name

    def ask(self, sql: str) -> Any:
        """Ask as an administrator."""
        with self._admin.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall()

    def sessions(self) -> dict[int, str]:
        """Return the programs' sessions: ids and databases."""
        rows = self.ask("SELECT ID, DB FROM information_schema.PROCESSLIST WHERE DB IS NOT NULL AND USER = 'test'")
        return {session: name for session, name in rows if name in self._names}

    def forget(self) -> None:
        """Set the counters back."""
        self.ask("FLUSH STATUS")
        self._unasked = self.server.status("Max_used_connections")

    def most(self) -> int:
        """Return how many sessions there have been at once, of the programs alone: the server's own counter."""
        return self.server.status("Max_used_connections") - self._unasked

    def made(self) -> int:
        """Return how many sessions there have been, ever."""
        return self.server.status("Connections")

    def aborted(self) -> list[str]:
        """Return the server's log lines on sessions that ended without a goodbye."""
        return [line for line in self.server.aborted_in_log() if f"'{self.name}'" in line]

    def close(self) -> None:
        """Drop all."""
        for name in self._names:
            self.ask(f"DROP DATABASE IF EXISTS {name}")
        self._admin.close()

    def environment(self) -> dict[str, str]:
        """Return what the examples read."""
        args = self.server.connect_args(database=self.name)
        places = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD", "database": "NAME"}
        return {f"SHOP_DB_{place}": str(args[name]) for name, place in places.items()}


@pytest.fixture(scope="session")
def own_server() -> Iterator[MariaDB]:
    """A server whose counters nobody else moves."""
    with MariaDB() as server:
        yield server


@pytest.fixture
def database(own_server: MariaDB) -> Iterator[Database]:
    """A database of the test's own, with the counters set back."""
    made = Database(own_server, f"shop_{os.urandom(4).hex()}")
    made.add(made.name)
    eventually(lambda: not made.sessions())
    made.forget()
    yield made
    made.close()


class Program:
    """One program under way in its example's directory."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, port: int) -> None:
        self.process = process
        self.log = log
        self.port = port

    def said(self) -> str:
        """Return what it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str = "/") -> Any:
        """Fetch a page; raises if it is no success."""
        with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=LIMIT) as answer:
            return loads(answer.read())

    def load(self, path: str, requests: int, at_once: int) -> list[Any]:
        """Fetch a page many times; each must be a success."""
        with ThreadPoolExecutor(at_once) as browsers:
            return list(browsers.map(lambda _: self.get(path), range(requests)))

    def load_until(self, path: str, requests: int, at_once: int, enough: Callable[[list[Any]], object]) -> list[Any]:
        """Fetch a page so many times, and again, until the answers are enough: who gets a request is the machine's choice."""
        answers: list[Any] = []

        def are_enough() -> object:
            answers.extend(self.load(path, requests, at_once))
            return enough(answers)

        eventually(are_enough, LIMIT)
        return answers

    def wait_until_it_serves(self, page: str) -> None:
        """Wait for the first answer."""
        deadline = time.monotonic() + LIMIT
        while not self._serves(page):
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"it does not serve:\n{self.said()}")
            time.sleep(0.05)

    def _serves(self, page: str) -> bool:
        try:
            self.get(page)
        except urllib.error.HTTPError:
            return True  # Whoever wants a success sees to it himself.
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it at once, and all that it has started."""
        # The group has the workers of a master that is gone, too.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it in order (SIGTERM), and fail if it does not end."""
        self.process.terminate()
        try:
            self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"it did not end on SIGTERM:\n{self.said()}")


class Example:
    """One directory of examples/, and the programs that a test runs in it."""

    def __init__(self, place: Path, database: Database, scratch: Path) -> None:
        self._place = place
        self.scripts = SCRIPTS
        self._scratch = scratch
        self._started: list[Program] = []
        # The packages that this test has: under tox that is the wheel, and not the tree.
        root = str(Path(str(persistconn.__file__)).parents[1])
        self.environment = {
            **os.environ,
            **database.environment(),
            "PYTHONPATH": root,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
        }

    def run(self, *command: str, succeeds: bool = True) -> str:
        """Run a command to its end; return what it said."""
        done = subprocess.run(
            (program(command[0]) or command[0], *command[1:]),
            cwd=self._place,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=3 * LIMIT,
            check=False,
        )
        assert succeeds is (done.returncode == 0), done.stdout
        return done.stdout

    def python(self, *command: str, succeeds: bool = True) -> str:
        """Run Python to its end; return what it said."""
        return self.run(sys.executable, *command, succeeds=succeeds)

    def migrate(self) -> None:
        """Make the site's tables."""
        self.python("-m", "django", "migrate", "--verbosity=0", "--settings=settings", "--pythonpath=.")

    def launch(self, *command: str, port: int) -> Program:
        """Start a program; it is ended at the test's end at the latest."""
        log = self._scratch / f"log-{port}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                (program(command[0]) or command[0], *command[1:]),
                cwd=self._place,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = Program(process, log, port)
        self._started.append(started)
        return started

    @contextmanager
    def serving(self, command: Callable[[int], list[str]], page: str = "/") -> Iterator[Program]:
        """Start a server on a port that is free, wait until it answers for a page, and end it in order."""
        port = pick_port(HOST)
        started = self.launch(*command(port), port=port)
        started.wait_until_it_serves(page)
        yield started
        started.stop()

    def close(self) -> None:
        """End what is left."""
        for started in self._started:
            started.kill()


@pytest.fixture
def example(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Iterator[Example]:
    """The directory that the test's module names in ``EXAMPLE``."""
    made = Example(ROOT / "examples" / request.module.EXAMPLE, database, tmp_path)
    yield made
    made.close()


@pytest.fixture
def scripts(database: Database, tmp_path: Path) -> Iterator[Example]:
    """Our own programs, where an example would not do such a thing."""
    made = Example(SCRIPTS, database, tmp_path)
    yield made
    made.close()


@pytest.fixture
def crowds(database: Database) -> Iterator[dict[str, int]]:
    """The most sessions there have been at once, by database: looked at a hundred times a second, until it is asked for."""
    seen: dict[str, int] = {}
    stop = threading.Event()
    eyes = Database(database.server, database.name)
    eyes._names = database._names
    database.forget()

    def look() -> None:
        while not stop.wait(0.01):
            names = list(eyes.sessions().values())
            for name in set(names):
                seen[name] = max(seen.get(name, 0), names.count(name))

    watcher = threading.Thread(target=look)
    watcher.start()
    yield seen
    stop.set()
    watcher.join()
    eyes._admin.close()
