"""The round trips of a task are exact, so they are asserted: counted at the server, with sweep upon sweep beside them."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from campaigns.places import Private

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.mark.parametrize(
    ("contestant", "answers"),
    [
        ("bare", 1),
        ("managed", 1),
        ("managed unit", 1),
        ("ping", 2),
        ("django", 1),
        ("django ours", 1),
        ("django ours closing", 1),
        ("transaction", 3),
        ("atomic", 4),
        ("atomic ours", 2),
        ("empty ours", 0),
        ("job django", 3),
        ("job", 3),
    ],
)
def test_a_task_needs_so_many_round_trips(
    place: Private, arguments: dict[str, Any], contestant: str, answers: int
) -> None:
    """Those of persistconn need as many as the bare driver, or as Django without any safety, and no connect."""
    from benchmarks import trips
    from benchmarks.arena import SMALL

    counted = trips.count([contestant], place, arguments, SMALL)[contestant]
    assert (answers, 0) == (counted.answers, counted.connects)


def test_mysqlclient_needs_no_more_than_the_bare_driver(place: Private, arguments: dict[str, Any]) -> None:
    """One round trip for one read."""
    from benchmarks import trips
    from benchmarks.arena import SMALL

    if not os.environ.get("PERSISTCONN_REQUIRE_MYSQLCLIENT") and not importlib.util.find_spec("MySQLdb"):
        pytest.skip("mysqlclient is not installed")
    counted = trips.count(["bare mysqlclient", "managed mysqlclient"], place, arguments, SMALL)
    assert [1, 1] == [trips.answers for trips in counted.values()]


def test_the_counters_do_not_count_themselves(place: Private) -> None:
    """However often they are asked, nothing has happened meanwhile."""
    from benchmarks.ground import Counters

    counters = Counters(place)
    before = counters.look()
    counters.wait_until_alone()
    assert counters.look() == before
