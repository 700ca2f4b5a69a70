"""What persistconn needs of a database driver, and what the driver's errors mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from types import ModuleType
from typing import Any, Protocol, TypeVar

Raw = Any
"""A connection of the driver, as it is: persistconn holds it, the caller never sees it."""


class Fault(Enum):
    """What an exception of the driver says about the connection and the statement."""

    NONE = "a server error: the connection is good and the statement has its answer"
    ROLLED_BACK = "a server error, and the whole transaction was rolled back: the connection is good"
    WRONG_SERVER = "refused, because this server may not write: the connection is good, but leads to the wrong one"
    DEFINITE = "lost, and the statement was not executed"
    AMBIGUOUS = "lost, and the statement may have been executed"
    AWAY = "no connection could be made: the server is away"
    NO_CAPACITY = "no connection could be made: the server has none to give"
    REFUSED = "no connection could be made, and trying again will not help"

    @property
    def is_answer(self) -> bool:
        """Whether the server has answered, so that the connection can go on being used."""
        return self in (Fault.NONE, Fault.ROLLED_BACK, Fault.WRONG_SERVER)


T = TypeVar("T")


def itself(raw: Raw) -> Any:
    """Return the raw connection as it is."""
    return raw


class Wire(Protocol):
    """What is asked of a raw connection around each statement: attributes, because a call costs more than what it would do."""

    @property
    def status(self) -> int:
        """The server's status flags, as it last told them."""

    @property
    def status_is_current(self) -> bool:
        """Whether the last answer brought them."""

    @property
    def may_have_more(self) -> bool:
        """Whether the last answer may have left something on the wire: False where it is known that it has not."""

    @property
    def look(self) -> Callable[[], bytes]:
        """See :func:`persistconn.drivers.sockets.watch`."""


class Driver(Protocol):
    """One driver. Every method may be called from any thread; the caller sees to it that one thread uses a raw connection."""

    module: ModuleType
    name: str
    no_more_results: int
    """What ``next_result()`` returns when there is none."""

    def address(self, arguments: Mapping[str, Any]) -> str:
        """Return ``host:port`` or the socket's path, for people; never anything secret."""

    def connect(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], timeout: float, prepare: Callable[[Raw], T] = itself
    ) -> T:
        """Connect and return what ``prepare`` makes of the raw connection: itself by default. Raises the driver's errors.

        ``timeout`` (seconds; a ``connect_timeout`` among ``kwargs`` goes before it) covers the handshake, the login and
        ``prepare`` together. Each address of a name has as much for TCP, and then at least half of it for the rest.
        """

    def wait_timeout(self, raw: Raw) -> float:
        """Ask the session for its ``@@wait_timeout`` (seconds)."""

    def session_id(self, raw: Raw) -> int:
        """Return the server's id of this session."""

    def wire(self, raw: Raw) -> Wire:
        """Return what is asked of a raw connection around each statement."""

    def carry_over(self, old: Raw, new: Raw) -> None:
        """Give a new connection what the caller set on the old one in this process (encoders and the like)."""

    def carry_answer(self, old: Raw, new: Raw) -> None:
        """Give a new connection the answer that the old one's last statement left, which its cursor may not have taken."""

    def watch_stream(self, raw: Raw, watch: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Have each fetch from the rows that the last statement left on the wire go through ``watch``."""

    def in_transaction(self, raw: Raw) -> bool:
        """Say whether a transaction is, or may be, open; without I/O."""

    def autocommits(self, raw: Raw) -> bool:
        """Say whether autocommit is on, as the server last told; without I/O."""

    def has_unread(self, raw: Raw) -> bool:
        """Say whether rows or further result sets are still to be read; without I/O."""

    def hung_up(self, raw: Raw) -> bool:
        """Look at the socket: True if the server has closed it. No round trip."""

    def fileno(self, raw: Raw) -> int:
        """Return the descriptor of the socket."""

    def ping(self, raws: Iterable[Raw], timeout: float) -> Iterator[tuple[Raw, bool]]:
        """Ping all at once; yield each with whether it answered within ``timeout`` seconds, as the answers come.

        Once all are answered for, it raises the first exception that is no sign of a lost connection, nor of one that
        another thread has closed meanwhile; its connection was yielded with False.
        """

    def quit(self, raw: Raw) -> None:
        """Say goodbye to the server (COM_QUIT) and close the socket. Never raises."""

    def abandon(self, raw: Raw) -> None:
        """Close the socket of this process without a word to the server. Never raises."""

    def cursor(self, connection: Any, cursor_class: Any) -> Any:
        """Make a cursor of the driver's class on ``connection``, whose ``query()`` is told when rows are to be streamed."""

    def classify(self, raw: Raw | None, error: BaseException) -> Fault:
        """Say what an exception means, every answer of the server being ``NONE``; ``raw`` is None while connecting."""

    def diagnose(self, raw: Raw | None, error: BaseException) -> Fault:
        """Say the same, and of the answers also which undid the transaction and which came from the wrong server."""
