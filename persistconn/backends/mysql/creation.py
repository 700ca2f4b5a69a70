"""Test databases: nobody may hold a connection to one that is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.db.backends.mysql.creation import DatabaseCreation as StockCreation

from persistconn.keeper import KEEPER

if TYPE_CHECKING:
    from persistconn.backends.mysql.base import DatabaseWrapper


class DatabaseCreation(StockCreation):
    """Django's, and it really closes what this process holds of a test database before that is dropped.

    A held session that is idle in a transaction would block the ``DROP DATABASE`` of its own process by a metadata lock.
    """

    # The stubs of Django leave its private methods out: hence the ignored complaints.
    connection: DatabaseWrapper

    def _create_test_db(self, verbosity: int, autoclobber: bool, keepdb: bool = False) -> str:
        # An old test database of this name may be dropped on the way.
        if not keepdb:
            self._retire_database(self._get_test_db_name())  # type: ignore[attr-defined]
        return super()._create_test_db(verbosity, autoclobber, keepdb)  # type: ignore[misc,no-any-return]

    def _clone_test_db(self, suffix: str, verbosity: int, keepdb: bool = False) -> None:
        if not keepdb:
            self._retire_database(self.get_test_db_clone_settings(suffix)["NAME"])
        super()._clone_test_db(suffix, verbosity, keepdb)  # type: ignore[misc]

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        self._retire_database(test_database_name)
        super()._destroy_test_db(test_database_name, verbosity)  # type: ignore[misc]

    def _retire_database(self, name: str) -> None:
        arguments: Mapping[str, Any] = {**self.connection.get_connection_params(), "database": name}
        KEEPER.retire_database(arguments)
