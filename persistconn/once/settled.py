"""What a token's row proves. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from persistconn.errors import JobCancelled, JobFailed, NotReplayable, TornJob
from persistconn.once import payload
from persistconn.once.block import torn_by
from persistconn.once.rows import Row, RowState
from persistconn.once.token import Token


class Settled(NamedTuple):
    """A job that has taken effect: its result, and which attempt it was if it was not the one that says so."""

    result: Any
    by: bytes | None = None


def verdict(row: Row, token: Token, fingerprint: bytes) -> Settled:
    """Say how the job of a token stands that was taken before.

    Raises JobFailed, JobCancelled or TornJob for what became of it, NotReplayable for another job under this token.
    """
    if row.state is RowState.CANCELLED:
        raise JobCancelled(f"{token.describe()} was cancelled: it has not run, and will not under this token")
    if row.fingerprint != fingerprint:
        raise NotReplayable(
            f"{token.describe()} was taken before, by {row.job} with other arguments: a key stands for one job with one"
            " set of arguments. Give each its own key"
        )
    if row.state is RowState.FAILED:
        raise JobFailed(f"{token.describe()} failed before, and its failure was recorded: {row.error}")
    if row.state is RowState.DONE:
        return Settled(payload.decode(row.result), row.attempt)
    # Nobody else sees a row that is open, unless its transaction was committed before the job had come to its end.
    where = "" if row.holder is None else f" in the session {row.holder}, which lives,"
    raise TornJob(f"{token.describe()} was torn{where} {torn_by('')}")
