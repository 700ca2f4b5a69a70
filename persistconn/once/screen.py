"""What a statement may not do inside a ``@job``: commit it, roll it back, or change what no rollback undoes. Pure."""

from __future__ import annotations

import functools
import re

from persistconn.statement import SQL, Effect, effect, first_word

Table = tuple[str | None, str]
"""A table by its schema (None: the current one) and name."""

_OUTSIDE = "run it outside of the job, in a migration or before the job is called"
_COMMITS = f"it commits the job's transaction implicitly: {_OUTSIDE}"

_IMPLICIT = frozenset(
    {"ALTER", "ANALYZE", "CACHE", "CHANGE", "CHECK", "CREATE", "DROP", "FLUSH", "GRANT", "IMPORT", "INSTALL", "LOCK"}
    | {"OPTIMIZE", "PURGE", "RENAME", "REPAIR", "RESET", "REVOKE", "STOP", "TRUNCATE", "UNINSTALL", "UNLOCK"}
)
_ADVICE = {
    "BEGIN": "it would commit the job's transaction and begin another: the job is one transaction, which is begun for it",
    "COMMIT": "the job is committed, once, when its function returns: leave the commit out",
    "ROLLBACK": "a job is rolled back by an exception: raise one",
    "XA": "a job is one transaction on one server: leave XA out",
    "RETIRE": "the connection carries the job's transaction: retire it after the job",
    "CLOSE": "closing rolls back what the job has written: leave the connection open, it is the thread's own"
    " (in a with block, use persistconn.current() instead of connect())",
}
_TEMPORARY = re.compile(r"^\W*(?:CREATE\s+(?:OR\s+REPLACE\s+)?|DROP\s+)TEMPORARY\b", re.IGNORECASE)
_TO_SAVEPOINT = re.compile(r"\bTO\b", re.IGNORECASE)
_SET_COMMITS = re.compile(r"\b(AUTOCOMMIT|COMPLETION_TYPE|PASSWORD)\b", re.IGNORECASE)
_WRITTEN = re.compile(
    # Comments have one way to match each: ".*?" would try all ways to split a thousand of them.
    r"^(?:[\s(]|/\*(?!!)(?:[^*]|\*(?!/))*\*/|--[ \t][^\n]*\n|\#[^\n]*\n)*"
    r"(?:(?:INSERT|REPLACE)\s+(?:(?:LOW_PRIORITY|DELAYED|HIGH_PRIORITY|IGNORE)\s+)*(?:INTO\s+)?"
    r"|UPDATE\s+(?:(?:LOW_PRIORITY|IGNORE)\s+)*"
    r"|DELETE\s+(?:(?:LOW_PRIORITY|QUICK|IGNORE)\s+)*FROM\s+"
    r"|LOAD\s+DATA\b.*?\bINTO\s+TABLE\s+)"
    r"(?:(?P<schema>`(?:[^`]|``)+`|[\w$]+)\s*\.\s*)?(?P<table>`(?:[^`]|``)+`|[\w$]+)",
    re.IGNORECASE | re.DOTALL,
)
_PLAIN_WRITE = re.compile(
    r"(?:(?:INSERT|REPLACE) INTO|DELETE FROM) (?:`[^`]+`|[\w$]+)(?:\(.*)?|UPDATE (?:`[^`]+`|[\w$]+) SET", re.IGNORECASE
)
_PLAIN_LENGTH = 200
_PLAIN_WORDS = 3
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|`[^`]*`", re.DOTALL)
_FREES_ALL = re.compile(r"\bRELEASE_ALL_LOCKS\s*\(", re.IGNORECASE)
_MAY_FREE = frozenset({"SELECT", "DO", "SET", "WITH", "VALUES"})
_HARMLESS = frozenset(
    {"SELECT", "SET", "USE", "BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE", "CLOSE", "RETIRE"}
)


def objection(sql: SQL) -> str | None:
    """Say why a statement may not be sent inside a job, and what to do instead; None if it may."""
    word = first_word(sql)
    if word in _ADVICE:
        return None if word == "ROLLBACK" and _TO_SAVEPOINT.search(_text(sql)) else _ADVICE[word]
    if word == "START":
        return _ADVICE["BEGIN"] if "TRANSACTION" in _text(sql).upper() else _COMMITS
    if word in _IMPLICIT:
        return None if _TEMPORARY.match(_text(sql)) else _COMMITS
    if word == "SET" and (found := _SET_COMMITS.search(_text(sql))):
        return f"{found.group(1).lower()} belongs to the job while it runs: set it before the job, on the connection"
    if word in _MAY_FREE and _FREES_ALL.search(_text(sql)) and _FREES_ALL.search(_QUOTED.sub("", _text(sql))):
        return "it gives back the lock too by which the job's session is known: RELEASE_LOCK(name) each of yours"
    return None


def foreign_objection(sql: SQL) -> str | None:
    """Say why a statement may not be sent on *another* connection while a job runs; None if it only reads."""
    is_harmless = first_word(sql) in _HARMLESS or effect(sql) is Effect.READ
    if is_harmless and not _is_several(sql):
        return None
    return (
        "a job writes on its own connection only, because no other commits or rolls back with it:"
        " write before or after the job, there in a job of its own (using=...)"
    )


def plain_write(sql: SQL) -> Table | None:
    """Return what :func:`written_table` does for a write that tells its table by its first three words; None for all else.

    Those words come again and again, whatever the values behind them, so what they mean is kept.
    """
    *words, rest = _text(sql[:_PLAIN_LENGTH]).split(None, _PLAIN_WORDS) or ("",)
    # A dot behind the third would make it the schema.
    return _plainly_written(*words) if len(words) == _PLAIN_WORDS and not rest.startswith(".") else None


@functools.lru_cache(maxsize=512)
def _plainly_written(*words: str) -> Table | None:
    text = " ".join(words)
    return written_table(text) if _PLAIN_WRITE.fullmatch(text) else None


def written_table(sql: SQL) -> Table | None:
    """Return schema (None: the current one) and name of the table that a statement writes first; None for no write."""
    found = _WRITTEN.match(_text(sql))
    return (_unquoted(found.group("schema")), _unquoted(found.group("table")) or "") if found else None


def _unquoted(name: str | None) -> str | None:
    return name[1:-1].replace("``", "`") if name and name.startswith("`") else name


def _is_several(sql: SQL) -> bool:
    text = _text(sql).rstrip("; \t\r\n")
    return ";" in text and ";" in _QUOTED.sub("", text)


def _text(sql: SQL) -> str:
    return sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "replace")
