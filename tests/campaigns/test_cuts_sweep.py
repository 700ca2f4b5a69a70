"""The sweep of cuts on a real server: a fixed sample, and one combination whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from campaigns.cuts import figures
from campaigns.cuts.__main__ import WHOLE, choose, run_sample
from campaigns.cuts.cases import Case, Combination
from campaigns.cuts.crew import CUTTING, Crew, making, plan_all
from campaigns.cuts.oracle import Flaw, Mode, Told
from campaigns.cuts.servers import Access, is_mysql_here, serving
from campaigns.cuts.station import Station
from persistconn.testing.faults import Direction

pytestmark = [pytest.mark.server, pytest.mark.slow]

COMBINATION = Combination("mariadb", "pymysql", "plain", Mode.AUTOCOMMIT)


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, Access]]:
    """MariaDB, and MySQL where there is one."""
    names = ["mariadb", *(["mysql"] if is_mysql_here() else [])]
    with serving(names) as servers:
        yield servers


@pytest.fixture
def station(servers: dict[str, Access]) -> Iterator[Station]:
    """A proxy and a database of this test's own."""
    with Station(servers["mariadb"]) as station:
        yield station


def test_no_promise_is_broken_in_a_sample_of_the_sweep(
    servers: dict[str, Access], note_repetition: Callable[[str], None]
) -> None:
    """A thousand cases of all combinations that can run here by a fixed seed, and one combination whole."""
    chosen = choose("*", mysql="mysql" in servers)
    with Crew(servers, CUTTING) as crew:
        plans = plan_all(chosen, servers)
        counted = run_sample(crew, plans, size=1000, seed=1)
    assert counted.cases >= 1000 + len(next(cases for one, cases in plans.items() if str(one) == WHOLE)) / 2
    assert not counted.broken, "\n".join(figures.tell(counted))
    if counted.again:
        note_repetition(f"{counted.again} of {counted.cases:,} cases: the machine was too busy to answer in time")
    assert {server: [] for server in servers} == {name: access.leftovers() for name, access in servers.items()}


class Forgetful:
    """A client that sends a write again when it was lost, as many do."""

    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def execute(self, sql: str) -> object:
        try:
            return self._inner.execute(sql)  # type: ignore[attr-defined]
        except Exception:
            return self._inner.execute(sql)  # type: ignore[attr-defined]


def test_the_sweep_catches_a_client_that_repeats_its_writes(station: Station) -> None:
    """Lost behind the server's work: twice there. A sweep that finds nothing on such a client proves nothing."""
    make = making(COMBINATION)
    packets = station.record(COMBINATION.mode, make).packets
    answer = next(one for one in packets if one.words == "INSERT INTO" and one.direction is Direction.TO_CLIENT)
    case = Case(COMBINATION, answer.direction, answer.number, "before", "rst")
    honest = station.run(case, make)
    assert honest.record.told("insert") is Told.OUTCOME_UNKNOWN
    assert honest.findings == ()
    doubled = station.run(case, lambda address: Forgetful(make(address)))  # type: ignore[arg-type,return-value]
    assert [Flaw.DOUBLED] == [finding.flaw for finding in doubled.findings]


def test_a_combination_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    """Until the code changes, or the cases do."""
    cases = [Case(COMBINATION, Direction.TO_SERVER, 1, "before", "rst")]
    path = tmp_path / "cuts" / "one.json"
    assert figures.load(path, cases, "code") is None
    counted = figures.Count(cases=1, unnoticed=1)
    figures.save(path, cases, "code", counted)
    assert counted == figures.load(path, cases, "code")
    assert figures.load(path, cases, "other code") is None
    assert figures.load(path, cases * 2, "code") is None
