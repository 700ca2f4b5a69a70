"""What a token's row proves to whoever finds it."""

from __future__ import annotations

import dataclasses

import pytest

from persistconn.errors import JobCancelled, JobError, JobFailed, NotReplayable, TornJob
from persistconn.once.rows import Row, RowState
from persistconn.once.settled import Settled, verdict
from persistconn.once.token import key_token

TOKEN = key_token("settle", "invoice-7")
PRINT, OTHER = bytes(32), bytes([1] * 32)
DONE = Row(RowState.DONE, b"attempt!", "settle", PRINT, '{"sum": 5}', None, None)


def row(state: RowState, **changes: object) -> Row:
    """A row in a state."""
    return dataclasses.replace(DONE, state=state, result=None, **changes)


def test_done_is_the_result_and_whose_it_is() -> None:
    """The attempt tells whether it was one of our own."""
    assert verdict(DONE, TOKEN, PRINT) == Settled({"sum": 5}, b"attempt!")


@pytest.mark.parametrize(
    ("found", "error", "text"),
    [
        (row(RowState.CANCELLED), JobCancelled, "has not run, and will not"),
        (row(RowState.CANCELLED, fingerprint=OTHER), JobCancelled, "was cancelled"),
        (row(RowState.FAILED, error="ValueError: no"), JobFailed, "its failure was recorded: ValueError: no"),
        (row(RowState.OPEN), TornJob, "was torn by a statement"),
        (row(RowState.OPEN, holder=5), TornJob, "was torn in the session 5, which lives"),
        (row(RowState.DONE, fingerprint=OTHER), NotReplayable, "by settle with other arguments.*Give each its own key"),
        (row(RowState.OPEN, fingerprint=OTHER), NotReplayable, "with other arguments"),
        (row(RowState.FAILED, fingerprint=OTHER), NotReplayable, "with other arguments"),
    ],
)
def test_anything_else_is_told(found: Row, error: type[JobError], text: str) -> None:
    """With the token, and never taken for success."""
    with pytest.raises(error, match=rf"settle \[invoice-7\].*{text}"):
        verdict(found, TOKEN, PRINT)
