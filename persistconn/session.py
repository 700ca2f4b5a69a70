"""What a session carries: settings that are made again on a new connection, and state that cannot be.

MySQL keeps both on the server, so a connection that is replaced unseen would lose them. A look at each statement's
first word tells which statements change the session; all others cost one dictionary look-up.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from persistconn.statement import SQL, first_word

_ASSIGNMENT = re.compile(
    r"^\s*SET\s+(?:(?:SESSION|LOCAL)\s+|@@(?:(?:SESSION|LOCAL)\.)?)?([A-Za-z_.]+)\s*:?=\s*[^;,]*;?\s*$", re.IGNORECASE
)
_SET_BEYOND = re.compile(
    r"^\s*SET\s+(GLOBAL|PERSIST|PERSIST_ONLY|PASSWORD|DEFAULT\s+ROLE|STATEMENT|@@(?:GLOBAL|PERSIST)\.)", re.IGNORECASE
)
_SET_NEXT_TRANSACTION = re.compile(r"^\s*SET\s+TRANSACTION\b", re.IGNORECASE)
_SET_TRANSACTION = re.compile(r"^\s*SET\s+(?:SESSION|LOCAL)\s+TRANSACTION\s+(ISOLATION|READ)\b", re.IGNORECASE)
_SET_CHARSET = re.compile(r"^\s*SET\s+(?:NAMES|CHARACTER\s+SET|CHARSET)\b", re.IGNORECASE)
_USER_VARIABLE = re.compile(r"(?<![@\w])@[A-Za-z_`'\"]")
_READ_STATE = re.compile(
    r"(?P<lock>\bGET_LOCK\s*\()|(?P<free>\bRELEASE_ALL_LOCKS\s*\()|(?P<variable>:=|\bINTO\s+@)", re.IGNORECASE
)
_WAIT_TIMEOUT = re.compile(r"(?<!lock_)\bwait_timeout\b", re.IGNORECASE)
_TEMPORARY = re.compile(r"^\s*CREATE\s+(?:OR\s+REPLACE\s+)?TEMPORARY\b", re.IGNORECASE)

NAMED_LOCK = "a named lock (GET_LOCK)"
TABLE_LOCK = "locked tables (LOCK TABLES)"
TEMPORARY_TABLE = "a temporary table"
USER_VARIABLE = "a user variable"
PREPARED = "a prepared statement"
HANDLER = "an open HANDLER"
XA = "an XA transaction"


def leaves_nothing(sql: SQL) -> bool:
    """Say that a statement leaves nothing in the session, in half a microsecond; False where it takes a closer look."""
    # As text, for to look for bytes in bytes Python raises and catches an exception each time.
    text = sql if isinstance(sql, str) else sql.decode("latin-1")
    # Whatever is assigned to has an @ in its name.
    return text[:7] in _PLAIN and "@" not in text and "_LOCK" not in text.upper()


_PLAIN = frozenset({"SELECT ", "INSERT ", "UPDATE ", "DELETE "})


class Session:
    """The state of one server session, as far as its statements tell. Owner thread only."""

    def __init__(self) -> None:
        self._settings: dict[str, str] = {}
        self._next_transaction: str | None = None
        self.held: set[str] = set()
        """What cannot be rebuilt, in words."""
        self.database: str | None = None
        """The database that ``USE`` or ``select_db`` chose, if it is not the one of the connect arguments."""
        self.charset: tuple[str, str | None] | None = None
        """Character set and collation that ``set_character_set`` chose."""
        self.has_freed_all = False
        """Whether all named locks were given back, those that we had taken ourselves too."""

    def copy(self) -> Session:
        """Return one like it, to compare with later."""
        twin = Session.__new__(Session)
        twin.__dict__ = {**self.__dict__, "_settings": dict(self._settings), "held": set(self.held)}
        return twin

    @property
    def is_pinned(self) -> bool:
        """Whether the session holds state that a new connection would not have."""
        return bool(self.held)

    def note(self, sql: SQL) -> bool:
        """Record what a statement that has succeeded did to the session; say whether it set ``wait_timeout``."""
        if leaves_nothing(sql):
            self._next_transaction = None
            return False
        note = _NOTES.get(first_word(sql))
        if note is None:
            self._next_transaction = None
            return False
        text = sql if isinstance(sql, str) else bytes(sql).decode("utf-8", "replace")
        note(self, text)
        return note is Session._note_set and _WAIT_TIMEOUT.search(text) is not None

    def statements(self) -> list[str]:
        """Return the statements that make a new session like this one, in the order in which they were given. Any thread."""
        once = self._next_transaction
        return [*self._settings.values(), *([once] if once is not None else [])]

    def forget_state(self) -> None:
        """Forget what cannot be rebuilt, because the session that held it is gone."""
        self.held.clear()

    def _note_set(self, sql: str) -> None:
        if _SET_BEYOND.match(sql):
            return
        if _SET_NEXT_TRANSACTION.match(sql):
            self._next_transaction = sql
            return
        if _USER_VARIABLE.search(sql):
            self.held.add(USER_VARIABLE)
            return
        key = self._setting_key(sql)
        if key == "autocommit":  # The driver knows it from the server's status flags.
            return
        # A repeated setting keeps one place, the last one: statements are replayed in order.
        self._settings.pop(key, None)
        self._settings[key] = sql

    @staticmethod
    def _setting_key(sql: str) -> str:
        if found := _ASSIGNMENT.match(sql):
            return found.group(1).lower()
        if found := _SET_TRANSACTION.match(sql):
            return f"transaction {found.group(1).lower()}"
        return "names" if _SET_CHARSET.match(sql) else sql

    def _note_read(self, sql: str) -> None:
        self._next_transaction = None
        for found in _READ_STATE.finditer(sql):
            if found.lastgroup == "lock":
                self.held.add(NAMED_LOCK)
            elif found.lastgroup == "variable":
                self.held.add(USER_VARIABLE)
            else:  # One RELEASE_LOCK may not be the last: the session stays pinned until the boundary.
                self.held.discard(NAMED_LOCK)
                self.has_freed_all = True

    def _note_temporary(self, sql: str) -> None:
        if _TEMPORARY.match(sql):
            self.held.add(TEMPORARY_TABLE)

    def _note_flush(self, sql: str) -> None:
        if "READ LOCK" in sql.upper() or "FOR EXPORT" in sql.upper():
            self.held.add(TABLE_LOCK)

    def _note_use(self, sql: str) -> None:
        self.database = sql.split(None, 1)[1].strip().rstrip(";").strip().strip("`")


_NOTES: dict[str, Callable[[Session, str], None]] = {
    "SET": Session._note_set,
    "SELECT": Session._note_read,
    "DO": Session._note_read,
    "WITH": Session._note_read,
    "CALL": Session._note_read,
    "CREATE": Session._note_temporary,
    "USE": Session._note_use,
    "LOCK": lambda session, sql: session.held.add(TABLE_LOCK),
    "UNLOCK": lambda session, sql: session.held.discard(TABLE_LOCK),
    "FLUSH": Session._note_flush,
    "HANDLER": lambda session, sql: session.held.add(HANDLER),
    "XA": lambda session, sql: session.held.add(XA),
    "PREPARE": lambda session, sql: session.held.add(PREPARED),
    "BEGIN": lambda session, sql: None,
    "START": lambda session, sql: None,
}
