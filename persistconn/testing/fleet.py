"""The servers of a test run: which kinds there are, each started when it is first wanted, all ended at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from persistconn.testing.anyserver import AnyServer
from persistconn.testing.containers import MySQLContainer
from persistconn.testing.installation import KINDS, ServerError, ServerNotFound
from persistconn.testing.lines import close_held_to
from persistconn.testing.mariadb import MariaDB
from persistconn.testing.mysql import MySQL
from persistconn.testing.remote import Remote
from persistconn.testing.serverproxy import ServerProxy

Value = str | float


@dataclass(frozen=True)
class Wish:
    """What a test wants of its server: variables, a proxy in front of it, and to have it alone (`own` is the test's name)."""

    variables: tuple[tuple[str, Value], ...] = ()
    is_faulty: bool = False
    own: str | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the server that all share will do."""
        return not self.variables and self.own is None


class Fleet:
    """Starts servers, one of a kind for all who want it as it is. Used by one thread; `close()` ends them all."""

    def __init__(self, *, image: str | None = None, variables: Mapping[str, Value] | None = None) -> None:
        """`variables` are those of every server that is started; `image` is the container's."""
        self._image = image
        self._variables = dict(variables or {})
        self._shared: dict[tuple[str, tuple[tuple[str, Value], ...]], AnyServer] = {}
        self._stack = ExitStack()

    def close(self) -> None:
        """End all servers."""
        self._shared.clear()
        self._stack.close()

    def shared(self, kind: str, **variables: Value) -> AnyServer:
        """Return the server of a kind (see KINDS, or a DSN) with these variables, started now if it is the first time.

        Raises ServerNotFound if there is no such server here, ServerError if it does not start.
        """
        key = kind, tuple(sorted(variables.items()))
        if key not in self._shared:
            self._shared[key] = self._stack.enter_context(self._make(kind, variables))
        return self._shared[key]

    @contextmanager
    def lend(self, kind: str, wish: Wish) -> Iterator[AnyServer]:
        """Lend a server as a test wishes it: the shared one, or one of its own that ends with the block."""
        with ExitStack() as stack:
            if wish.is_plain:
                server = self.shared(kind)
            else:
                server = stack.enter_context(self._make(kind, dict(wish.variables)))
                stack.callback(_forget, server)
            if wish.is_faulty:
                stack.enter_context(behind_proxy(server))
            yield server

    def _make(self, kind: str, variables: Mapping[str, Value]) -> AnyServer:
        if kind == "auto":
            return self._make_first(("mariadb", "mysql", "container"), variables)
        if kind == "local":
            return self._make_first(("mariadb", "mysql"), variables)
        if kind not in KINDS:
            if variables:
                raise ServerNotFound(
                    f"a server of its own with {dict(variables)}: the one that a DSN names is not ours to set"
                )
            return Remote(kind)
        wanted: dict[str, Any] = {**self._variables, **variables}
        if kind == "mariadb":
            return MariaDB(**wanted)
        return MySQL(**wanted) if kind == "mysql" else MySQLContainer(self._image, **wanted)

    def _make_first(self, kinds: tuple[str, ...], variables: Mapping[str, Value]) -> AnyServer:
        missing = []
        for kind in kinds:
            try:
                return self._make(kind, variables)
            except ServerNotFound as error:
                missing.append(str(error))
        raise ServerNotFound("; or: ".join(missing))


@contextmanager
def behind_proxy(server: AnyServer) -> Iterator[ServerProxy]:
    """Have a server's `connect_args()` lead through a proxy within the block."""
    if server.proxy is not None:
        raise ServerError(f"{server!r} stands behind a proxy already: one test at a time can have faults")
    with ServerProxy(server) as proxy:
        server.proxy = proxy
        try:
            yield proxy
        finally:
            server.proxy = None
            # Else the sweep would knock at a door without a house.
            close_held_to(*proxy.address)


def _forget(server: AnyServer) -> None:
    close_held_to(server.host, server.port)
