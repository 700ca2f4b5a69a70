"""Who is taken over: a table of what the server says of the one who is at a job."""

from __future__ import annotations

import pytest

from persistconn.once.names import random_name, session_name
from persistconn.once.records import Holder
from persistconn.once.takeover import is_gone

WITH, WITHOUT = session_name(random_name()), session_name(None)
SESSION, HEART = 7, 8


@pytest.mark.parametrize(
    ("owner", "session", "heart", "expected"),
    [
        (WITH, SESSION, None, True),
        (WITH, SESSION, HEART, False),
        (WITH, None, None, False),
        (WITHOUT, SESSION, None, False),
        (WITHOUT, None, None, False),
        ("", None, None, False),
    ],
    # Names of our own: those of the owners are random, and each process of a test run would have others.
    ids=["heart gone", "heart beats", "session gone", "no heart", "no heart, session gone", "no name"],
)
def test_who_lives_on_at_the_server_without_a_heart_is_gone(
    owner: str, session: int | None, heart: int | None, expected: bool
) -> None:
    """Of one who never had a heart nobody can tell; and one whose session has ended is nobody's concern any more."""
    assert is_gone(Holder("job", "a place", owner, session, heart)) is expected
