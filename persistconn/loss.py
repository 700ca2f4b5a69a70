"""What a lost connection means for the statement that was under way, and how the caller is told: pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from persistconn.errors import ConnectionLost, OutcomeUnknown, SessionStateLost, TransactionLost
from persistconn.statement import Effect


class Loss(Enum):
    """What the caller is told, if anything, and what is done about it."""

    NOTHING = "nothing was lost: the statement's effect is what the loss did anyway"
    AGAIN = "the statement can be sent on a new connection"
    TRANSACTION = "the transaction was rolled back by the server"
    UNKNOWN = "the statement may have taken effect"
    STATE = "session state that cannot be rebuilt was lost"
    UNREAD = "a read was lost, and lost again or not to be repeated"

    @property
    def error(self) -> type[ConnectionLost]:
        """The error that tells of it."""
        return _ERRORS.get(self, ConnectionLost)


_ERRORS: dict[Loss, type[ConnectionLost]] = {
    Loss.TRANSACTION: TransactionLost,
    Loss.UNKNOWN: OutcomeUnknown,
    Loss.STATE: SessionStateLost,
}
_CONSEQUENCES = {
    Loss.TRANSACTION: "inside a transaction, which the server has rolled back: roll back and run the unit of work again",
    Loss.UNKNOWN: "and the statement may have taken effect or not: look before you send it again",
    Loss.STATE: "and with it {state}: take it again before you go on",
}


def judge(
    effect: Effect, *, sent: bool, in_transaction: bool, autocommit: bool, pinned: bool, replay_reads: bool
) -> Loss:
    """Say what losing the connection means.

    ``sent`` is False only where the server cannot have had the whole statement. ``in_transaction`` and ``autocommit``
    are as of before the statement.
    """
    if effect is Effect.ROLLBACK:
        return Loss.NOTHING
    if in_transaction:
        may_have_committed = sent and effect not in (Effect.READ, Effect.INSIDE, Effect.SETTING)
        return Loss.UNKNOWN if may_have_committed else Loss.TRANSACTION
    if effect is Effect.COMMIT:
        # Nothing was open, so there was nothing to commit.
        return Loss.STATE if pinned else Loss.NOTHING
    if effect in (Effect.INSIDE, Effect.COMMITS) and sent:
        # Under autocommit=0 the statement had opened a transaction, and the server has rolled that back.
        return Loss.TRANSACTION if effect is Effect.INSIDE and not autocommit else Loss.UNKNOWN
    if pinned:
        return Loss.STATE
    if effect is Effect.READ and sent and not replay_reads:
        return Loss.UNREAD
    return Loss.AGAIN


def tell(loss: Loss, connection: str, statement: str, silent: float, state: Iterable[str]) -> str:
    """Put a loss into words: which connection, at which statement, after how many silent seconds, and what to do."""
    at = f" at {statement}" if statement else ""
    consequence = _CONSEQUENCES.get(loss, "and the statement changed nothing").format(state=", ".join(sorted(state)))
    return f"the connection to {connection} was lost{at}, {silent:.1f} s after the server's last answer, {consequence}"
