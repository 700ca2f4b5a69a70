"""What both engines have in common; the server is named by the environment."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
import pymysql

SERVER: dict[str, Any] = json.loads(os.environ["DJANGO_SUITE_SERVER"])

TEST_RUNNER = "django_suite.outcomes.Runner"
SECRET_KEY = "django_tests_secret_key"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if django.VERSION < (6, 0):
    # What the tests of those versions expect, and their own settings say; later ones have Django's default.
    DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False


def databases(engine: str) -> dict[str, dict[str, Any]]:
    """Return the two databases that Django's suite wants, on one engine."""
    return {"default": _database(engine, "suite"), "other": _database(engine, "suite_other")}


def _database(engine: str, name: str) -> dict[str, Any]:
    return {
        "ENGINE": engine,
        "NAME": name,
        "HOST": SERVER["host"],
        "PORT": SERVER["port"],
        "USER": SERVER["user"],
        "PASSWORD": SERVER["password"],
        # The server has no TLS, and PyMySQL spends 20 ms on each connection to find that out.
        "OPTIONS": {"ssl_disabled": True},
        "TEST": {"CHARSET": "utf8mb4"},
    }


def install_as_mysqldb() -> None:
    """Make PyMySQL be MySQLdb, also where runtests.py has imported mysqlclient because that is installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "MySQLdb"]:
        del sys.modules[name]
    pymysql.install_as_MySQLdb()
