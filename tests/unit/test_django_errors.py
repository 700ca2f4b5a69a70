"""What comes out of Django's error wrapping. No server."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pymysql
import pytest
from django.db import IntegrityError, OperationalError

import persistconn
from persistconn.backends.mysql.errors import ErrorWrapper
from persistconn.errors import bind

DRIVERS = bind(pymysql.OperationalError)


@pytest.fixture
def wrapper() -> Any:
    """What the error wrapper needs of a DatabaseWrapper."""
    return SimpleNamespace(Database=pymysql, errors_occurred=False)


@pytest.mark.parametrize(
    "name", ["ConnectionLost", "TransactionLost", "OutcomeUnknown", "SessionStateLost", "DatabaseUnavailable"]
)
def test_our_errors_are_djangos_as_well(wrapper: Any, name: str) -> None:
    """Caught by the name that a job knows, and by the name that a library knows; the driver's is the cause."""
    driven = getattr(DRIVERS, name)(2013, "lost")
    with pytest.raises(getattr(persistconn, name)) as caught, ErrorWrapper(wrapper):
        raise driven
    assert isinstance(caught.value, OperationalError)
    assert not isinstance(caught.value, pymysql.Error)
    assert caught.value.args == (2013, "lost")
    assert caught.value.__cause__ is driven
    assert wrapper.errors_occurred


def test_an_error_is_wrapped_once(wrapper: Any) -> None:
    """Django nests its wrapping: what has come through one level passes the next as it is."""
    with pytest.raises(persistconn.TransactionLost) as caught, ErrorWrapper(wrapper), ErrorWrapper(wrapper):
        raise DRIVERS.TransactionLost(2013, "lost")
    assert caught.value.__cause__ is not None
    assert not isinstance(caught.value.__cause__, OperationalError)


def test_the_drivers_errors_are_wrapped_as_ever(wrapper: Any) -> None:
    """All others go Django's own way."""
    with pytest.raises(IntegrityError), ErrorWrapper(wrapper):
        raise pymysql.IntegrityError(1062, "Duplicate entry")
    assert not wrapper.errors_occurred


def test_errors_of_others_pass_unchanged(wrapper: Any) -> None:
    """A ValueError of the caller is nobody's database error."""
    with pytest.raises(ValueError, match="mine"), ErrorWrapper(wrapper):
        raise ValueError("mine")
