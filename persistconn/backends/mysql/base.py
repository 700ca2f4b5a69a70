"""The engine: Django's own for MySQL, on one held connection for each thread and alias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.db import DEFAULT_DB_ALIAS, connections
from django.utils.asyncio import async_unsafe
from django.utils.functional import cached_property

from persistconn.backends.mysql.stand_in import import_stock_engine

import_stock_engine()  # Before anything that imports MySQLdb.

from django.db.backends.mysql import base as stock  # noqa: E402

from persistconn.backends.mysql import boundary, orphans  # noqa: E402
from persistconn.backends.mysql.creation import DatabaseCreation  # noqa: E402
from persistconn.backends.mysql.django_names import NAMES  # noqa: E402
from persistconn.backends.mysql.errors import ErrorWrapper  # noqa: E402
from persistconn.backends.mysql.options import OPTIONS, managed_driver  # noqa: E402
from persistconn.backends.mysql.sharing import WrapperOwner  # noqa: E402
from persistconn.backends.mysql.transactions import Transactions  # noqa: E402
from persistconn.keeper import KEEPER  # noqa: E402
from persistconn.private_names import insist  # noqa: E402

if TYPE_CHECKING:
    from persistconn.connection import PersistentConnection


insist(django, f"Django {django.get_version()}", NAMES, "install Django 5.2")


class DatabaseWrapper(stock.DatabaseWrapper):
    """One alias in one thread. ``close()`` gives nothing back: it rolls back what is open, and the session stays.

    ``CONN_MAX_AGE`` has no effect, and ``CONN_HEALTH_CHECKS`` costs no round trip: persistconn's policy decides on both.
    """

    creation_class = DatabaseCreation
    connection: PersistentConnection | None
    health_check_enabled: bool
    health_check_done: bool

    def __init__(self, settings_dict: dict[str, Any], alias: str = DEFAULT_DB_ALIAS) -> None:
        """Raise ImproperlyConfigured for settings that cannot work; connects to nothing."""
        self._driver = managed_driver(alias, settings_dict.get("OPTIONS", {}))
        # Two aliases may name the same database, and connection.copy() wants a second session: were they given the first
        # one, a close() of one would roll back the other's transaction.
        self._place = object()
        self._session = orphans.Tie(self)
        self._owner = WrapperOwner(self, KEEPER.owner())
        self._transactions: Transactions | None = None
        self._is_closed = False
        self._is_as_left = False
        super().__init__(settings_dict, alias)

    def get_connection_params(self) -> dict[str, Any]:
        """Return what the driver's ``connect()`` is called with, without our own option."""
        parameters = super().get_connection_params()
        for option in OPTIONS:
            parameters.pop(option, None)
        return parameters

    @async_unsafe
    def get_new_connection(self, conn_params: dict[str, Any]) -> PersistentConnection:
        """Return this wrapper's held connection; blocks as a connect does, if there is no session yet."""
        connection = self._driver.connect_for(self._place, self.alias, **conn_params)
        # As stock does: mysqlclient's encoder for bytes does not work, and PyMySQL has taken it over.
        if connection.encoders.get(bytes) is bytes:
            connection.encoders.pop(bytes)
        connection.alias = self.alias
        self._is_closed = False
        self._is_as_left = connection.dress == self._dress(connection)
        self._session.hold(connection)
        if self.allow_thread_sharing:
            connection.owner = self._owner
        return connection

    def inc_thread_sharing(self) -> None:
        """Let other threads use this wrapper, and so its connection, one at a time."""
        super().inc_thread_sharing()
        if self.connection is not None:
            self.connection.owner = self._owner

    @async_unsafe
    def connect(self) -> None:
        """Take the held connection and make its session what Django expects."""
        super().connect()
        # Managed by hand: age is the keeper's to judge, not that of the signals around a request.
        self.close_at = None

    def init_connection_state(self) -> None:
        """Set the session up, unless it is as another ``connect()`` has left it: so ``close()`` costs no round trip."""
        assert self.connection is not None
        is_as_left, self._is_as_left = self._is_as_left, False
        if not is_as_left:
            super().init_connection_state()
            self.connection.dress = self._dress(self.connection)

    def _dress(self, connection: PersistentConnection) -> object:
        return self.isolation_level, connection.settings

    def _set_autocommit(self, autocommit: bool) -> None:
        assert self.connection is not None
        if self._transactions is None or self._transactions.connection is not self.connection:
            self._transactions = Transactions(self.connection)
        with self.wrap_database_errors:
            (self._transactions.switch_on if autocommit else self._transactions.switch_off)()

    @cached_property
    def wrap_database_errors(self) -> ErrorWrapper:
        """Turn the driver's errors into Django's; our own stay our own as well."""
        return ErrorWrapper(self)

    def _close(self) -> None:
        if self.connection is None:
            return
        self._is_closed = True
        with self.wrap_database_errors:
            if self._is_of_its_alias():
                self.connection.close()
            else:
                self._session.retire()

    def _is_of_its_alias(self) -> bool:
        # Copies, and the one without a database that creates test databases, are used once: nobody would end their session.
        return any(wrapper is self for wrapper in connections.all(initialized_only=True))

    def is_usable(self, *, round_trip: bool = True) -> bool:
        """Say whether the server answers on this connection; without a round trip, whether it can be used at all."""
        if self._is_closed or self.connection is None or not self.connection.open:
            return False
        return super().is_usable() if round_trip else True

    def close_if_health_check_failed(self) -> None:
        """Do what ``CONN_HEALTH_CHECKS`` asks for, but leave the ping out: the check before each statement is enough.

        What somebody else has really closed (``persistconn.shutdown()``, say) is forgotten here, before each use.
        """
        if self.connection is None:
            return
        if not self.connection.open:
            if not self.in_atomic_block:
                self.close()
        elif self.health_check_enabled and not self.health_check_done:
            if not self.is_usable(round_trip=False):
                self._session.retire()
                self.close()
            self.health_check_done = True

    def close_if_unusable_or_obsolete(self) -> None:
        """End the unit of work: what is open outside an atomic block is rolled back, and the connection stays.

        It does not ask whether the connection is usable, because the check before the next statement does.
        """
        if self.connection is None or self.in_atomic_block:
            return
        if self._driver.policy.pool is not None:
            self.close()  # Gives the session back.
            return
        if self.autocommit != self.settings_dict["AUTOCOMMIT"] or not self.connection.open:
            # Rolls back what is open; the next use sets autocommit right.
            self.close()
            return
        with self.wrap_database_errors:
            self.connection.close()
        self.needs_rollback = False
        self.run_on_commit = []
        self.health_check_done = self.errors_occurred
        self.errors_occurred = False

    @property
    def is_a_tests(self) -> bool:
        """Whether a ``TestCase`` has its transaction open here, around all units of work of the test."""
        return any(getattr(block, "_from_testcase", False) for block in self.atomic_blocks)

    def end_unit(self) -> None:
        """End the unit of work at its real end, where an atomic block that is still open is nobody's any more, or a test's."""
        if self.is_a_tests:
            return
        if self.in_atomic_block:
            self.in_atomic_block = False
            self.closed_in_transaction = False
            self.close()
        self.close_if_unusable_or_obsolete()


boundary.register(DatabaseWrapper)
