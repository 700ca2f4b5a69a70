"""Our own tests run on the fixtures of our pytest plugin, as a user's do; here they get the names that ours know."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

import persistconn
from persistconn.keepalive import KEEPALIVE
from persistconn.keeper import KEEPER
from persistconn.testing import MariaDB, ServerNotFound, eventually, find_mariadbd, find_mysqld
from persistconn.testing.containers import IMAGE_VARIABLE

pytest_plugins = ["pytester"]

LONGER = (1.0, 2.0, 4.0)
"""How much longer a moment gets each time that a busy machine has missed it."""
_REPEATED = "repeated with a longer moment"
NO_MYSQL = "no MySQL here; `make test-mysql` fetches it and runs them"


@pytest.fixture(scope="session")
def server(mysql_server: Any) -> MariaDB:
    """A private MariaDB with the usual patience (`wait_timeout` of 8 h), shared by the whole run."""
    if not isinstance(mysql_server, MariaDB):
        pytest.skip(f"these tests are written for MariaDB, and this machine has {mysql_server!r} alone")
    return mysql_server


@pytest.fixture(scope="session")
def mariadb_kind() -> str:
    """The kind to ask `mysql_servers` for. Without a MariaDB the test is left out on a laptop, and fails in CI."""
    try:
        find_mariadbd()
    except ServerNotFound as missing:
        leave_out_or_fail(str(missing), missing, "CI", "PERSISTCONN_REQUIRE_SERVER")
    return "mariadb"


@pytest.fixture(scope="session")
def mysql_kind() -> str:
    """The kind to ask `mysql_servers` for: a container if an image is named, else a private MySQL."""
    if os.environ.get(IMAGE_VARIABLE):
        return "container"
    try:
        find_mysqld()
    except ServerNotFound as missing:
        leave_out_or_fail(NO_MYSQL, missing, "PERSISTCONN_REQUIRE_MYSQL")
    return "mysql"


@pytest.fixture(scope="session")
def mysqld() -> str:
    """The program of a private MySQL, for which no image can stand in."""
    try:
        return find_mysqld()
    except ServerNotFound as missing:
        leave_out_or_fail(NO_MYSQL, missing, *([] if os.environ.get(IMAGE_VARIABLE) else ["PERSISTCONN_REQUIRE_MYSQL"]))


def leave_out_or_fail(why: str, missing: ServerNotFound, *requirements: str) -> NoReturn:
    """Skip the test; where one of these variables is set, fail it: there a skipped test would prove nothing."""
    if any(map(os.environ.get, requirements)):
        pytest.fail(str(missing), pytrace=False)
    pytest.skip(why)


@pytest.fixture
def database(server: MariaDB, mysql_database: dict[str, Any]) -> dict[str, Any]:
    """Connect arguments for a database that is this test's own and is dropped after it."""
    return mysql_database


@pytest.fixture
def no_sweep(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The owner's side alone: no sweep replaces anything behind it, but one that the test makes itself."""
    monkeypatch.setattr(KEEPER, "on_connection", lambda pace: None)
    KEEPALIVE.stop()
    persistconn.shutdown()  # Whatever another test has left would be among what this one counts.
    yield
    persistconn.shutdown()


@pytest.fixture
def kill_query() -> Callable[[Any, int], None]:
    """Cancel the statement of a session, again until it has ended: MySQL forgets a KILL QUERY that comes while it begins."""

    def kill_query(server: Any, session: int) -> None:
        def has_ended() -> bool:
            server.ask(f"KILL QUERY {session}")
            return not any(one.id == session and one.command == "Query" for one in server.processlist())

        eventually(has_ended)

    return kill_query


@pytest.fixture
def note_repetition(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Have the last lines of the run tell why something was repeated with a longer moment."""
    return lambda reason: record_property(_REPEATED, reason)


@pytest.fixture
def until_conclusive(note_repetition: Callable[[str], None]) -> Callable[[Callable[[float], str | None]], None]:
    """Run an experiment whose moment a busy machine can miss, three times at most, each time with a longer moment.

    The experiment is called with the factor by which its moment is to be longer. It returns why it was inconclusive, or None;
    what it finds to be wrong it asserts. The last lines of the run count the repetitions.
    """

    def run(experiment: Callable[[float], str | None]) -> None:
        reasons = []
        for factor in LONGER:
            reason = experiment(factor)
            if reason is None:
                return
            note_repetition(reason)
            reasons.append(reason)
        pytest.fail(f"inconclusive {len(reasons)} times: {'; '.join(reasons)}", pytrace=False)

    return run


# --- the last lines of a run -------------------------------------------------------------------------------------------


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line per reason how many tests were left out, and which were repeated."""
    if hasattr(config, "workerinput"):
        return  # A worker of xdist, which has run a part of them.
    stats = terminalreporter.stats
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in stats.get("skipped", ()))
    lines = [f"{count:,} left out: {reason}" for reason, count in reasons.most_common()]
    for report in (*stats.get("passed", ()), *stats.get("failed", ())):
        lines += [f"{report.nodeid} was {name}: {value}" for name, value in report.user_properties if name == _REPEATED]
    for line in lines:
        terminalreporter.write_line(line)
    _add_to_tally(stats, lines)


def _add_to_tally(stats: dict[str, list[Any]], lines: list[str]) -> None:
    """Add them to the file that `make test` prints at its end, when the runs of all environments are over."""
    tally, environment = os.environ.get("PERSISTCONN_TALLY"), os.environ.get("TOX_ENV_NAME")
    if tally and environment:
        counts = ", ".join(f"{len(stats[kind]):,} {kind}" for kind in ("passed", "failed", "error") if stats.get(kind))
        with Path(tally).open("a", encoding="utf-8") as file:
            file.writelines(f"{environment}: {line}\n" for line in (counts, *lines))
