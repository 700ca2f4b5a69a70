"""What the figures were measured on, without a name or a path that would tell whose machine it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import ssl
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

PACKAGES = (
    "persistconn",
    "PyMySQL",
    "mysqlclient",
    "Django",
    "APScheduler",
    "DBUtils",
    "SQLAlchemy",
    "django-db-connection-pool",
    "django-dbconn-retry",
)


def describe(place: Any) -> list[tuple[str, str]]:
    """Return what is known of the machine, the versions and the day. Asks the server for its version."""
    return [
        ("date", f"{datetime.now(timezone.utc):%Y-%m-%d}"),
        ("processor", f"{os.cpu_count()} x {_processor()}"),
        ("system", f"{platform.system()} {platform.release()}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {ssl.OPENSSL_VERSION}"),
        ("server", _server(place)),
        ("packages", ", ".join(_packages())),
    ]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


def _packages() -> Iterator[str]:
    for name in PACKAGES:
        try:
            yield f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            yield f"{name} missing"


def _server(place: Any) -> str:
    with place.admin() as admin, admin.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        return str(cursor.fetchone()[0])
