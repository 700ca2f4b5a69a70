"""The command line against a real server: jobs run, signals come, and the server's log tells who left in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.testing import MariaDB, eventually
from workers import Service

pytestmark = pytest.mark.server

PATIENCE = 120  # seconds until a test gives up on a process
HEAD = """
    import json, os, time
    import pymysql
    import persistconn
    from persistconn import keeper, opening
    from persistconn.cronjobs import cron

    db = persistconn.manage(pymysql)
    ARGUMENTS = json.loads(os.environ["TEST_DATABASE"])
    # A busy server does not end a statement within a second of being told to.
    keeper.CANCELLED = opening.CANCEL_TIMEOUT = 60.0

    def execute(sql):
        with db.connect(**ARGUMENTS).cursor() as cursor:
            cursor.execute(sql)

    def wait_until_told():
        while not os.path.exists("go"):
            time.sleep(0.02)
"""
# Writes a row in a transaction, says so, works until it is told to end, and commits.
UNTIL_TOLD = """
    @cron("* * * * * *")
    def settle():
        execute("INSERT INTO done VALUES (1)")
        print("begun", flush=True)
        wait_until_told()
        db.connect(**ARGUMENTS).commit()
"""
IDLE_FOR_LONG = """
    @cron("* * * * * *")
    def settle():
        execute("INSERT INTO done VALUES (1)")
        print("begun", flush=True)
        time.sleep(600)
        db.connect(**ARGUMENTS).commit()
"""
QUERY_FOR_LONG = """
    @cron("* * * * * *")
    def settle():
        execute("INSERT INTO done VALUES (1)")
        print("begun", flush=True)
        execute("SELECT SLEEP(600)")
        db.connect(**ARGUMENTS).commit()
"""

MANY_SHORT_QUERIES = """
    def settle():
        execute("INSERT INTO done VALUES (1)")
        print("begun", flush=True)
        while True:
            execute("SELECT 1")

    for number in range(6):
        cron("* * * * * *", name=f"test_jobs.settle{number}")(settle)
"""


class Workers:
    """One process of `python -m workers`, with what it prints in two files."""

    def __init__(self, directory: Path, environment: dict[str, str], *argv: str) -> None:
        self.out, self.err = directory / "out", directory / "err"
        self._go = directory / "go"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *argv], cwd=directory, env=environment, stdout=out, stderr=err
            )

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened, or fail with the log."""
        try:
            eventually(happened, PATIENCE)
        except AssertionError:
            pytest.fail(self.log)

    def wait_for_output(self, text: str) -> None:
        self.wait_for(lambda: text in self.out.read_text())

    def wait_for_log(self, text: str) -> None:
        self.wait_for(lambda: text in self.log)

    @property
    def log(self) -> str:
        return self.err.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def signal_before_the_job_ends(self, number: signal.Signals) -> None:
        """Send a signal, and tell the job to end when nothing begins any more."""
        self.signal(number)
        self.wait_for_log("waiting for test_jobs.")
        self._go.touch()

    def status(self) -> int:
        """Wait for the end."""
        return self.process.wait(PATIENCE)


@pytest.fixture
def environment(database: dict[str, Any]) -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "TEST_DATABASE": json.dumps(database)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return environment


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str], database: dict[str, Any]) -> Iterator[Any]:
    """Start workers on a jobs module of this source; whatever is left of them is killed."""
    execute(database, "CREATE TABLE done (n INT) ENGINE = InnoDB")
    started: list[Workers] = []

    def start(source: str, *options: str, command: str = "run") -> Workers:
        (tmp_path / "test_jobs.py").write_text(textwrap.dedent(HEAD) + textwrap.dedent(source), encoding="utf-8")
        argv = ["-m", "workers", command, *(["settle"] if command == "fire" else []), "test_jobs", *options]
        started.append(Workers(tmp_path, environment, *argv))
        return started[-1]

    yield start
    for workers in started:
        workers.process.kill()
        workers.process.wait()


def execute(database: dict[str, Any], statement: str) -> tuple[tuple[Any, ...], ...]:
    with closing(pymysql.connect(**database, autocommit=True)) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def rows(database: dict[str, Any]) -> int:
    [[count]] = execute(database, "SELECT COUNT(*) FROM done")
    return int(count)


def aborted(server: MariaDB, database: dict[str, Any]) -> list[str]:
    """Return the server's complaints about clients of this test's database that left without a word, once all have left."""
    eventually(lambda: sessions(server, database) == 0)
    return [line for line in server.aborted_in_log() if database["database"] in line]


def sessions(server: MariaDB, database: dict[str, Any]) -> int:
    return sum(session.db == database["database"] for session in server.processlist())


# --- the end -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_running_job_end(
    number: signal.Signals, start: Any, server: MariaDB, database: dict[str, Any]
) -> None:
    """Exit status 0, the job's row is there, nothing fires any more, and the server has no complaint."""
    workers = start(UNTIL_TOLD)
    workers.wait_for_output("begun")
    workers.signal_before_the_job_ends(number)
    assert workers.status() == 0, workers.log
    assert rows(database) == 1
    assert workers.out.read_text() == "begun\n"
    assert aborted(server, database) == [], workers.log


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [IDLE_FOR_LONG, QUERY_FOR_LONG, MANY_SHORT_QUERIES],
    ids=["between statements", "in a statement", "in many short ones"],
)
def test_a_job_over_its_grace_is_cut_off(source: str, start: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """It is named, its transaction is rolled back, and the end is orderly all the same: status 0, no complaint."""
    workers = start(source, "--grace", "0.2")
    workers.wait_for_output("begun")
    workers.signal(signal.SIGTERM)
    assert workers.status() == 0, workers.log
    assert "cut off test_jobs.settle" in workers.log
    assert rows(database) == 0
    assert aborted(server, database) == [], workers.log


@pytest.mark.slow
def test_a_second_signal_ends_it_at_once(start: Any, database: dict[str, Any]) -> None:
    """With 128 + its number, whatever still runs; the server rolls back what it finds open."""
    workers = start(IDLE_FOR_LONG)
    workers.wait_for_output("begun")
    workers.signal(signal.SIGTERM)
    workers.wait_for_log("stopping on SIGTERM")
    workers.signal(signal.SIGINT)
    assert workers.status() == 128 + signal.SIGINT
    assert rows(database) == 0


@pytest.mark.slow
def test_a_fire_that_waits_for_a_thread_is_dropped_and_named(start: Any, server: MariaDB) -> None:
    """With one thread, taken by a job that is not through, the other job's fire is not begun after the signal."""
    other = """
        @cron("* * * * * *")
        def report():
            wait_until_told()

        @cron("* * * * * *")
        def remind():
            wait_until_told()
    """
    workers = start(other, "--threads", "1")
    workers.wait_for_log("still waits for a free thread")
    workers.signal_before_the_job_ends(signal.SIGTERM)
    assert workers.status() == 0, workers.log
    assert "dropped test_jobs.re" in workers.log


# --- runs ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_that_fails_does_not_stop_the_service(start: Any) -> None:
    """Its traceback is in the log, and it runs again."""
    workers = start("@cron('* * * * * *')\ndef settle():\n    execute('SELECT no_such_column')\n")
    workers.wait_for(lambda: workers.log.count("failed: OperationalError: (1054") >= 2)
    workers.signal(signal.SIGTERM)
    assert workers.status() == 0
    assert "Traceback (most recent call last)" in workers.log


@pytest.mark.slow
def test_what_a_job_leaves_open_is_rolled_back_and_told_with_its_name(start: Any, database: dict[str, Any]) -> None:
    """Each run is a unit of work."""
    workers = start("@cron('* * * * * *')\ndef settle():\n    execute('INSERT INTO done VALUES (1)')\n")
    workers.wait_for_log("the task test_jobs.settle left an open transaction")
    workers.signal(signal.SIGTERM)
    assert workers.status() == 0
    assert rows(database) == 0


@pytest.mark.slow
def test_each_thread_keeps_its_session(start: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """Run after run goes over one session."""
    workers = start(
        "@cron('* * * * * *')\ndef settle():\n    print(db.connect(**ARGUMENTS).thread_id(), flush=True)\n",
        "--threads=1",
    )
    workers.wait_for(lambda: len(workers.out.read_text().splitlines()) >= 2)
    workers.signal(signal.SIGTERM)
    assert workers.status() == 0
    assert len(set(workers.out.read_text().splitlines())) == 1


@pytest.mark.slow
def test_fire_ends_in_order(start: Any, server: MariaDB, database: dict[str, Any]) -> None:
    """One run, status 0, and no complaint of the server."""
    workers = start("@cron('0 0 1 1 *', name='settle')\ndef settle():\n    execute('SELECT 1')\n", command="fire")
    assert workers.status() == 0, workers.log
    assert aborted(server, database) == [], workers.log


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wrong", "advice"),
    [({"password": "s3cret"}, "check user and password"), ({"database": "nowhere"}, "check")],
)
def test_fire_with_a_connection_that_cannot_be_is_one_line(
    wrong: dict[str, str], advice: str, start: Any, environment: dict[str, str], database: dict[str, Any]
) -> None:
    """What to do, no traceback, no password, status 1."""
    environment["TEST_DATABASE"] = json.dumps({**database, **wrong})
    workers = start(
        "@cron('0 0 1 1 *', name='settle')\ndef settle():\n    execute('SELECT 1')\n",
        "--log-level=error",
        command="fire",
    )
    assert workers.status() == 1
    [line] = workers.log.splitlines()
    assert advice in line
    assert "s3cret" not in line


def test_a_service_that_is_embedded_closes_its_own_sessions(server: MariaDB, database: dict[str, Any]) -> None:
    """stop() alone does, and leaves the rest of the process its connections."""
    db = persistconn.manage(pymysql)
    mine = db.connect(**database)
    service = Service([], threads=3, warm=[lambda: db.connect(**database)])
    service.start()
    eventually(lambda: sessions(server, database) == 4)
    service.stop()
    eventually(lambda: sessions(server, database) == 1)
    mine.retire()
    assert aborted(server, database) == []
