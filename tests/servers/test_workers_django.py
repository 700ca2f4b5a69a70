"""The service in a Django project: jobs are found, threads are warmed, and a connection that cannot be is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest

from persistconn.testing import MariaDB, eventually

pytestmark = [pytest.mark.server, pytest.mark.slow]

PATIENCE = 120  # seconds until a test gives up on a process
SETTINGS = """
import json, os

arguments = json.loads(os.environ["TEST_DATABASE"])
SECRET_KEY = "of a test"
INSTALLED_APPS = ["persistconn", "billing"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "persistconn.backends.mysql",
        "NAME": arguments["database"],
        "USER": arguments["user"],
        "PASSWORD": arguments["password"],
        "HOST": arguments["host"],
        "PORT": arguments["port"],
        "OPTIONS": {"persistconn": {"give_up_after": 60}},
    }
}
LOGGING = {"version": 1}  # disables the loggers that exist before it, ours among them
"""
JOBS = """
from django.db import connection
from persistconn.cronjobs import cron

@cron("* * * * * *")
def settle():
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        print("settled", flush=True)
"""
MODELS = """
from django.db import models
from django.db.models.functions import Lower

class Customer(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        indexes = [models.Index(Lower("name"), name="name_in_lower_case")]  # which Django asks the server about
"""
FENCED_JOBS = """
from django.db import connection
import persistconn

@persistconn.cron("* * * * * *")
@persistconn.job
def settle():
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO settled VALUES (1)")
"""
COMMANDS = {
    "run": ["-m", "workers", "run", "--threads", "3"],
    "runworkers": ["-m", "django", "runworkers", "--threads", "3"],
}


@pytest.fixture
def environment(tmp_path: Path, database: dict[str, Any]) -> dict[str, str]:
    """A Django project with one app, whose jobs.py has a job for each second."""
    (tmp_path / "project_settings.py").write_text(SETTINGS)
    (tmp_path / "billing").mkdir()
    (tmp_path / "billing" / "__init__.py").touch()
    (tmp_path / "billing" / "jobs.py").write_text(JOBS)
    (tmp_path / "billing" / "models.py").write_text(MODELS)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *(path for path in sys.path if path)]),
        "DJANGO_SETTINGS_MODULE": "project_settings",
        "TEST_DATABASE": json.dumps(database),
    }


@pytest.fixture
def start(tmp_path: Path, environment: dict[str, str]) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(command: str) -> subprocess.Popen[str]:
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            argv = [sys.executable, *COMMANDS[command]]
            started.append(subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=out, stderr=err, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def give_up_after(tmp_path: Path) -> Callable[[float], None]:
    """Have the project wait so many seconds for a database that is away."""
    settings = tmp_path / "project_settings.py"

    def change(seconds: float) -> None:
        settings.write_text(SETTINGS.replace('"give_up_after": 60', f'"give_up_after": {seconds}'))

    return change


def aborted(server: MariaDB, database: dict[str, Any]) -> list[str]:
    """Return the server's complaints about clients that left without a word, once all have left."""
    eventually(lambda: database["database"] not in [session.db for session in server.processlist()])
    return [line for line in server.aborted_in_log() if database["database"] in line]


@pytest.mark.parametrize("command", COMMANDS)
def test_jobs_of_the_installed_apps_run_on_warm_threads_until_sigterm(
    command: str, start: Any, tmp_path: Path, server: MariaDB, database: dict[str, Any]
) -> None:
    """Every thread has its session from the start; the end has status 0, and the server has no complaint."""
    process = start(command)
    eventually(lambda: "settled" in (tmp_path / "out").read_text(), PATIENCE)
    eventually(lambda: sum(session.db == database["database"] for session in server.processlist()) == 3, PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    log = (tmp_path / "err").read_text()
    assert "run billing.jobs.settle scheduled" in log
    assert "rolled back" not in log
    assert aborted(server, database) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("wrong", "status", "advice"),
    [
        ({"password": "s3cret"}, 2, "check user and password"),
        ({"database": "nowhere"}, 2, "check"),
        ({"port": 1}, 1, "is the server up"),
    ],
    ids=["password", "database", "server"],
)
def test_a_connection_that_cannot_be_ends_it_with_one_clear_message(
    wrong: dict[str, Any],
    status: int,
    advice: str,
    command: str,
    start: Any,
    tmp_path: Path,
    environment: dict[str, str],
    database: dict[str, Any],
    give_up_after: Callable[[float], None],
) -> None:
    """At the start, on one thread; no traceback, no password, and nothing on the seven other threads."""
    give_up_after(1)
    environment["TEST_DATABASE"] = json.dumps({**database, **wrong})
    assert start(command).wait(PATIENCE) == status
    log = (tmp_path / "err").read_text()
    complaints = [line for line in log.splitlines() if advice in line]
    assert len(complaints) == 1, log
    assert "Traceback" not in log
    assert "s3cret" not in log


def test_a_server_without_a_free_session_is_told_with_what_to_do(
    start: Any,
    tmp_path: Path,
    environment: dict[str, str],
    server: MariaDB,
    give_up_after: Callable[[float], None],
) -> None:
    """After give_up_after, with the setting to raise."""
    give_up_after(1)
    with MariaDB(max_connections=10) as full:
        held = [pymysql.connect(**full.connect_args()) for _ in range(10)]
        environment["TEST_DATABASE"] = json.dumps(full.connect_args())
        assert start("run").wait(PATIENCE) == 1
        for connection in held:
            connection.close()
    assert "raise its max_connections" in (tmp_path / "err").read_text().splitlines()[-1]


def test_a_server_that_comes_back_in_time_is_waited_for(
    start: Any, tmp_path: Path, environment: dict[str, str], server: MariaDB
) -> None:
    """A service that starts before its database does not give up at once."""
    with MariaDB() as late:
        environment["TEST_DATABASE"] = json.dumps(late.connect_args())
        late.stop()
        process = start("run")
        eventually(lambda: "waiting for it" in (tmp_path / "err").read_text(), PATIENCE)
        late.start()
        eventually(lambda: "settled" in (tmp_path / "out").read_text(), PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        eventually(lambda: late.clients() == [])
        assert late.aborted_in_log() == []


def test_a_signal_while_it_waits_for_the_server_ends_it(
    start: Any,
    tmp_path: Path,
    environment: dict[str, str],
    database: dict[str, Any],
    give_up_after: Callable[[float], None],
) -> None:
    """Whoever stops it must not have to wait for give_up_after."""
    give_up_after(3600)
    environment["TEST_DATABASE"] = json.dumps({**database, "port": 1})
    process = start("run")
    eventually(lambda: "waiting for it" in (tmp_path / "err").read_text(), PATIENCE)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0


def test_fenced_jobs_have_their_ledger_on_their_alias(
    start: Any, tmp_path: Path, environment: dict[str, str], server: MariaDB, database: dict[str, Any]
) -> None:
    """Migrated with the project: each effect has its row, the service goes by the settings, and `runs` finds them."""
    (tmp_path / "billing" / "jobs.py").write_text(FENCED_JOBS)
    migrate = [sys.executable, "-m", "django", "migrate", "--verbosity=0"]
    subprocess.run(migrate, cwd=tmp_path, env=environment, check=True, timeout=PATIENCE)
    connection = pymysql.connect(**database, autocommit=True)
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE settled (n INT) ENGINE = InnoDB")
        process = start("runworkers")
        eventually(lambda: cursor.execute("SELECT n FROM settled") >= 2, PATIENCE)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
        cursor.execute("SELECT COUNT(*), (SELECT COUNT(*) FROM settled) FROM persistconn_ledger WHERE attempts > 0")
        [(tokens, effects)] = cursor.fetchall()
    assert tokens == effects
    command = [sys.executable, "-m", "workers", "runs", "--last=2"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert shown.stdout.count("  project_settings/billing.jobs.settle  ") == 2
    assert aborted(server, database) == []
