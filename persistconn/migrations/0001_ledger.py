"""Creates the ledger of ``@persistconn.job`` on each alias of MySQL or MariaDB that is migrated."""

from __future__ import annotations

from typing import Any

from django.db import DatabaseError, migrations

from persistconn.once import procedures
from persistconn.once.rows import CREATE, DROP


def _create(_apps: Any, editor: Any) -> None:
    _execute(editor, CREATE)
    if editor.connection.vendor == "mysql":
        procedures.create(editor.execute, DatabaseError)


def _drop(_apps: Any, editor: Any) -> None:
    _execute(editor, (*procedures.DROP, *DROP))


def _execute(editor: Any, statements: tuple[str, ...]) -> None:
    # Other databases of a project get every app's migrations too, and have no use for this one.
    if editor.connection.vendor == "mysql":
        for statement in statements:
            editor.execute(statement)


class Migration(migrations.Migration):
    """The table and its horizon. No model: its primary key is a BINARY(32), which Django has no field for."""

    initial = True
    # MySQL cannot roll back a CREATE TABLE, so Django refuses one in a transaction.
    operations = [migrations.RunPython(_create, _drop, atomic=False)]  # noqa: RUF012
