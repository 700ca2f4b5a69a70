"""What goes wrong before or outside a job, in one line that says what to do."""

from __future__ import annotations

from collections.abc import Iterator

from persistconn.errors import ConfigError, DatabaseUnavailable

USAGE = 2
"""Exit status for what the user has to change: a call, a setting, a module, a password."""
FAILED = 1
"""Exit status for a job that failed and for a database that cannot be reached."""

_IS_THE_SERVER_UP = (FAILED, "is the server up, and are host and port right?")
# The numbers by which MySQL and MariaDB (1xxx) and their clients (2xxx) say why there is no connection.
_ADVICE = {
    1040: (FAILED, "the server has no free session: raise its max_connections, or run fewer --threads"),
    1044: (USAGE, "grant this user the database, or check the database's name"),
    1045: (USAGE, "check user and password"),
    1049: (USAGE, "create the database, or check its name"),
    1130: (USAGE, "the server does not let this host in: create the user for it"),
    1203: (FAILED, "raise the user's max_user_connections, or run fewer --threads"),
    1226: (FAILED, "raise the user's MAX_USER_CONNECTIONS, or run fewer --threads"),
    1698: (USAGE, "check user and password"),
    2002: _IS_THE_SERVER_UP,
    2003: _IS_THE_SERVER_UP,
    2005: (FAILED, "check the host's name"),
}


class Complaint(Exception):
    """Something that the user can put right: one line of text, and the exit status that it means."""

    def __init__(self, text: str, status: int = USAGE) -> None:
        super().__init__(one_line(text))
        self.status = status


def explain(error: BaseException) -> Complaint | None:
    """Return the complaint that an error amounts to; None for one that needs its traceback."""
    if isinstance(error, Complaint):
        return error
    if isinstance(error, ConfigError):
        return Complaint(str(error))
    advised = _advice(error)
    if advised is None:
        return None
    status, advice = advised
    return Complaint(f"{_said_by_driver(error)}; {advice}", status)


def outcome(error: BaseException | None) -> str:
    """Return ``ok``, or ``failed:`` with the error in one line and, where we know it, what to do."""
    if error is None:
        return "ok"
    advised = _advice(error)
    return f"failed: {last_line(error)}" + (f"; {advised[1]}" if advised else "")


def last_line(error: BaseException) -> str:
    """Return what the last line of the error's traceback says."""
    text = one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def one_line(text: str) -> str:
    """Return the text with every run of white space as one space: a log record and a complaint are one line each."""
    return " ".join(text.split())


def _said_by_driver(error: BaseException) -> str:
    """Return the error's text; that of a driver without the tuple in which it wraps it."""
    if len(error.args) == 2 and isinstance(error.args[0], int):  # noqa: PLR2004 - number and text
        return f"no connection: {error.args[1]} (error {error.args[0]})"
    return str(error)


def _advice(error: BaseException) -> tuple[int, str] | None:
    for link in _chain(error):
        number = link.args[0] if link.args else None
        if isinstance(number, int) and number in _ADVICE:
            return _ADVICE[number]
    return _IS_THE_SERVER_UP if isinstance(error, DatabaseUnavailable) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and its causes: Django and persistconn carry the driver's error in ``__cause__``."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__
