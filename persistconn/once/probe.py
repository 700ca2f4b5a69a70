"""Shows, once per process, that the ledger fences: a second insert of a token waits for the first, and then fails."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.errors import LedgerError
from persistconn.once.codes import DUPLICATE, NO_EXECUTE
from persistconn.once.line import Ask, apart, insist
from persistconn.once.literals import as_text, of_text
from persistconn.once.rows import BEGIN, COMMIT, END, HORIZON, LEDGER, PROBE, ROLLBACK, Statements
from persistconn.once.token import SIZE, Token

if TYPE_CHECKING:
    from persistconn.opening import Opening

HOW_TO_MAKE = (
    'add "persistconn" to INSTALLED_APPS and migrate this database,'
    " or without Django call persistconn.ledger.create(connection)"
)
_MISSING = {
    1146: "is missing",
    1054: "lacks a column",
    1142: "may not be used",
    1044: "may not be used",
    1143: "may not be used",
}
_BLOCKS = 0.15
"""Seconds in which a second insert that does not wait would long be through."""
_LOCK_WAIT = 2
"""Seconds, in whole ones."""


class _Proof(NamedTuple):
    opening: Opening
    has_procedures: bool


_lock = threading.Lock()
_proved: dict[tuple[str, str], _Proof] = {}


# No lock where one look at a dictionary is all: each job looks twice.


def prove(opening: Opening, schema: str) -> bool:
    """Prove the ledger of a database, unless that was done before; returns whether it was done now.

    Blocks for about 0.2 s then, and makes two connections.

    Raises LedgerError, with what to do, if the table is missing, may not be used, or does not fence.
    """
    if (opening.address, schema) in _proved:
        return False
    proof = insist(opening, lambda: _Probe(opening, schema).run())
    with _lock:
        _proved[opening.address, schema] = proof
    return True


def has_procedures(opening: Opening, schema: str) -> bool:
    """Say whether the statements of an attempt can travel together in a ledger that was proved."""
    proof = _proved.get((opening.address, schema))
    return proof is not None and proof.has_procedures


def proved() -> dict[tuple[str, str], Opening]:
    """Return the ledgers of this process, by address and database, with how to connect to each."""
    with _lock:
        return {place: proof.opening for place, proof in _proved.items()}


def forget() -> None:
    """Have every ledger proved again before it is next used."""
    with _lock:
        _proved.clear()


def missing(schema: str, error: BaseException) -> LedgerError | None:
    """Return what an error says of the ledger itself; None if it says nothing of it."""
    what = _MISSING.get(code_of(error) or 0)
    if what is None:
        return None
    return LedgerError(f"the ledger {schema}.{LEDGER} {what}, so no job can run: {HOW_TO_MAKE} ({error})")


class _Probe:
    def __init__(self, opening: Opening, schema: str) -> None:
        self._opening = opening
        self._schema = schema
        self._statements = Statements(schema)
        self._token = self._token_ending(b"a")

    def run(self) -> _Proof:
        with ExitStack() as stack:
            first, second = (stack.enter_context(apart(self._opening)) for _ in range(2))
            try:
                self._check_tables(first)
                self._check_tokens(first)
                self._check_fence(first, second)
                self._check_durability(first)
                return _Proof(self._opening, self._can_call(first))
            except self._opening.driver.module.Error as error:
                raise missing(self._schema, error) or LedgerError(
                    f"the ledger {self._schema}.{LEDGER} could not be proved: {error}"
                ) from error

    def _check_tables(self, session: Ask) -> None:
        for table in (LEDGER, HORIZON):
            rows = session(
                "SELECT t.ENGINE, e.TRANSACTIONS FROM information_schema.TABLES AS t"
                " JOIN information_schema.ENGINES AS e ON e.ENGINE = t.ENGINE"
                f" WHERE t.TABLE_SCHEMA = {of_text(self._schema)} AND t.TABLE_NAME = '{table}'"
            )
            if not rows:
                raise LedgerError(f"the ledger {self._schema}.{table} is missing, so no job can run: {HOW_TO_MAKE}")
            if as_text(rows[0][1]) != "YES":
                raise LedgerError(
                    f"the ledger {self._schema}.{table} has the engine {as_text(rows[0][0])}, which has no transactions:"
                    f" ALTER TABLE {table} ENGINE=InnoDB"
                )
        if session(f"SELECT COUNT(*) FROM {self._statements.horizon}")[0][0] != 1:
            raise LedgerError(f"the table {self._schema}.{HORIZON} must have one row: {HOW_TO_MAKE}")

    def _token_ending(self, end: bytes, beginning: bytes | None = None) -> Token:
        beginning = beginning or os.urandom(SIZE - len(end))
        return Token(beginning + end, PROBE, issued=datetime.now(timezone.utc))

    def _insert(self, token: Token) -> str:
        return self._statements.insert(token, os.urandom(8), 1, bytes(32), "", "a probe")

    def _check_tokens(self, session: Ask) -> None:
        """Prove that tokens which differ in their last byte are two: a key's beginning, or letter case, is no token."""
        session("BEGIN")
        session(self._insert(self._token))
        try:
            session(self._insert(self._token_ending(b"A", self._token.digest[:-1])))
        except self._opening.driver.module.Error as error:
            if code_of(error) != DUPLICATE:
                raise
            raise LedgerError(
                f"the ledger {self._schema}.{LEDGER} takes two tokens for one, so a job would be taken for another:"
                f" the whole token, as BINARY({SIZE}), must be the primary key"
            ) from error
        session(ROLLBACK)

    def _check_fence(self, first: Ask, second: Ask) -> None:
        outcome: list[BaseException | None] = []

        def insert_too() -> None:
            try:
                second(self._insert(self._token))
            except Exception as error:
                outcome.append(error)
            else:
                outcome.append(None)

        # Should the first be lost in a black hole, the second must not wait for it any longer.
        second(f"SET SESSION innodb_lock_wait_timeout = {_LOCK_WAIT}")
        first("BEGIN")
        first(self._insert(self._token))
        rival = threading.Thread(target=insert_too, name="persistconn-probe", daemon=True)
        rival.start()
        rival.join(_BLOCKS)
        has_waited = rival.is_alive()
        try:
            first(COMMIT)
        finally:
            rival.join()
        first(f"DELETE FROM {self._statements.ledger} WHERE token = X'{self._token}'")
        if not has_waited or outcome[0] is None or code_of(outcome[0]) != DUPLICATE:
            raise LedgerError(
                f"the ledger {self._schema}.{LEDGER} does not fence: a second insert of one token"
                f" {'did not wait' if not has_waited else 'waited'} and gave {outcome[0] or 'no error'} instead of"
                f" {DUPLICATE}. The token must be the primary key, on one writable InnoDB server"
            ) from outcome[0]

    def _can_call(self, session: Ask) -> bool:
        """Say whether the procedures are there, of this release, and may be called."""
        found = session(
            "SELECT COUNT(*) FROM information_schema.ROUTINES"
            f" WHERE ROUTINE_SCHEMA = {of_text(self._schema)} AND ROUTINE_NAME IN ('{BEGIN}', '{END}')"
        )
        if found != [(2,)]:
            return False
        try:
            session(self._statements.call_begin(self._token, os.urandom(8), 1, bytes(32), "", "a probe"))
        except self._opening.driver.module.Error as error:
            if code_of(error) != NO_EXECUTE:
                raise
            return False
        session(ROLLBACK)
        return True

    def _check_durability(self, session: Ask) -> None:
        flush = session("SELECT @@innodb_flush_log_at_trx_commit")[0][0]
        if flush != 1:
            log.info(
                "innodb_flush_log_at_trx_commit is %s at %s: a power cut can undo an acknowledged commit",
                flush,
                self._opening.address,
                extra={"action": "durability"},
            )
