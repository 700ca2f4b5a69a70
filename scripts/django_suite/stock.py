"""Django's own MySQL engine on PyMySQL, the way people have it."""

from __future__ import annotations

from django_suite.settings import *  # noqa: F403  # Django reads its settings from the module's names.
from django_suite.settings import databases, install_as_mysqldb

install_as_mysqldb()

DATABASES = databases("django.db.backends.mysql")
