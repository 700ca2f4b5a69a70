"""Tests under faults: the same seed is the same faults, and a failure names it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from persistconn.testing.chaos import FAULTS, plan, shapes_of

Run = Callable[..., pytest.RunResult]


def test_a_seed_is_a_plan() -> None:
    """The same one each time; another seed has another."""

    def first(seed: int) -> list[object]:
        return list(itertools.islice(plan(FAULTS["random"], seed), 50))

    assert first(3) == first(3)
    assert first(3) != first(4)


@pytest.mark.parametrize("every", [1, 2, 7, 10])
def test_faults_come_as_often_as_was_asked(every: int) -> None:
    """On average; and a connection that was made anew after one is not met by the next in its first statements."""
    numbers = [number for number, _ in itertools.islice(plan(FAULTS["lost"], 1, every), 2000)]
    gaps = [later - earlier for earlier, later in itertools.pairwise([0, *numbers])]
    assert (every + 1) // 2 <= min(gaps)
    assert 0.9 * every < sum(gaps) / len(gaps) < 1.1 * every


def test_faults_go_by_their_names() -> None:
    """One, or several; what there is not is refused with what there is."""
    assert shapes_of("random") == (*FAULTS["idle"], *FAULTS["lost"], *FAULTS["slow"])
    assert shapes_of(["slow", "idle", "slow"]) == (*FAULTS["slow"], *FAULTS["idle"])
    with pytest.raises(ValueError, match="'meteor': there are 'idle', 'lost', 'slow', 'random'"):
        shapes_of(["meteor"])


READER = """
    import pymysql, pytest, persistconn
    db = persistconn.manage(pymysql)
    def read(args, times):
        for number in range(times):
            with db.connect(**args, autocommit=True) as connection, connection.cursor() as cursor:
                cursor.execute("SELECT %s", (number,))
                assert (number,) == cursor.fetchone()
"""


@pytest.mark.server
def test_reads_come_through(run_here: Run) -> None:
    """Faults of all kinds, at reads that may be read again; and they have struck."""
    code = f"""{READER}
    @pytest.mark.persistconn(faults="random", seed=5)
    def test_it(mysql_database, fault_count): read(mysql_database, 200)
    @pytest.fixture
    def fault_count(mysql_under_test):
        yield
        assert mysql_under_test.proxy.fired > 10
    """
    run_here(code).assert_outcomes(passed=1)


@pytest.mark.server
def test_a_loss_between_two_statements_is_met_by_the_next_ones_look(run_here: Run) -> None:
    """The end arrives together with the last answer, so even a write is safe."""
    code = f"""{READER}
    @pytest.mark.persistconn(faults="idle", every=6)
    def test_it(mysql_database):
        connection = db.connect(**mysql_database, autocommit=True)
        connection.query("CREATE TABLE t (id INT)")
        for number in range(300): connection.query(f"INSERT INTO t VALUES ({{number}})")
    """
    run_here(code).assert_outcomes(passed=1)


BARE = """
    import pymysql, pytest
    def work(args):
        bare = pymysql.connect(**args)
        try:
            for number in range(100): bare.cursor().execute("SELECT 1")
        finally:
            if bare.open: bare.close()
"""


@pytest.mark.server
def test_a_failure_names_its_seed_and_is_had_again_by_it(run_here: Run) -> None:
    """From the marker, drawn where there is none, or from the command line; with all that has struck."""
    code = f"""{BARE}
    @pytest.mark.persistconn(faults="random", every=5)
    def test_it(mysql_database): work(mysql_database)
    """
    first = run_here(code)
    first.assert_outcomes(failed=1)
    lines = [line for line in first.stdout.lines if "persistconn-seed" in line or line.startswith("  statement ")]
    (seed,) = [line.rpartition("=")[2] for line in lines if "persistconn-seed" in line]
    again = run_here(code, f"--persistconn-seed={seed}")
    assert lines == [
        line for line in again.stdout.lines if "persistconn-seed" in line or line.startswith("  statement ")
    ]
    assert 2 <= len(lines)


@pytest.mark.server
def test_faults_spare_what_comes_before_and_after(run_here: Run) -> None:
    """Set up and cleaned away in peace, and the next test has its server as ever."""
    code = f"""{BARE}
    @pytest.fixture
    def busy(mysql_database):
        work(mysql_database)
        yield mysql_database
        work(mysql_database)
    @pytest.mark.persistconn(faults="lost", seed=1, every=2)
    def test_it(busy): ...
    def test_next(mysql, busy): assert mysql.proxy is None
    """
    run_here(code).assert_outcomes(passed=2)
