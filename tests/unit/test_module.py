"""`manage()` and the errors: what they take, what they refuse, what they import."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import Any

import pymysql
import pytest

import persistconn
from persistconn import errors


def test_same_module_and_settings_give_the_same_wrapper() -> None:
    """So that one thread's connection is one, whoever manages the module."""
    assert persistconn.manage(pymysql) is persistconn.manage(pymysql, keepalive=7 * 3600)
    assert persistconn.manage(pymysql) is persistconn.manage(persistconn.manage(pymysql, keepalive=60), trust=90)
    assert persistconn.manage(pymysql) is not persistconn.manage(pymysql, keepalive=60)


def test_wrappers_that_read_alike_share_a_driver() -> None:
    """A driver makes a connection class, and `fast_reads` says which."""
    fast, plain = persistconn.manage(pymysql), persistconn.manage(pymysql, fast_reads=False)
    assert persistconn.manage(pymysql, keepalive=60).driver is fast.driver
    assert persistconn.manage(pymysql, keepalive=60, fast_reads=False).driver is plain.driver
    assert plain.driver is not fast.driver


@pytest.mark.parametrize("module", [sys, None, "pymysql", [], pymysql.Connection])
def test_what_is_no_pep_249_module_is_refused(module: Any) -> None:
    """With what it should have been."""
    with pytest.raises(persistconn.ConfigError, match="PEP 249 module such as pymysql, not"):
        persistconn.manage(module)


def test_pep_249_module_without_a_driver_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(
        persistconn.ConfigError, match="no driver for the module 'sqlite3'; it has one for: pymysql, MySQLdb"
    ):
        persistconn.manage(sqlite3)


def test_losses_are_the_driver_s_operational_errors_too() -> None:
    """`except OperationalError` keeps working, and the public name is what a traceback shows."""
    bound = errors.bind(pymysql.OperationalError)
    for name in ("ConnectionLost", "TransactionLost", "OutcomeUnknown", "SessionStateLost", "DatabaseUnavailable"):
        made = getattr(bound, name)(2013, "what happened")
        assert isinstance(made, (getattr(persistconn, name), pymysql.OperationalError))
        assert isinstance(made, persistconn.ConnectionLost) == (name != "DatabaseUnavailable")
        assert ("what happened", f"persistconn.{name}") == (str(made), f"{type(made).__module__}.{type(made).__name__}")
    assert isinstance(bound.TransactionLost(), bound.ConnectionLost)


def test_errors_are_carried_from_one_tree_to_another() -> None:
    """Django's wrapping makes the same error of its own tree, arguments included."""

    class Other(Exception):
        """Some other OperationalError."""

    lost = errors.bind(pymysql.OperationalError).TransactionLost(2013, "what happened")
    like = errors.bind(Other).like(lost)
    assert isinstance(like, Other)
    assert isinstance(like, persistconn.TransactionLost)
    assert (2013, "what happened") == like.args


def test_importing_it_imports_no_integration() -> None:
    """Neither Django nor APScheduler, cronsim or rich, until they are used."""
    code = "import sys, persistconn; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert not {"django", "apscheduler", "cronsim", "rich", "pymysql", "celery"} & set(out.split())
