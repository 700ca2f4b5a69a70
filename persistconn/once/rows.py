"""The ledger's statements. Pure text; values go in as the literals of :mod:`persistconn.once.literals`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from persistconn.once.literals import as_text, of_bytes, of_moment, of_name, of_text
from persistconn.once.token import Token
from persistconn.policy import SHORTEST_RETENTION

LEDGER = "persistconn_ledger"
HORIZON = "persistconn_horizon"
"""One row: what is older than its ``low_water`` has been forgotten, so a token of that age proves nothing."""

COMMIT, ROLLBACK = "COMMIT AND NO CHAIN NO RELEASE", "ROLLBACK AND NO CHAIN NO RELEASE"
"""They end the transaction and nothing else: with ``completion_type`` a plain one begins another, or ends the session."""

BEGIN, END = "persistconn_begin_2", "persistconn_end_3"
"""The procedures in which statements travel together, where there are any (see ``procedures``).

The number is that of their text: a release with another text makes others beside them, and disturbs nobody who runs jobs.
"""

PROBE = "persistconn.probe"
"""The job of the rows by which a process proves that the ledger fences."""
NAME_LIMIT = 200
"""Characters of a job's name and of a key."""
EARLY = 5
"""Seconds by which a clock may be ahead of the database's: a cron fire that is due later than that is not due yet."""
YOUNG = int(SHORTEST_RETENTION / 2)
"""Seconds since its issue within which a token cannot have been forgotten, whatever a clock may have been set to meanwhile."""

CREATE = (
    (
        f"CREATE TABLE IF NOT EXISTS {LEDGER} ("
        " token BINARY(32) NOT NULL PRIMARY KEY,"
        f" job VARCHAR({NAME_LIMIT}) NOT NULL,"
        f" job_key VARCHAR({NAME_LIMIT}) NULL,"
        " fingerprint BINARY(32) NOT NULL,"
        " state VARCHAR(9) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
        " attempt BINARY(8) NOT NULL,"
        " attempts INT UNSIGNED NOT NULL,"
        " owner VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,"
        " place VARCHAR(200) NOT NULL,"
        " issued_at DATETIME(6) NULL,"
        " scheduled_at DATETIME(6) NULL,"
        " started_at DATETIME(6) NOT NULL,"
        " ended_at DATETIME(6) NULL,"
        " result MEDIUMTEXT NULL,"
        " error TEXT NULL,"
        " KEY persistconn_ledger_started (started_at),"
        " KEY persistconn_ledger_scheduled (job, scheduled_at)"
        ") ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    ),
    f"CREATE TABLE IF NOT EXISTS {HORIZON} (id TINYINT NOT NULL PRIMARY KEY, low_water DATETIME(6) NOT NULL) ENGINE=InnoDB",
    # Not IGNORE: a second creation must not lower what a purge has raised.
    f"INSERT INTO {HORIZON} SELECT 1, '1970-01-01' FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM {HORIZON} AS h)",
)
DROP = (f"DROP TABLE IF EXISTS {HORIZON}", f"DROP TABLE IF EXISTS {LEDGER}")


_COLUMNS = (
    "token, job, job_key, fingerprint, attempt, attempts, owner, place, issued_at, scheduled_at, state, started_at"
)


class RowState(Enum):
    """What the ledger says of a token."""

    OPEN = "open"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __init__(self, word: str) -> None:
        self.literal = of_text(word)


@dataclass(frozen=True)
class Row:
    """A token's row, as a read outside the job's transaction finds it."""

    state: RowState
    attempt: bytes
    job: str
    fingerprint: bytes
    result: str | None
    error: str | None
    holder: int | None
    """The server's id of the session that wrote it, while that very session lives."""


class Statements:
    """The statements on the ledger of one database, which they name: a job may ``USE`` another."""

    def __init__(self, schema: str) -> None:
        quoted = schema.replace("`", "``")
        self._schema = f"`{quoted}`"
        self.ledger = f"`{quoted}`.{LEDGER}"
        self.horizon = f"`{quoted}`.{HORIZON}"

    def insert(self, token: Token, attempt: bytes, number: int, print_: bytes, owner: str, place: str) -> str:
        """Return the fence: it waits for an older transaction that holds the token, and fails with 1062 if that committed.

        It inserts nothing, without an error, while the database's clock says that a fire is not due yet.
        """
        given = self._given(token, attempt, number, print_, owner, place)
        values = f"{given}, {RowState.OPEN.literal}, UTC_TIMESTAMP(6)"
        due = (
            ""
            if token.scheduled is None
            else f" WHERE {of_moment(token.scheduled)} <= UTC_TIMESTAMP(6) + INTERVAL {EARLY} SECOND"
        )
        return f"INSERT INTO {self.ledger} ({_COLUMNS}) SELECT {values} FROM DUAL{due}"

    def call_begin(self, token: Token, attempt: bytes, number: int, print_: bytes, owner: str, place: str) -> str:
        """Return the call that begins, inserts and sets the sentinel in one round trip."""
        given = self._given(token, attempt, number, print_, owner, place)
        return f"CALL {self._schema}.{BEGIN}({given})"

    def call_end(
        self, token: Token, attempt: bytes, state: RowState, *, result: str | None = None, error: str | None = None
    ) -> str:
        """Return the call that proves the sentinel, writes the outcome and commits in one round trip."""
        return (
            f"CALL {self._schema}.{END}({of_bytes(token.digest)}, {of_moment(token.issued)}, {of_bytes(attempt)},"
            f" {state.literal}, {of_text(result)}, {of_text(error)})"
        )

    @staticmethod
    def _given(token: Token, attempt: bytes, number: int, print_: bytes, owner: str, place: str) -> str:
        return (
            f"{of_bytes(token.digest)}, {of_name(token.job)}, {of_text(token.key)}, {of_bytes(print_)},"
            f" {of_bytes(attempt)}, {number}, {of_name(owner)}, {of_name(place)}, {of_moment(token.issued)},"
            f" {of_moment(token.scheduled)}"
        )

    def finish(
        self, token: Token, attempt: bytes, state: RowState, *, result: str | None = None, error: str | None = None
    ) -> str:
        """Return the statement that must change exactly one row: this attempt's, still open, of a token not forgotten.

        The subquery is a locking read, so it sees what a purge has raised the mark to, whatever the isolation.
        """
        is_young = f"issued_at >= UTC_TIMESTAMP(6) - INTERVAL {YOUNG} SECOND"
        is_remembered = f"issued_at >= (SELECT low_water FROM {self.horizon} WHERE id = 1)"
        remembered = "" if token.issued is None else f" AND ({is_young} OR {is_remembered})"
        return (
            f"UPDATE {self.ledger} SET state = {state.literal}, ended_at = UTC_TIMESTAMP(6),"
            f" result = {of_text(result)}, error = {of_text(error)}"
            f" WHERE token = {of_bytes(token.digest)} AND attempt = {of_bytes(attempt)}"
            f" AND state = {of_text(RowState.OPEN.value)}{remembered}"
        )

    def read(self, token: Token) -> str:
        """Return the query for a token's row, see :func:`row_of`."""
        return (
            # MySQL refuses an empty name (3057), which is that of a cancelled token.
            "SELECT state, HEX(attempt), job, HEX(fingerprint), result, error, IF(owner = '', NULL, IS_USED_LOCK(owner))"
            f" FROM {self.ledger} WHERE token = {of_bytes(token.digest)}"
        )

    def is_forgotten(self, token: Token) -> str:
        """Return the query that says 1 for a token that is older than what the ledger remembers."""
        return f"SELECT {of_moment(token.issued)} < low_water FROM {self.horizon} WHERE id = 1"

    def raise_mark(self, retention: float) -> str:
        """Return the statement after which no token older than ``retention`` seconds is taken for a new one."""
        return (
            f"UPDATE {self.horizon} SET low_water = GREATEST(low_water,"
            f" UTC_TIMESTAMP(6) - INTERVAL {int(retention)} SECOND) WHERE id = 1"
        )

    def forget(self, step: int) -> str:
        """Return the statement that deletes up to ``step`` rows below the mark; keys have no time and stay.

        An open row is the proof of a torn job, unless a probe was cut between its COMMIT and its DELETE.
        """
        mark = f"(SELECT low_water FROM {self.horizon} WHERE id = 1)"
        return (
            f"DELETE FROM {self.ledger} WHERE started_at < {mark} AND issued_at < {mark}"
            f" AND (state <> {of_text(RowState.OPEN.value)} OR job = '{PROBE}') ORDER BY started_at LIMIT {step}"
        )

    def cancel(
        self, token: bytes, place: str, *, job: str = "", key: str | None = None, scheduled: datetime | None = None
    ) -> str:
        """Return the statement that takes a token so that no job ever can: the same fence as a job's."""
        nothing, now = bytes(32), "UTC_TIMESTAMP(6)"
        values = [
            of_bytes(token),
            of_text(job),
            of_text(key),
            of_bytes(nothing),
            of_text(RowState.CANCELLED.value),
            of_bytes(nothing[:8]),
            "0, ''",
            of_text(place),
            of_moment(scheduled),
            of_moment(scheduled),
            now,
            now,
        ]
        return (
            f"INSERT INTO {self.ledger} (token, job, job_key, fingerprint, state, attempt, attempts, owner, place,"
            f" issued_at, scheduled_at, started_at, ended_at) VALUES ({', '.join(values)})"
        )


@functools.lru_cache(maxsize=64)
def statements_on(schema: str) -> Statements:
    """Return the statements on the ledger of a database, the same ones each time: they depend on its name alone."""
    return Statements(schema)


def row_of(columns: tuple[object, ...]) -> Row:
    """Turn what :meth:`Statements.read` found into a row."""
    state, attempt, job, print_, result, error, holder = columns
    return Row(
        RowState(as_text(state)),
        bytes.fromhex(as_text(attempt)),
        as_text(job),
        bytes.fromhex(as_text(print_)),
        None if result is None else as_text(result),
        None if error is None else as_text(error),
        holder if isinstance(holder, int) else None,
    )
