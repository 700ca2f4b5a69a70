"""A bench for jobs: a database with a ledger and a few tables, this thread's connection to it, and what the server has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import persistconn
from persistconn.once import probe, rows
from persistconn.testing import eventually
from persistconn.testing.faults import FaultProxy


@pytest.fixture(autouse=True)
def _no_sweep(no_sweep: None) -> None:
    """For all tests of jobs."""


class Bench:
    """Where the jobs of a test run. Jobs write the column ``x`` of the table ``t``."""

    def __init__(
        self, server: Any, module: ModuleType, name: str, arguments: dict[str, Any], has_procedures: bool
    ) -> None:
        self.server = server
        self.module = module
        self.name = name
        self.arguments = arguments
        self.settings: dict[str, Any] = {}
        self.fence = rows.BEGIN if has_procedures else "INSERT INTO `"
        """What the statement contains that takes the token."""
        self.commit = rows.END if has_procedures else "COMMIT"
        """What the statement contains that commits."""

    def connect(self, **extra: Any) -> Any:
        """Return this thread's connection."""
        return persistconn.manage(self.module, **self.settings).connect(**{**self.arguments, **extra})

    def job(self, function: Callable[..., Any] | None = None, /, **settings: Any) -> Any:
        """Make a job that runs here."""
        decorate = persistconn.job(using=self.connect, **settings)
        return decorate if function is None else decorate(function)

    def run(self, sql: str, *values: Any, on: Any = None) -> list[tuple[Any, ...]]:
        """Run a statement on this thread's connection, in the driver's plain cursor; return its rows."""
        with (on or self.connect()).cursor(self.module.cursors.Cursor) as cursor:
            cursor.execute(sql, values or None)
            return list(cursor.fetchall())

    def add(self, x: int) -> None:
        """Write one row, as jobs do."""
        self.run("INSERT INTO t (x) VALUES (%s)", x)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the server in a session of its own; ``{}`` is this test's database."""
        return self.server.ask(sql.replace("{}", self.name))

    @property
    def effects(self) -> list[int]:
        """What is in the table, read from the server."""
        return [x for (x,) in self.ask("SELECT x FROM {}.t ORDER BY id")]

    @property
    def states(self) -> list[str]:
        """The states of the ledger's rows, in the order in which they were begun."""
        return [state for (state,) in self.ask("SELECT state FROM {}.persistconn_ledger ORDER BY started_at")]

    @property
    def session(self) -> int:
        """The server's id of this thread's session."""
        held = self.connect()._held
        return int(held.driver.session_id(held.raw))

    def kill(self) -> None:
        """End this thread's session, and wait until that can be seen from here."""
        held = self.connect()._held
        raw = held.raw
        self.server.kill_session(held.driver.session_id(raw))
        eventually(lambda: held.driver.hung_up(raw))

    def count(self, name: str) -> int:
        """Return one of the server's counters."""
        return int(self.ask(f"SHOW GLOBAL STATUS WHERE Variable_name = '{name}'")[0][1])


@pytest.fixture(params=["together", "one-by-one"])
def has_procedures(request: pytest.FixtureRequest) -> bool:
    """Whether the protocol's statements travel together."""
    return bool(request.param == "together")


# Of eight ways these four hold each pair of server, driver and protocol. PERSISTCONN_ALL_WAYS=1 runs all.
WAYS = {
    ("mariadb", "pymysql", "together"),
    ("mariadb", "MySQLdb", "one-by-one"),
    ("mysql", "pymysql", "one-by-one"),
    ("mysql", "MySQLdb", "together"),
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the ways that the others cover pair by pair."""
    if os.environ.get("PERSISTCONN_ALL_WAYS"):
        return
    left_out = [item for item in items if not _is_wanted(item)]
    items[:] = [item for item in items if item not in set(left_out)]
    config.hook.pytest_deselected(items=left_out)


def _is_wanted(item: pytest.Item) -> bool:
    chosen = getattr(item, "callspec", None)
    if chosen is None or "has_procedures" not in chosen.params:
        return True
    return tuple(chosen.params[name] for name in ("contract_server", "module", "has_procedures")) in WAYS


@pytest.fixture
def proof_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the ledger of each test proved in less time than a process takes for it: the tests of the proof override this.

    A ledger that fences passes either way, because its second insert waits for the first to be committed.
    """
    monkeypatch.setattr(probe, "_BLOCKS", 0.005)


@pytest.fixture
def bench(
    contract_server: Any,
    module: ModuleType,
    database: str,
    arguments: dict[str, Any],
    has_procedures: bool,
    proof_pause: None,
) -> Iterator[Bench]:
    """A database with a ledger and an empty table ``t``."""
    bench = Bench(contract_server, module, database, arguments, has_procedures)
    persistconn.ledger.create(bench.connect(), procedures=has_procedures)
    yield bench
    probe.forget()


@pytest.fixture
def proxy(bench: Bench) -> Iterator[FaultProxy]:
    """Stands between the bench's connections and the server from here on; their first job is behind them."""
    bench.connect().retire()
    with FaultProxy(bench.arguments["host"], bench.arguments["port"]) as proxy:
        bench.arguments = proxy.connect_args(bench.arguments)
        bench.job(lambda: bench.add(0), name="first")()
        bench.ask("DELETE FROM {}.t")
        bench.ask("DELETE FROM {}.persistconn_ledger")
        yield proxy
        persistconn.shutdown()
