"""What the service processes tell, on its way to the demo's state."""

from __future__ import annotations

import pymysql
import pytest
from django.db import InterfaceError, OperationalError

from persistconn.errors import TransactionLost, bind
from workers.demo.events import Connections, Event, Held, Run, Started, decode, encode, kind_of, run_event
from workers.demo.state import SideState

HELD = Held("workers_0", 7, "idle", 1.5, 0.25, {"the server hung up": 2})


@pytest.mark.parametrize(
    "event", [Started(), Run("settle Cork", "workers_1", "TransactionLost", "gone"), Connections((HELD,))]
)
def test_an_event_survives_the_way_through_a_line(event: Event) -> None:
    """What is written by one process is read by the other as it was."""
    line = encode(event)
    assert "\n" not in line
    assert decode(line) == event


@pytest.mark.parametrize("line", ["", "Bye", "7", "[]", "null", "{}", '{"event": "Party"}'])
def test_a_line_that_is_no_event_is_left_out(line: str) -> None:
    """A job may print, and the demo does not fall over it."""
    assert decode(line) is None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OperationalError(2013, "Lost connection to MySQL server during query"), "OperationalError 2013"),
        (InterfaceError(0, ""), "InterfaceError (0, '')"),
        (ValueError("so"), "ValueError"),
        (KeyError(), "KeyError"),
        (bind(pymysql.OperationalError).TransactionLost(2013, "the transaction is gone"), "TransactionLost"),
    ],
)
def test_errors_are_counted_by_class_and_number(error: Exception, kind: str) -> None:
    """The number tells lost connections apart; ours say it by their name."""
    assert kind_of(error) == kind


def test_the_state_adds_up_runs_by_what_came_of_them() -> None:
    """Each run counts once, for its thread and for what it met."""
    state = SideState()
    state.take(
        [
            Started(),
            run_event("create Cork", "t1", None),
            run_event("settle Cork", "t1", TransactionLost("cut")),
            run_event("settle Dijon", "t2", InterfaceError(0, "")),
            Connections((HELD,)),
        ]
    )
    assert state.has_started
    assert (state.jobs_run, state.by_thread) == (3, {"t1": 2, "t2": 1})
    assert state.surfaced == {"TransactionLost": 1, "InterfaceError (0, '')": 1}
    assert state.latest == "InterfaceError (0, '') in settle Dijon"
    assert state.held == (HELD,)
