"""The same without Django: a function on plain PyMySQL, for a pool of threads."""

from __future__ import annotations

from typing import Any

import pymysql

import persistconn

db = persistconn.manage(pymysql)


def count(arguments: dict[str, Any], table: str) -> int:
    """Count the rows of a table; reads what is committed now."""
    with db.connect(**arguments, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM `{table}`")
        return int(cursor.fetchone()[0])
