"""The example's site, which asks the database something while it is loaded."""

from __future__ import annotations

from django.db import connection
from wsgi import application

with connection.cursor() as cursor:
    cursor.execute("SELECT CONNECTION_ID()")
    print(f"loaded on session {cursor.fetchone()[0]}", flush=True)  # noqa: T201
connection.close()

__all__ = ["application"]
