"""The settings. Where the database is comes from the environment: INVOICES_DB_HOST and so on."""

from __future__ import annotations

import os

ENGINE = os.environ.get("INVOICES_DB_ENGINE", "persistconn.backends.mysql")

if ENGINE == "django.db.backends.mysql":
    # Stock Django wants mysqlclient, and this is how people give it PyMySQL. Our own engine needs nothing of the kind.
    import pymysql

    pymysql.install_as_MySQLdb()

SECRET_KEY = "there is no web page here that anything could be signed for"
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = ["persistconn", "billing"]  # the first one brings `manage.py runworkers`
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {
    "default": {
        "ENGINE": ENGINE,
        "HOST": os.environ.get("INVOICES_DB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("INVOICES_DB_PORT", "3306"),
        "USER": os.environ.get("INVOICES_DB_USER", "invoices"),
        "PASSWORD": os.environ.get("INVOICES_DB_PASSWORD", ""),
        "NAME": os.environ.get("INVOICES_DB_NAME", "invoices"),
        # What people set on stock Django so that a connection stays. Our engine keeps it anyway.
        "CONN_MAX_AGE": None,
        "OPTIONS": {"charset": "utf8mb4"},
    }
}
