"""The stage: a private server with two accounts, each with a database that holds the tables of the example project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pymysql

from persistconn.testing import MariaDB

WAIT_TIMEOUT = 2
_MIGRATION_TIMEOUT = 120.0  # seconds; two are usual


class StageError(Exception):
    """The demo cannot go on; the text says why, in one line if possible."""


@dataclass(frozen=True)
class Account:
    """One side's login and database, both by the same name, and the Django engine that it uses."""

    name: str
    engine: str


OURS = Account("persistconn", "persistconn.backends.mysql")
STOCK = Account("stock", "django.db.backends.mysql")
ACCOUNTS = (OURS, STOCK)


class Stage:
    """The server as set up for the demo, and what may be done to it and asked of it. Up between enter and exit."""

    def __init__(self, project: Path) -> None:
        """Raise ServerNotFound, with the command that installs it, if there is no MariaDB."""
        self._project = project
        # userstat makes the server count the sessions that each account opens.
        self.server = MariaDB(wait_timeout=WAIT_TIMEOUT, userstat=True)

    def __enter__(self) -> Stage:
        self.server.__enter__()
        try:
            self._create_accounts()
        except BaseException:
            self.server.close()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Everything in it is thrown away, so there is no sense in an orderly end, which might take long after a Ctrl-C.
        self.server.kill()
        self.server.close()

    # --- for the service processes ---------------------------------------------------------------------------------

    def environment(self, account: Account) -> dict[str, str]:
        """Return the environment in which a process works on an account's database."""
        # Both named, for Python may have been told not to look where it is started.
        paths = [str(self._project), str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "DJANGO_SETTINGS_MODULE": "invoices.settings",
            "INVOICES_DB_ENGINE": account.engine,
            "INVOICES_DB_HOST": self.server.host,
            "INVOICES_DB_PORT": str(self.server.port),
            "INVOICES_DB_USER": account.name,
            "INVOICES_DB_PASSWORD": self.server.password,
            "INVOICES_DB_NAME": account.name,
        }

    def migrate(self) -> None:
        """Make the tables, on both sides at once. Raises StageError with Django's last word if that fails."""
        command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
        migrations = [
            subprocess.Popen(
                command,
                cwd=self._project,
                env=self.environment(account),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for account in ACCOUNTS
        ]
        try:
            for account, migration in zip(ACCOUNTS, migrations, strict=True):
                _, said = migration.communicate(timeout=_MIGRATION_TIMEOUT)
                if migration.returncode:
                    last = said.strip().splitlines()[-1:] or ["it says nothing"]
                    raise StageError(f"manage.py migrate failed on {account.engine}: {last[0]}")
        finally:
            for migration in migrations:
                migration.kill()
                migration.communicate()

    def log_of(self, account: Account) -> Path:
        """Return where the log of a side's process goes; it vanishes with the server's directory."""
        return self.server.directory / f"{account.name}.log"

    # --- for the faults ----------------------------------------------------------------------------------------------

    def sessions(self, side: str) -> list[int]:
        """Return the ids of a side's sessions, the oldest first."""
        return [session.id for session in self.server.processlist() if session.user == side]

    def kill_session(self, session_id: int) -> None:
        """End one, as an administrator does."""
        self.server.kill_session(session_id)

    def opened(self, side: str) -> int:
        """Return how many sessions a side has opened since the server was started."""
        statement = "SELECT TOTAL_CONNECTIONS FROM information_schema.USER_STATISTICS WHERE USER = %s"
        with self.asking() as cursor:
            cursor.execute(statement, (side,))
            row = cursor.fetchone()
        return int(row[0]) if row else 0

    def crash(self) -> None:
        """Kill the server with SIGKILL."""
        self.server.kill()

    def restart(self) -> None:
        """Start it again on the same data and port."""
        self.server.start()

    # --- for the verdict ---------------------------------------------------------------------------------------------

    @contextmanager
    def asking(self) -> Iterator[Any]:
        """Lend a cursor of a new connection that may ask everything. Raises StageError if the server is not there."""
        try:
            with closing(self.server.admin()) as admin, admin.cursor() as cursor:
                yield cursor
        except pymysql.MySQLError as error:
            raise StageError(f"the server does not answer: {error}; its log said last: {self._last_words()}") from error

    def now(self) -> datetime:
        """Return the server's time, in UTC, as the rows carry it."""
        with self.asking() as cursor:
            cursor.execute("SELECT UTC_TIMESTAMP(6)")
            (moment,) = cursor.fetchone()
        assert isinstance(moment, datetime)
        return moment

    def expired(self, side: str) -> int:
        """Return how many of a side's sessions the server has ended because of ``wait_timeout``."""
        return self._log_lines(side, "Got timeout reading")

    def left_without_a_word(self, side: str) -> int:
        """Return how many of a side's sessions the client has ended without COM_QUIT."""
        return self._log_lines(side, "Got an error reading")

    def _log_lines(self, side: str, reason: str) -> int:
        return sum(f"user: '{side}'" in line and reason in line for line in self.server.aborted_in_log())

    def _last_words(self) -> str:
        lines = self.server.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "nothing")

    def _create_accounts(self) -> None:
        with self.asking() as cursor:
            for account in ACCOUNTS:
                cursor.execute(f"CREATE DATABASE {account.name} CHARACTER SET utf8mb4")
                cursor.execute(f"CREATE USER {account.name}@'%%' IDENTIFIED BY %s", (self.server.password,))
                cursor.execute(f"GRANT ALL PRIVILEGES ON {account.name}.* TO {account.name}@'%'")
