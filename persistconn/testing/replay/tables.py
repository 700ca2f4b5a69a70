"""What the tables of a test database hold, what a job changes in them, and how they are put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from persistconn.once.line import Ask
from persistconn.once.rows import HORIZON, LEDGER

RowsOf = dict[str, Counter[tuple[Any, ...]]]
"""The rows of each table, in no order."""


@dataclass(frozen=True)
class Table:
    """One table: the columns that can be written, and those of them that a replay must make alike."""

    name: str
    columns: tuple[str, ...]
    compared: tuple[str, ...]


class Tables:
    """The base tables of one database, without the ledger. ``ignored`` are columns, as ``table.column``, that may differ."""

    def __init__(self, ask: Ask, schema: str, ignored: Collection[str]) -> None:
        """Look them up. Raises ValueError for an ignored column that there is not."""
        self._ask = ask
        self._schema = schema
        self._tables = self._look_up(set(ignored))

    def _look_up(self, ignored: set[str]) -> list[Table]:
        columns = self._ask(
            "SELECT c.TABLE_NAME, c.COLUMN_NAME, c.EXTRA LIKE '%%GENERATED%%', c.EXTRA LIKE '%%auto_increment%%'"
            " FROM information_schema.COLUMNS AS c JOIN information_schema.TABLES AS t"
            " ON t.TABLE_SCHEMA = c.TABLE_SCHEMA AND t.TABLE_NAME = c.TABLE_NAME"
            " WHERE c.TABLE_SCHEMA = %s AND t.TABLE_TYPE = 'BASE TABLE' AND c.TABLE_NAME NOT IN (%s, %s)"
            " ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION",
            self._schema,
            LEDGER,
            HORIZON,
        )
        known = {f"{table}.{column}" for table, column, _, _ in columns}
        if unknown := ignored - known:
            raise ValueError(f"ignore: there is no column {', '.join(sorted(unknown))}")
        # A number that a lost attempt has used up is not given out again, so the replay's rows have others.
        numbered = {f"{table}.{column}" for table, column, _, is_numbered in columns if is_numbered}
        left_out = ignored | numbered | self._references_to(numbered)
        written: dict[str, list[str]] = {}
        for table, column, is_generated, _ in columns:
            if not is_generated or f"{table}.{column}" in numbered:
                written.setdefault(table, []).append(column)
        return [
            Table(name, tuple(names), tuple(column for column in names if f"{name}.{column}" not in left_out))
            for name, names in written.items()
        ]

    def _references_to(self, numbered: set[str]) -> set[str]:
        keys = self._ask(
            "SELECT TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME"
            " FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME IS NOT NULL",
            self._schema,
        )
        return {f"{table}.{column}" for table, column, other, key in keys if f"{other}.{key}" in numbered}

    def rows(self) -> RowsOf:
        """Return all rows, whole."""
        return {table.name: Counter(self._select(table.name, table.columns)) for table in self._tables}

    def compared(self, rows: RowsOf) -> RowsOf:
        """Return the same rows with the columns only that a replay must make alike."""
        alike: RowsOf = {}
        for table in self._tables:
            places = [table.columns.index(column) for column in table.compared]
            alike[table.name] = Counter()
            for row, count in rows[table.name].items():
                alike[table.name][tuple(row[place] for place in places)] += count
        return alike

    def put_back(self, rows: RowsOf) -> None:
        """Make the tables hold these rows again."""
        self._ask("SET SESSION foreign_key_checks = 0")
        for table, now in self.rows().items():
            if now != rows[table]:
                self._refill(table, rows[table])
        self._ask("SET SESSION foreign_key_checks = 1")

    def _refill(self, name: str, rows: Counter[tuple[Any, ...]]) -> None:
        columns = next(table.columns for table in self._tables if table.name == name)
        quoted = ", ".join(f"`{column}`" for column in columns)
        places = ", ".join(["%s"] * len(columns))
        self._ask(f"DELETE FROM `{self._schema}`.`{name}`")  # noqa: S608 - names out of information_schema
        for row in rows.elements():
            self._ask(f"INSERT INTO `{self._schema}`.`{name}` ({quoted}) VALUES ({places})", *row)  # noqa: S608

    def _select(self, name: str, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
        quoted = ", ".join(f"`{column}`" for column in columns)
        return self._ask(f"SELECT {quoted} FROM `{self._schema}`.`{name}`")  # noqa: S608


def differences(expected: RowsOf, found: RowsOf) -> list[str]:
    """Say in words what one state of the tables has that the other has not."""
    told = []
    for table, rows in expected.items():
        told += [f"table {table}: {_times(count)} too many {row}" for row, count in (found[table] - rows).items()]
        told += [f"table {table}: {_times(count)} missing {row}" for row, count in (rows - found[table]).items()]
    return told


def _times(count: int) -> str:
    return "one row" if count == 1 else f"{count} rows"
