"""A cheap look at a statement: what losing its answer would mean, and what it leaves behind in the session.

Pure functions of the text. They err on the safe side: what is not known to be a read is not read again, and what is not
known to stay inside the transaction may have committed it.
"""

from __future__ import annotations

import re
from enum import Enum

_LEADING_COMMENTS = r"(?:\s+|/\*(?!!).*?\*/|--[ \t][^\n]*\n|\#[^\n]*\n|\()*"
_FIRST_WORD = re.compile(_LEADING_COMMENTS + r"([A-Za-z_]+)", re.DOTALL)

# Reads that are more than reads: they lock, write a file or a variable, or wait for or take a named lock.
_SIDE_EFFECT = re.compile(
    r"\bFOR\s+(?:UPDATE|SHARE)\b|\bLOCK\s+IN\s+SHARE\s+MODE\b|\bINTO\b|:="
    r"|\b(?:GET_LOCK|RELEASE_LOCK|RELEASE_ALL_LOCKS|NEXTVAL|SETVAL|LASTVAL|LAST_INSERT_ID|ROW_COUNT|FOUND_ROWS"
    r"|MASTER_POS_WAIT|MASTER_GTID_WAIT|WAIT_FOR_EXECUTED_GTID_SET)\s*\(|\bNEXT\s+VALUE\s+FOR\b|(?<![@\w])@[A-Za-z_`'\"]",
    re.IGNORECASE,
)
_READS = frozenset({"SELECT", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "TABLE", "VALUES", "WITH"})
_WRITE_INSIDE = re.compile(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|ANALYZE)\b", re.IGNORECASE)

# Statements that can only be undone with their transaction. All others (DDL, CALL, SET autocommit, ...) may commit it.
STAYS_INSIDE = frozenset(
    {"SELECT", "INSERT", "UPDATE", "DELETE", "REPLACE", "WITH", "SAVEPOINT", "RELEASE", "SHOW", "DO"}
)


_PLAIN_WORD = re.compile(r"[A-Za-z_`.$]+")

SQL = str | bytes | bytearray


class Effect(Enum):
    """What it means when the answer to a statement is lost."""

    READ = "a read: it can be read again"
    INSIDE = "it takes effect with its transaction only"
    SETTING = "it changes the session, which is gone with the loss"
    BEGIN = "it commits what is open, and writes nothing of its own"
    COMMIT = "it ends a transaction and makes it last"
    ROLLBACK = "it ends a transaction and undoes it, as the loss did"
    COMMITS = "it may have committed what came before, or cannot be undone"

    @property
    def ends_transaction(self) -> bool:
        """Whether no transaction is open behind it, whatever became of it."""
        return self in (Effect.COMMIT, Effect.ROLLBACK)


# SET that outlives the session, or that ends a transaction.
_SET_BEYOND = re.compile(r"\bGLOBAL\b|\bPERSIST|\bPASSWORD\b|\bROLE\b|\bSTATEMENT\b|\(", re.IGNORECASE)
_AUTOCOMMIT_ON = re.compile(r"\bAUTOCOMMIT\s*:?=(?!\s*(?:0|OFF\b|FALSE\b))", re.IGNORECASE)
# MariaDB's BEGIN NOT ATOMIC ... END holds any number of statements.
_BEGIN = re.compile(r"\b(?:BEGIN(?:\s+WORK)?|START\s+TRANSACTION\b[^;]*)[\s;]*$", re.IGNORECASE)


def first_word(sql: SQL) -> str:
    """Return the statement's first word in capitals, comments and parentheses skipped; empty if there is none."""
    found = _FIRST_WORD.match(_text(sql))
    return found.group(1).upper() if found else ""


def effect(sql: SQL) -> Effect:
    """Say what a lost answer to this statement means."""
    text = _text(sql)
    word = first_word(text)
    if word in _READS and _is_plain_read(text):
        return Effect.READ
    if word in ("BEGIN", "START"):
        return Effect.BEGIN if _BEGIN.search(text) and _is_alone(text) else Effect.COMMITS
    if (word == "USE" or (word == "SET" and not _SET_BEYOND.search(text))) and _is_alone(text):
        # Switching autocommit on is what BEGIN is: it commits what is open.
        return Effect.BEGIN if _AUTOCOMMIT_ON.search(text) else Effect.SETTING
    if word == "ROLLBACK" and _is_alone(text):
        return Effect.INSIDE if re.search(r"\bTO\b", text, re.IGNORECASE) else Effect.ROLLBACK
    if word in STAYS_INSIDE:
        return Effect.INSIDE
    return Effect.COMMIT if word == "COMMIT" else Effect.COMMITS


def _is_plain_read(text: str) -> bool:
    return _is_alone(text) and not _SIDE_EFFECT.search(text) and not _WRITE_INSIDE.search(text)


def _is_alone(text: str) -> bool:
    # A semicolon inside may separate a second statement (or stand in a string: then it is merely not sent again).
    return ";" not in text.rstrip().rstrip(";")


def _text(sql: SQL) -> str:
    return sql if isinstance(sql, str) else bytes(sql).decode("latin-1")


def beginning(sql: SQL) -> str:
    """Return the first two words, for people. What is no plain word is left out: a value in it may be a secret."""
    words = _text(sql[:200]).split()[:2]
    return " ".join(word for word in words if _PLAIN_WORD.fullmatch(word))[:60]
