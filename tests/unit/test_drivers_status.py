"""The status flags that are concluded from the statements where the library does not tell them."""

from __future__ import annotations

import pytest

from persistconn.drivers.status import AUTOCOMMIT, IN_TRANSACTION, MORE_RESULTS, conclude, is_several

NOT_OPEN, OPEN = AUTOCOMMIT, AUTOCOMMIT | IN_TRANSACTION


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN",
        b"begin",
        "/* job */ START TRANSACTION",
        "XA START 'x'",
        "CALL p()",
        "EXECUTE s",
        "SELECT 1; BEGIN",
        "/*!50000 BEGIN */",
        "/*M! START TRANSACTION */",
    ],
)
def test_what_begins_or_may_begin_a_transaction(sql: str | bytes) -> None:
    """A procedure, or a comment that the server executes, may do it unseen."""
    assert conclude(sql, NOT_OPEN, autocommit=True, more_results=False) == OPEN


@pytest.mark.parametrize("sql", ["SELECT 1", "INSERT INTO t VALUES (1)", "SELECT ';'", "COMMIT", "SET x = 1", ""])
def test_what_begins_none_under_autocommit(sql: str) -> None:
    """Each is a transaction of its own."""
    assert conclude(sql, NOT_OPEN, autocommit=True, more_results=False) == NOT_OPEN


@pytest.mark.parametrize(
    "sql", ["COMMIT", "rollback", b"/* end */ COMMIT", "ROLLBACK AND NO RELEASE", "COMMIT AND NO CHAIN"]
)
def test_what_ends_it(sql: str | bytes) -> None:
    """Whatever was open before."""
    assert conclude(sql, OPEN, autocommit=True, more_results=False) == NOT_OPEN


@pytest.mark.parametrize(
    "sql", ["SELECT 1", "SAVEPOINT a", "ROLLBACK TO a", "ROLLBACK AND CHAIN", "COMMIT AND CHAIN", ""]
)
def test_what_keeps_it_open(sql: str) -> None:
    """A savepoint is none of its own, and CHAIN begins the next one."""
    assert conclude(sql, OPEN, autocommit=True, more_results=False) == OPEN


def test_without_autocommit_every_statement_may_open_one() -> None:
    """Except those that touch no table; switching autocommit on commits."""
    assert conclude("SELECT 1", 0, autocommit=False, more_results=False) == IN_TRANSACTION
    assert conclude("SELECT 1; COMMIT", 0, autocommit=False, more_results=False) == IN_TRANSACTION
    assert conclude("SET NAMES utf8mb4", 0, autocommit=False, more_results=False) == 0
    assert conclude("", 0, autocommit=False, more_results=False) == 0
    assert conclude("SET autocommit = 1", IN_TRANSACTION, autocommit=True, more_results=False) == NOT_OPEN


def test_further_results_are_passed_on() -> None:
    """As the library said."""
    assert conclude("SELECT 1", NOT_OPEN, autocommit=True, more_results=True) == NOT_OPEN | MORE_RESULTS


@pytest.mark.parametrize(
    ("sql", "several"), [("SELECT 1;", False), (b"SELECT 1; SELECT 2", True), ("SELECT ';' ", True)]
)
def test_several_statements_in_one_text(sql: str | bytes, several: bool) -> None:
    """A semicolon in a string counts: it is the side to err on."""
    assert is_several(sql) == several
