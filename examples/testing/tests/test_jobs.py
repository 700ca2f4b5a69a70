"""A job comes through what happens to connections."""

from __future__ import annotations

from typing import Any

import pytest
from shop.jobs import settle
from shop.models import Invoice, Settlement

import persistconn
from persistconn.testing.replay import assert_replay_safe

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def invoices() -> list[int]:
    return [Invoice.objects.create(amount=100).pk for _ in range(10)]


def test_after_a_quiet_night(invoices: list[int], expire: Any, no_surfaced_errors: Any) -> None:
    """The connections of four threads outlive `wait_timeout`; the next jobs do not notice."""
    with persistconn.Executor(max_workers=4) as pool:
        list(pool.map(settle, invoices[:5]))
        assert expire() >= 1
        list(pool.map(settle, invoices[5:]))
    assert Settlement.objects.count() == 10


def test_server_crash(invoices: list[int], restart_server: Any, no_surfaced_errors: Any) -> None:
    """`kill -9` between two jobs."""
    with persistconn.Executor(max_workers=2) as pool:
        list(pool.map(settle, invoices[:5]))
        restart_server(kill=True)
        list(pool.map(settle, invoices[5:]))
    assert Settlement.objects.count() == 10


@pytest.mark.usefixtures("mysql")
@pytest.mark.persistconn(faults="random", seed=3)
def test_under_faults(invoices: list[int], no_surfaced_errors: Any) -> None:
    """Cuts, resets and delays at random statements: each invoice is settled exactly once all the same."""
    with persistconn.Executor(max_workers=1) as pool:
        list(pool.map(settle, invoices))
    assert Settlement.objects.count() == 10


def test_it_can_be_replayed(invoices: list[int]) -> None:
    """Lost at each of its statements in turn, it ends alike."""
    assert_replay_safe(settle, invoices[0])
