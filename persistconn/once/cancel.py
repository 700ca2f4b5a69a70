"""Cancelling a token: it is taken by the fence of a job, so that no job ever can; one under way is stopped first."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.errors import ConfigError, JobError
from persistconn.once.codes import DEADLOCK, DUPLICATE, LOCK_WAIT, NO_SUCH_THREAD, NOT_OWNER
from persistconn.once.line import Ask, apart
from persistconn.once.records import READ_UNCOMMITTED, Records, Run, runs_of
from persistconn.once.rows import RowState
from persistconn.once.token import SIZE

if TYPE_CHECKING:
    from persistconn.opening import Opening

PATIENCE = 5
"""Seconds that one try waits for the transaction of the job that was stopped to be rolled back."""
TRIES = 12
HEX_DIGITS = 2 * SIZE


class Unknown(JobError):
    """No token of the ledger begins so, or more than one does."""


@dataclass(frozen=True)
class Cancellation:
    """What became of the wish to cancel a token."""

    token: str
    run: Run | None
    """The token's row as it was before; None if the ledger had none."""
    is_cancelled: bool
    """Whether the job has no effect and never will, by this or by an earlier wish; if not, ``run`` says what it came to."""
    was_stopped: bool
    """Whether a job under way was stopped for it."""


def cancel(opening: Opening, schema: str, token: str, *, must_be_known: bool = False) -> Cancellation:
    """Cancel a token, given in hexadecimal whole or by its unique beginning, on a session of its own.

    Stops (KILL) the session of a job under way and waits until the server has rolled it back, for a minute at most. A
    token that the ledger does not have yet is taken, so that no job ever can, unless it ``must_be_known``. Raises
    ConfigError for what can be no token, :class:`Unknown` for a beginning that is none, JobError if the job cannot be
    stopped, and the driver's errors.
    """
    records, token = Records(schema), checked_token(token)
    with apart(opening) as ask:
        ask(READ_UNCOMMITTED)
        ask(f"SET SESSION innodb_lock_wait_timeout = {PATIENCE}")
        whole = _whole(ask, records, token, must_be_known)
        return _Wish(ask, records, whole, opening.driver.module.Error).press()


def checked_token(token: object) -> str:
    """Return a token in hexadecimal, whole or its beginning; raises ConfigError for what can be none."""
    digits = token.strip().lower() if isinstance(token, str) else ""
    if not digits or len(digits) > HEX_DIGITS or set(digits) - set("0123456789abcdef"):
        raise ConfigError(
            f"{token!r} is no token: it has up to {HEX_DIGITS} hexadecimal digits, as `workers runs` shows them"
        )
    return digits


def _whole(ask: Ask, records: Records, token: str, must_be_known: bool) -> str:
    if len(token) == HEX_DIGITS and not must_be_known:
        return token
    runs = runs_of(ask(records.like(token)))
    if len(runs) == 1:
        return runs[0].token
    raise Unknown(
        f"more than one token begins with {token}: give more of it"
        if runs
        else f"no token in the ledger begins with {token}; of one that has not run yet, give all {HEX_DIGITS} digits"
    )


class _Wish:
    def __init__(self, ask: Ask, records: Records, token: str, error: type[Exception]) -> None:
        self._ask = ask
        self._records = records
        self._token = token
        self._error = error
        self._place = f"cancelled at {socket.gethostname()} pid {os.getpid()}"[:200]
        self._was_stopped = False

    def press(self) -> Cancellation:
        for _ in range(TRIES):
            run = self._look()
            self._stop(run)
            code = self._take(run)
            if code is None:
                return Cancellation(self._token, run, True, self._was_stopped)
            # Committed, or it would not be a duplicate: what it says is final.
            if code == DUPLICATE and (final := self._look()) is not None:
                return Cancellation(self._token, final, final.state is RowState.CANCELLED, self._was_stopped)
        raise JobError(
            f"the token {self._token} is still held by a transaction that the server does not end: look at its process"
            " list, and try again"
        )

    def _look(self) -> Run | None:
        return next(iter(runs_of(self._ask(self._records.like(self._token)))), None)

    def _stop(self, run: Run | None) -> None:
        """End the session of a job under way. Its replay comes too late: it needs a connection first."""
        if run is None or run.state is not RowState.OPEN or run.holder is None:
            return
        try:
            self._ask(f"KILL {run.holder}")
        except self._error as error:
            if code_of(error) == NOT_OWNER:
                raise JobError(
                    f"the job under way belongs to another user of the database, so its session {run.holder} cannot be"
                    f" ended: cancel it as that user ({error})"
                ) from error
            if code_of(error) != NO_SUCH_THREAD:
                raise
        else:
            self._was_stopped = True
            log.info("ended the session %s of a job to cancel", run.holder, extra={"action": "kill"})

    def _take(self, run: Run | None) -> int | None:
        """Take the token by the fence; returns None, or the code of what stood in the way."""
        token, statements = bytes.fromhex(self._token), self._records.statements
        try:
            if run is None:
                self._ask(statements.cancel(token, self._place))
            else:
                self._ask(statements.cancel(token, self._place, job=run.job, key=run.key, scheduled=run.scheduled))
        except self._error as error:
            if code_of(error) not in (DUPLICATE, LOCK_WAIT, DEADLOCK):
                raise
            return code_of(error)
        return None
