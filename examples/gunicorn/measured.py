"""The settings for measure.py: the environment says on which engine."""

from __future__ import annotations

import os

import pymysql
from settings import *  # noqa: F403

DATABASE = DATABASES["default"]  # noqa: F405
# Else PyMySQL spends 20 to 50 ms of CPU on a TLS context for each connect, and connects are what is compared here.
DATABASE["OPTIONS"]["ssl_disabled"] = True

if "CONN_MAX_AGE" in os.environ:
    pymysql.version_info = (2, 2, 1, "final", 0)  # Django asks for a mysqlclient that is new enough.
    pymysql.install_as_MySQLdb()
    DATABASE["ENGINE"] = "django.db.backends.mysql"
    del DATABASE["OPTIONS"]["pool"]
    DATABASE["CONN_MAX_AGE"] = int(os.environ["CONN_MAX_AGE"])
