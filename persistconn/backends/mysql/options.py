"""``OPTIONS["persistconn"]`` and ``OPTIONS["pool"]`` of one alias: checked, and turned into a managed driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql
from django.core.exceptions import ImproperlyConfigured

from persistconn.errors import ConfigError
from persistconn.module import ManagedModule, manage

OPTION, POOL = OPTIONS = "persistconn", "pool"


def managed_driver(alias: str, options: Mapping[str, Any]) -> ManagedModule:
    """Return PyMySQL managed by the alias's settings; the same one for the same settings.

    Raises ImproperlyConfigured, naming the alias, for settings that cannot work.
    """
    settings = options.get(OPTION, {})
    if not isinstance(settings, Mapping):
        raise ImproperlyConfigured(
            f"DATABASES[{alias!r}]['OPTIONS'][{OPTION!r}] must be a dict of settings, not {settings!r}"
        )
    if POOL in options:
        # Where Django itself has it, for other databases.
        settings = {**settings, POOL: options[POOL]}
    try:
        return manage(pymysql, **settings)
    except (ConfigError, TypeError) as error:
        raise ImproperlyConfigured(f"DATABASES[{alias!r}]['OPTIONS']: {error}") from error
