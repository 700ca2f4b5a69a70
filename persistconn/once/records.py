"""The ledger as a service and people read it: which fires are settled, since when a schedule is known, what ran last.

Pure text and the reading of rows. Moments travel as text, for a user's own converters may bend a DATETIME.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from persistconn.once.literals import as_text, of_bytes, of_moment, of_text
from persistconn.once.names import SEPARATOR
from persistconn.once.rows import RowState, Statements
from persistconn.once.token import Token, key_token

READ_UNCOMMITTED = "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"
"""Shows the rows of jobs under way, which nobody else sees before they are done."""

Rows = Iterable[tuple[Any, ...]]


@dataclass(frozen=True)
class Sight:
    """What the database says of the time, in UTC: its clock, what it has forgotten, since when it knows each schedule."""

    now: datetime
    low_water: datetime
    known_since: Mapping[str, datetime]


@dataclass(frozen=True)
class Run:
    """One row of the ledger, for people. ``duration`` is in seconds, up to now for a job under way."""

    token: str
    job: str
    key: str | None
    scheduled: datetime | None
    place: str
    attempts: int
    duration: float
    state: RowState
    error: str | None
    holder: int | None
    """The server's id of the session that runs it."""
    owner: str
    """The named lock by which that session is known."""

    @property
    def outcome(self) -> str:
        """What came of it, in a word or two."""
        if self.state is RowState.OPEN:
            return "torn" if self.holder is None else "under way"
        return f"failed: {self.error}" if self.state is RowState.FAILED and self.error else self.state.value


@dataclass(frozen=True)
class Holder:
    """Who has a token's row, not committed yet."""

    job: str
    place: str
    owner: str
    """The named lock by which the session is known that wrote the row."""
    session: int | None
    """The server's id of that session, while it lives."""
    heart: int | None
    """That of the heartbeat of its process, while it beats; None also for a process without one."""


def schedule_token(job: str) -> Token:
    """Return the token of the row that says since when a cron job has its present schedule. It is no run."""
    return key_token(job, "schedule")


class Records:
    """The statements that read the ledger of one database."""

    def __init__(self, schema: str) -> None:
        self.statements = Statements(schema)
        self._ledger, self._horizon = self.statements.ledger, self.statements.horizon

    def know(self, job: str, schedule: str) -> str:
        """Return the statement that notes a job's schedule, and since when, unless it is known as it is."""
        token, now, nothing = schedule_token(job), "UTC_TIMESTAMP(6)", bytes(32)
        values = [
            of_bytes(token.digest),
            of_text(token.job),
            of_text(token.key),
            of_bytes(nothing),
            of_text(RowState.DONE.value),
            of_bytes(nothing[:8]),
            "0, ''",
            of_text("a schedule"),
            f"{now}, {now}",
            of_text(schedule),
        ]
        return (
            f"INSERT INTO {self._ledger} (token, job, job_key, fingerprint, state, attempt, attempts, owner, place,"
            f" started_at, ended_at, result) VALUES ({', '.join(values)})"
            # In this order: the second assignment would hide from the first whether there is anything new.
            f" ON DUPLICATE KEY UPDATE started_at = IF(result = {of_text(schedule)}, started_at, {now}),"
            f" result = {of_text(schedule)}"
        )

    def sight(self, jobs: Iterable[str]) -> str:
        """Return the query for :func:`sight_of`."""
        tokens = ", ".join(of_bytes(schedule_token(job).digest) for job in jobs)
        return (
            "SELECT CAST(UTC_TIMESTAMP(6) AS CHAR), CAST(h.low_water AS CHAR), l.job, CAST(l.started_at AS CHAR)"
            f" FROM {self._horizon} AS h LEFT JOIN {self._ledger} AS l ON l.token IN ({tokens}) WHERE h.id = 1"
        )

    def fires(self, since: Mapping[str, datetime]) -> str:
        """Return the query for :func:`fires_of`: the fires of each job that were due after a moment."""
        return f"SELECT job, HEX(token), state FROM {self._ledger} WHERE {_due_after(since)}"

    def fires_under_way(self, since: Mapping[str, datetime]) -> str:
        """Return the query for :func:`holders_of`: who is at the fires of each job. To be read uncommitted."""
        return f"{self._holders()} AND ({_due_after(since)})"

    def under_way(self, token: Token) -> str:
        """Return the same query for one token."""
        return f"{self._holders()} AND token = {of_bytes(token.digest)}"

    def _holders(self) -> str:
        heart = f"IF(LOCATE('{SEPARATOR}', owner), IS_USED_LOCK(SUBSTRING_INDEX(owner, '{SEPARATOR}', 1)), NULL)"
        return (
            f"SELECT job, place, owner, IF(owner = '', NULL, IS_USED_LOCK(owner)), {heart} FROM {self._ledger}"
            f" WHERE state = {of_text(RowState.OPEN.value)}"
        )

    def last(self, count: int) -> str:
        """Return the query for the last runs that have a time or a key, and for what was cancelled; see :func:`runs_of`."""
        cancelled = of_text(RowState.CANCELLED.value)
        return (
            f"{self._runs()} WHERE (scheduled_at IS NOT NULL OR job_key IS NOT NULL OR state = {cancelled})"
            f" AND (attempts > 0 OR state = {cancelled}) ORDER BY started_at DESC LIMIT {count}"
        )

    def like(self, prefix: str) -> str:
        """Return the query for the runs whose token begins so, in hexadecimal; for two of them at most."""
        low, high = (of_bytes(bytes.fromhex(prefix.ljust(64, digit))) for digit in "0f")
        return f"{self._runs()} WHERE token BETWEEN {low} AND {high} AND (attempts > 0 OR job_key IS NULL) LIMIT 2"

    def _runs(self) -> str:
        ended = "TIMESTAMPDIFF(MICROSECOND, started_at, COALESCE(ended_at, UTC_TIMESTAMP(6)))"
        return (
            "SELECT HEX(token), job, job_key, CAST(scheduled_at AS CHAR), place, attempts,"
            f" {ended}, state, error, IF(owner = '', NULL, IS_USED_LOCK(owner)), owner FROM {self._ledger}"
        )


def sight_of(rows: Rows) -> Sight | None:
    """Read what :meth:`Records.sight` found; None if the horizon has lost its row."""
    found = list(rows)
    if not found:
        return None
    known = {as_text(job): _utc(since) for _, _, job, since in found if job is not None}
    return Sight(_utc(found[0][0]), _utc(found[0][1]), known)


def fires_of(rows: Rows) -> dict[str, dict[bytes, RowState]]:
    """Read what :meth:`Records.fires` found: the states of each job's tokens."""
    fires: dict[str, dict[bytes, RowState]] = {}
    for job, token, state in rows:
        fires.setdefault(as_text(job), {})[bytes.fromhex(as_text(token))] = RowState(as_text(state))
    return fires


def _due_after(since: Mapping[str, datetime]) -> str:
    return " OR ".join(f"(job = {of_text(job)} AND scheduled_at > {of_moment(after)})" for job, after in since.items())


def holders_of(rows: Rows) -> list[Holder]:
    """Read what :meth:`Records.fires_under_way` and :meth:`Records.under_way` found."""
    return [
        Holder(as_text(job), as_text(place), as_text(owner), session, heart)
        for job, place, owner, session, heart in rows
    ]


def runs_of(rows: Rows) -> list[Run]:
    """Read what :meth:`Records.last` and :meth:`Records.like` found."""
    return [_run(*row) for row in rows]


def _run(
    token: object,
    job: object,
    key: object,
    scheduled: object,
    place: object,
    attempts: Any,
    duration: Any,
    state: object,
    error: object,
    holder: object,
    owner: object,
) -> Run:
    return Run(
        as_text(token).lower(),
        as_text(job),
        None if key is None else as_text(key),
        None if scheduled is None else _utc(scheduled),
        as_text(place),
        int(attempts),
        int(duration) / 1e6,
        RowState(as_text(state)),
        None if error is None else as_text(error),
        holder if isinstance(holder, int) else None,
        as_text(owner),
    )


def _utc(text: object) -> datetime:
    return datetime.fromisoformat(as_text(text)).replace(tzinfo=timezone.utc)
