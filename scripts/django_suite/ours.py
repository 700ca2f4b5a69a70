"""persistconn's engine."""

from __future__ import annotations

from django_suite.settings import *  # noqa: F403  # Django reads its settings from the module's names.
from django_suite.settings import databases

DATABASES = databases("persistconn.backends.mysql")
