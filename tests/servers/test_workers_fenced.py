"""Cron on several machines, by the ledger: real processes, a real server, and what the server says in the end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn.once import probe
from persistconn.once.attempt import DoneElsewhere, JobUnderWay
from persistconn.once.line import Line
from persistconn.once.records import Records, sight_of
from persistconn.once.token import fire_token
from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import Drop, FaultProxy

pytestmark = pytest.mark.server

UTC = timezone.utc
PATIENCE = 120  # seconds until a test gives up on a process
HEAD = """
    import json, os, time
    import pymysql
    import persistconn

    db = persistconn.manage(pymysql)

    def connect():
        return db.connect(**json.loads(os.environ["TEST_DATABASE"]), autocommit=True)

    def note(job):
        with persistconn.current().cursor() as cursor:
            # The one open row that this transaction sees is its own.
            cursor.execute("SELECT scheduled_at FROM persistconn_ledger WHERE job = %s AND state = 'open'", (job,))
            [(scheduled,)] = cursor.fetchall()
            cursor.execute("INSERT INTO done VALUES (%s, %s)", (job, scheduled))
"""
QUICK_AND_SLOW = """
    @persistconn.cron("* * * * * *", name="quick")
    @persistconn.job(using=connect)
    def quick():
        note("shop/quick")

    @persistconn.cron("*/2 * * * * *", name="slow")
    @persistconn.job(using=connect)
    def slow():
        note("shop/slow")
        time.sleep(1)
"""
LONG = """
    @persistconn.cron("* * * * * *", name="long")
    @persistconn.job(using=connect)
    def long():
        note("shop/long")
        with persistconn.current().cursor() as cursor:
            cursor.execute("SELECT SLEEP(600)")
"""
PAUSING = """
    @persistconn.cron("* * * * * *", name="pause")
    @persistconn.job(using=connect)
    def pause():
        note("shop/pause")
        try:
            os.mkdir("paused")
        except FileExistsError:
            return
        while not os.path.exists("go"):
            time.sleep(0.05)
"""
FAR = """
    @persistconn.cron("0 0 29 2 *", name="leap")
    @persistconn.job(using=connect)
    def leap():
        with persistconn.current().cursor() as cursor:
            cursor.execute("INSERT INTO done VALUES ('leap', UTC_TIMESTAMP(6))")
"""


class Machine:
    """One process of `python -m workers` in a directory with a `fenced_jobs.py`."""

    def __init__(self, directory: Path, database: dict[str, Any], number: int, *argv: str) -> None:
        self.log_file = directory / f"log{number}"
        environment = environment_for(database)
        with self.log_file.open("wb") as log:
            command = [sys.executable, "-m", "workers", *argv]
            self.process = subprocess.Popen(command, cwd=directory, env=environment, stderr=log)

    @property
    def log(self) -> str:
        return self.log_file.read_text()

    def wait_for(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened, or fail with the log."""
        try:
            eventually(happened, PATIENCE)
        except AssertionError:
            pytest.fail(self.log)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def environment_for(database: dict[str, Any]) -> dict[str, str]:
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "TEST_DATABASE": json.dumps(database)}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    return environment


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], None]:
    """Write the module with the jobs."""

    def write(source: str) -> None:
        (tmp_path / "fenced_jobs.py").write_text(textwrap.dedent(HEAD) + textwrap.dedent(source), encoding="utf-8")

    return write


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    """Start a machine of the service `shop`; whatever is left of them is killed."""
    started: list[Machine] = []

    def start(database: dict[str, Any], *options: str) -> Machine:
        argv = ("run", "fenced_jobs", "--service", "shop", "--threads", "4", *options)
        started.append(Machine(tmp_path, database, len(started), *argv))
        return started[-1]

    yield start
    for machine in started:
        machine.process.kill()
        machine.process.wait()


@pytest.fixture
def workers(tmp_path: Path, database: dict[str, Any]) -> Any:
    """Run one command to its end; returns its status and what it printed."""

    def workers(command: str, *arguments: str) -> tuple[int, str]:
        argv = [sys.executable, "-m", "workers", command, *arguments]
        environment = environment_for(database)
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )
        return done.returncode, done.stdout + done.stderr

    return workers


def ask(database: dict[str, Any], statement: str, *arguments: object, dirty: bool = False) -> list[tuple[Any, ...]]:
    """Ask the server on a bare connection; ``dirty`` shows what is not committed, too."""
    with closing(pymysql.connect(**database, autocommit=True)) as connection, connection.cursor() as cursor:
        if dirty:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        cursor.execute(statement, arguments or None)
        return list(cursor.fetchall())


def prepare(database: dict[str, Any]) -> None:
    """Create the ledger, and a table without a key: nothing but the fence keeps a second row out."""
    connection = persistconn.manage(pymysql).connect(**database, autocommit=True)
    persistconn.ledger.create(connection)
    connection.query("CREATE TABLE done (job VARCHAR(50), scheduled DATETIME(6)) ENGINE = InnoDB")
    connection.retire()


@pytest.fixture
def connect(database: dict[str, Any]) -> Iterator[Any]:
    """Connects any thread to a database with a ledger."""
    prepare(database)
    managed = persistconn.manage(pymysql)

    def connect() -> Any:
        return managed.connect(**database, autocommit=True)

    yield connect
    connect().retire()
    probe.forget()


def leap_on(connect: Any) -> Any:
    """Return the job of the module FAR, in this process."""

    def leap() -> None:
        with persistconn.current().cursor() as cursor:
            cursor.execute("INSERT INTO done VALUES ('leap', UTC_TIMESTAMP(6))")

    return persistconn.job(using=connect, name="leap")(leap)


def know(connect: Any, job: str, schedule: str) -> datetime:
    """Note a schedule as a service does when it starts; returns since when it is known."""
    line = Line(connect())
    records = Records(line.schema)
    line.run(records.know(job, schedule))
    sight = sight_of(line.ask(records.sight([job])))
    assert sight is not None
    return sight.known_since[job]


def under_way(database: dict[str, Any], job: str) -> list[str]:
    """Return the places where a job has its row, but has not committed it."""
    statement = "SELECT place FROM persistconn_ledger WHERE state = 'open' AND job = %s"
    return [place for (place,) in ask(database, statement, job, dirty=True)]


def one_at(database: dict[str, Any], job: str) -> str:
    """Wait until a job is under way, and return where."""
    seen: list[str] = []
    eventually(lambda: seen.extend(under_way(database, job)) or seen, PATIENCE)
    return seen[0]


def frozen_in(machines: list[Machine], database: dict[str, Any], job: str) -> Machine:
    """Stop a machine in the middle of a job, for certain, and return it."""
    while True:
        place = one_at(database, job)
        [machine] = [machine for machine in machines if f"pid {machine.process.pid} " in place]
        machine.process.send_signal(signal.SIGSTOP)
        if place in under_way(database, job):
            return machine
        machine.process.send_signal(signal.SIGCONT)  # It was through a moment before.


# --- three machines ------------------------------------------------------------------------------------------------

SECONDS_OF = {"shop/quick": 1, "shop/slow": 2}


def expected(database: dict[str, Any], until: datetime) -> set[tuple[str, datetime]]:
    """Return each due time of both jobs since they are known, which is since the first machine has started."""
    due: set[tuple[str, datetime]] = set()
    for job, since in ask(database, "SELECT job, started_at FROM persistconn_ledger WHERE job_key = 'schedule'"):
        moment = since.replace(microsecond=0) + timedelta(seconds=1)
        while moment <= until:
            if moment.second % SECONDS_OF[job] == 0:
                due.add((job, moment))
            moment += timedelta(seconds=1)
    return due


def effects(database: dict[str, Any]) -> list[tuple[str, datetime]]:
    return ask(database, "SELECT job, scheduled FROM done")  # type: ignore[return-value]


@pytest.mark.slow
def test_of_three_machines_one_runs_each_fire_although_one_dies_and_the_server_too(
    write: Any, start: Any, tmp_path: Path
) -> None:
    """One is killed in the middle of a job, the server is killed after that: each due fire has exactly one effect."""
    write(QUICK_AND_SLOW)
    with MariaDB() as server:
        database = server.connect_args()
        prepare(database)
        machines = [start(database, "--takeover", "3") for _ in range(3)]
        eventually(lambda: len(set(effects(database))) >= 5, PATIENCE)
        dying = frozen_in(machines, database, "shop/slow")
        dying.process.kill()
        one_at(database, "shop/slow")
        server.kill()
        server.start()
        [(now,)] = ask(database, "SELECT UTC_TIMESTAMP(6)")
        until = now + timedelta(seconds=3)
        eventually(lambda: expected(database, until) <= set(effects(database)), PATIENCE)
        assert [machine.stop() for machine in machines if machine is not dying] == [0, 0]
        found, [(now,)] = effects(database), ask(database, "SELECT UTC_TIMESTAMP(6)")
        assert len(found) == len(set(found)), "a fire took effect twice"
        assert expected(database, until) <= set(found) <= expected(database, now)
        ours = {
            (job, at)
            for job, at in ask(database, "SELECT job, scheduled_at FROM persistconn_ledger WHERE attempts > 0")
        }
        assert ours == set(found)
        assert any("made up slow" in machine.log for machine in machines)
        assert any("on another machine" in machine.log for machine in machines)


# --- a machine that vanishes ---------------------------------------------------------------------------------------


@pytest.fixture
def pausing(write: Any, start: Any, database: dict[str, Any], tmp_path: Path) -> Any:
    """Start a machine and wait until it pauses in a job; returns it, with the due time of that."""
    write(PAUSING)
    prepare(database)

    def pausing(way: dict[str, Any], takeover: int = 2) -> tuple[Machine, datetime]:
        # Told at that level alone is the end of a fire that was made up, as one of a moment before the start is.
        machine = start(way, "--takeover", str(takeover), "--log-level", "debug")
        machine.wait_for((tmp_path / "paused").exists)
        statement = "SELECT scheduled_at FROM persistconn_ledger WHERE state = 'open' AND place LIKE %s"
        [(due,)] = ask(database, statement, f"% pid {machine.process.pid} %", dirty=True)
        return machine, due

    return pausing


def attempts(database: dict[str, Any], due: datetime) -> int:
    [(attempts,)] = ask(database, "SELECT attempts FROM persistconn_ledger WHERE scheduled_at = %s", due)
    return int(attempts)


@pytest.mark.slow
def test_a_machine_that_is_frozen_in_a_job_is_taken_over_and_finds_that_out(
    pausing: Any, start: Any, database: dict[str, Any], tmp_path: Path
) -> None:
    """Its sockets stay open, but its heart has stopped. When it goes on, its job has been done, and it says just that."""
    frozen, due = pausing(database)
    frozen.process.send_signal(signal.SIGSTOP)
    heir = start(database, "--takeover", "2")
    heir.wait_for(lambda: ("shop/pause", due) in effects(database))
    frozen.process.send_signal(signal.SIGCONT)
    (tmp_path / "go").touch()
    told = rf"pause scheduled {due:%Y-%m-%d %H:%M:%S}\S* took .*: done by another machine"
    frozen.wait_for(lambda: re.search(told, frozen.log))
    assert [frozen.stop(), heir.stop()] == [0, 0]
    assert re.search(rf"ended the session \d+ of shop/pause at \S+ pid {frozen.process.pid} ", heir.log)
    assert "failed" not in frozen.log
    found = effects(database)
    assert len(found) == len(set(found)), "a fire took effect twice"


@pytest.mark.slow
def test_a_machine_that_is_gone_without_a_word_is_taken_over(
    pausing: Any, start: Any, database: dict[str, Any]
) -> None:
    """Its cable was pulled, then it died: the server keeps its session, and would keep it for hours."""
    with FaultProxy(database["host"], database["port"]) as proxy:
        gone, due = pausing(proxy.connect_args(database))
        proxy.strike(Drop())
        gone.process.kill()
        gone.process.wait()
        assert under_way(database, "shop/pause") != []
        heir = start(database, "--takeover", "2")
        heir.wait_for(lambda: ("shop/pause", due) in effects(database))
        assert heir.stop() == 0
    assert effects(database).count(("shop/pause", due)) == 1


@pytest.mark.slow
def test_a_machine_that_lives_is_left_alone_however_long_its_job_takes(
    pausing: Any, start: Any, database: dict[str, Any], tmp_path: Path, until_conclusive: Any
) -> None:
    """Others look again and again, for longer than a takeover."""

    def experiment(longer: float) -> str | None:
        takeover = round(2 * longer**2)
        machine, due = pausing(database, takeover)
        other = start(database, "--takeover", str(takeover), "--log-level", "debug")
        looked = f"{due:%H:%M:%S}.* under way on another machine"
        other.wait_for(lambda: len(re.findall(looked, other.log)) >= 6 or "ended the session" in other.log)
        (tmp_path / "go").touch()
        machine.wait_for(lambda: ("shop/pause", due) in effects(database))
        assert [machine.stop(), other.stop()] == [0, 0]
        (tmp_path / "go").unlink()
        (tmp_path / "paused").rmdir()
        if "ended the session" in other.log:
            return f"it was taken over by --takeover {takeover}: its heart had not beaten in time"
        assert attempts(database, due) == 1
        return None

    until_conclusive(experiment)


# --- one machine ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_under_way_is_cancelled_and_has_no_effect(
    write: Any, start: Any, workers: Any, database: dict[str, Any]
) -> None:
    """`runs` shows it, `cancel` stops it by the beginning of its token, and it never runs again."""
    write(LONG)
    prepare(database)
    machine = start(database)
    machine.wait_for(lambda: under_way(database, "shop/long") != [])
    status, table = workers("runs", "fenced_jobs")
    [row] = [line for line in table.splitlines() if "under way" in line]
    assert status == 0
    token = row.split()[0]
    assert re.fullmatch("[0-9a-f]{20}", token)
    status, told = workers("cancel", token, "fenced_jobs")
    assert (status, "was under way and has been stopped" in told) == (0, True), told
    machine.wait_for(lambda: re.search(r"run long scheduled .*: cancelled", machine.log))
    machine.process.kill()
    assert f"{token}  shop/long" in workers("runs", "fenced_jobs")[1]
    assert ask(database, "SELECT state FROM persistconn_ledger WHERE HEX(token) LIKE %s", f"{token}%") == [
        ("cancelled",)
    ]
    assert ask(database, "SELECT * FROM done") == []
    assert "cancelled: " in workers("cancel", token, "fenced_jobs")[1]


@pytest.mark.slow
def test_what_is_done_already_cannot_be_cancelled(workers: Any, write: Any, connect: Any) -> None:
    """The command says so, and ends with 1; a beginning that nothing has is refused."""
    write(FAR)
    leap_on(connect).keyed("first")()
    status, table = workers("runs", "fenced_jobs")
    [_, row] = table.splitlines()
    assert re.search(r"leap \[first\] .* 1 +\d+\.\d{3} s +done", row)
    status, told = workers("cancel", row.split()[0], "fenced_jobs")
    assert (status, told.startswith("not cancelled: ")) == (1, True)
    assert "is done already" in told
    status, told = workers("cancel", "ffff", "fenced_jobs")
    assert (status, "no token in the ledger begins with ffff" in told) == (2, True)


@pytest.mark.slow
def test_a_token_that_has_not_run_is_cancelled_for_good(
    workers: Any, write: Any, connect: Any, database: dict[str, Any]
) -> None:
    """Given whole, for there is no row that its beginning could be looked up in."""
    write(FAR)
    token = fire_token("shop", "leap", datetime(2024, 2, 29, tzinfo=UTC))
    assert workers("cancel", str(token), "fenced_jobs")[0] == 0
    with pytest.raises(persistconn.JobCancelled):
        leap_on(connect).run_as(token, waits=False)
    assert ask(database, "SELECT * FROM done") == []


@pytest.mark.slow
def test_jobs_shows_what_is_late(workers: Any, write: Any, connect: Any, database: dict[str, Any]) -> None:
    """Due for a while, known, not in the ledger, and not under way: with the token of the oldest."""
    write('@persistconn.cron("* * * * *", name="minutely")\n@persistconn.job(using=connect)\ndef minutely(): ...\n')
    assert "late" not in workers("jobs", "fenced_jobs", "--service=shop")[1], "nobody has ever run it"
    know(connect, "shop/minutely", "* * * * * UTC")
    ask(database, "UPDATE persistconn_ledger SET started_at = UTC_TIMESTAMP(6) - INTERVAL 10 MINUTE")
    status, shown = workers("jobs", "fenced_jobs", "--service=shop")
    [line] = [line for line in shown.splitlines() if line.startswith("late")]
    assert status == 0
    assert re.match(r"late: minutely scheduled .* \(token [0-9a-f]{64}\) and ([789]|\d\d) more until ", line)


@pytest.mark.slow
def test_without_a_ledger_the_service_does_not_start(start: Any, write: Any, database: dict[str, Any]) -> None:
    """One line with what to do, and status 2: no job that must happen once is run without it."""
    write(FAR)
    machine = start(database, "--log-level", "error")
    assert machine.process.wait(PATIENCE) == 2
    [line] = machine.log.splitlines()
    assert "is missing, so no job can run" in line
    assert "persistconn.ledger.create" in line


# --- the election --------------------------------------------------------------------------------------------------


TOKEN = fire_token("shop", "long", datetime(2026, 1, 5, 12, tzinfo=UTC))


def test_who_loses_the_election_is_told_at_once(connect: Any) -> None:
    """It neither waits for the winner nor holds a session meanwhile; when that is through, it hears that it is done."""
    inside, leave = threading.Event(), threading.Event()

    @persistconn.job(using=connect, name="long")
    def long() -> None:
        inside.set()
        assert leave.wait(PATIENCE)

    winner = threading.Thread(target=lambda: long.run_as(TOKEN, waits=False))
    winner.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(JobUnderWay, match="is being run by another process"):
        long.run_as(TOKEN, waits=False)
    leave.set()
    winner.join()
    with pytest.raises(DoneElsewhere):
        long.run_as(TOKEN, waits=False)


def test_an_election_is_given_back_however_the_run_ends(connect: Any) -> None:
    """Otherwise a machine whose run has failed would keep the others from it for as long as its session lives."""
    fails = [True]

    @persistconn.job(using=connect, name="long")
    def long() -> str:
        if fails[0]:
            raise ValueError("no")
        return "done"

    with pytest.raises(ValueError, match="no"):
        long.run_as(TOKEN, waits=False)
    fails[0] = False
    outcome: list[str] = []
    other = threading.Thread(target=lambda: outcome.append(long.run_as(TOKEN, waits=False)))
    other.start()
    other.join()
    assert outcome == ["done"]


def test_the_election_of_a_session_that_was_lost_does_not_stop_its_own_replay(connect: Any, server: MariaDB) -> None:
    """The lock went with the session; the replay is elected anew."""
    runs: list[int] = []

    @persistconn.job(using=connect, name="long")
    def long() -> int:
        runs.append(persistconn.current().thread_id())
        if len(runs) == 1:
            server.kill_session(runs[0])
        with persistconn.current().cursor() as cursor:
            cursor.execute("INSERT INTO done VALUES ('long', UTC_TIMESTAMP(6))")
        return len(runs)

    assert long.run_as(TOKEN, waits=False) == 2
    assert len(set(runs)) == 2


def test_a_schedule_is_known_since_it_was_changed(connect: Any) -> None:
    """A restart leaves that as it is; times of a new expression that lie before it are nobody's."""
    first = know(connect, "shop/leap", "0 0 29 2 * UTC")
    assert know(connect, "shop/leap", "0 0 29 2 * UTC") == first
    second = know(connect, "shop/leap", "0 1 29 2 * UTC")
    assert second > first
    assert know(connect, "shop/leap", "0 1 29 2 * UTC") == second
