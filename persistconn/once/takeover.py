"""Ends the sessions of processes that are gone, with whose jobs they hold the tokens: for hours, if nobody did.

A process is gone if its heart does not beat any more (see ``heartbeat``). To be wrong about it, because the network was away
for longer than the server is patient, costs a living job an attempt and nothing else: its replay finds what became of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.once.codes import NO_SUCH_THREAD, NOT_OWNER
from persistconn.once.line import Line
from persistconn.once.names import election_name, heart_of
from persistconn.once.records import Holder, Records, holders_of
from persistconn.once.token import Token

AT_ONCE = 100
"""Elections that are asked about in one look."""
_ENDING = 2
"""Seconds that are waited for a session that was ended: the server rolls its transaction back first."""


def is_gone(holder: Holder) -> bool:
    """Say whether a session lives on without its process. Nobody can tell of a process that never had a heart."""
    return holder.session is not None and holder.heart is None and heart_of(holder.owner) is not None


class Takeover:
    """One look at who is at the jobs of a ledger, on a session of one's own, with no transaction open.

    ``heart`` is the process's own, which it needs nobody to ask about. All raise the driver's errors.
    """

    def __init__(self, line: Line, records: Records, *, heart: str | None = None) -> None:
        self._line = line
        self._records = records
        self._heart = heart
        # Behind another session there may be another server, on which the ids are other sessions'.
        self._session = line.session_id

    def of_fires(self, since: Mapping[str, datetime], missing: Sequence[Token], patience: int) -> None:
        """Take over the fires of jobs that are due since a moment, and those that are missing.

        ``patience`` (seconds) is what a session gets that has won an election, and has come no further.
        """
        # First: whoever has been asleep since then had its row before that is looked for.
        asleep = self._asleep(missing[:AT_ONCE], patience)
        holders = self._holders(self._records.fires_under_way(since))
        self._end_the_gone(holders)
        for session in asleep.keys() - {holder.session for holder in holders}:
            self._end(session, asleep[session], "a process that has gone before it could begin")

    def of_token(self, token: Token) -> None:
        """Take over one token, for whoever has waited for it in vain."""
        self._end_the_gone(self._holders(self._records.under_way(token)))

    def _holders(self, query: str) -> list[Holder]:
        line = self._line
        line.roll_back()
        line.run("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
        holders = holders_of(line.ask(query))
        line.roll_back()
        return holders

    def _asleep(self, tokens: Sequence[Token], patience: int) -> dict[int, str]:
        """Return the sessions that hold an election, and have not said a word for so long, with the election's name.

        There is nothing between the election and the row that a process would have to think about.
        """
        names = [election_name(token.digest) for token in tokens]
        if not names:
            return {}
        (holders,) = self._line.ask("SELECT " + ", ".join(f"IS_USED_LOCK('{name}')" for name in names))
        elected = {session: name for session, name in zip(holders, names, strict=True) if session is not None}
        if not elected:
            return {}
        found = self._line.ask(
            f"SELECT ID FROM information_schema.PROCESSLIST WHERE ID IN ({', '.join(map(str, elected))})"
            f" AND COMMAND = 'Sleep' AND TIME >= {patience}"
        )
        return {session: elected[session] for (session,) in found}

    def _end_the_gone(self, holders: Sequence[Holder]) -> None:
        for holder in holders:
            if is_gone(holder) and heart_of(holder.owner) != self._heart and holder.session is not None:
                self._end(holder.session, holder.owner, f"{holder.job} at {holder.place}, which is gone")

    def _end(self, session: int, lock: str, whose: str) -> None:
        """End a session, and wait until the server has rolled it back and given its lock free."""
        line = self._line
        try:
            if line.session_id != self._session or not line.run_on_this_session(f"KILL {session}"):
                return
        except line.Error as error:
            if code_of(error) == NOT_OWNER:
                log.warning(
                    "could not end the session %s of %s, so nobody can take over: give all machines one user: %s",
                    session,
                    whose,
                    error,
                    extra={"action": "takeover"},
                )
            elif code_of(error) != NO_SUCH_THREAD:
                raise
            return
        log.warning("ended the session %s of %s", session, whose, extra={"action": "takeover"})
        if line.ask(f"SELECT GET_LOCK('{lock}', {_ENDING})") == [(1,)]:
            line.run(f"DO RELEASE_LOCK('{lock}')")
