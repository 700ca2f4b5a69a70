"""Beside pytest-django: nobody holds a session to a test database when that is dropped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

_SETUP = "django_db_setup"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Iterator[Any]:
    """Have every held session closed before pytest-django's databases are torn down."""
    value = yield
    if fixturedef.argname == _SETUP:
        # Finalizers run last in, first out: this one before the fixture's own.
        fixturedef.addfinalizer(_close_held)
    return value


def _close_held() -> None:
    """Close all that persistconn holds, if it has been used: a session idle in a transaction would block the DROP."""
    persistconn = sys.modules.get("persistconn")
    if persistconn is not None:
        persistconn.shutdown()
