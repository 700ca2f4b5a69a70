"""``OPTIONS["persistconn"]`` of one alias: checked, and turned into a managed driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pymysql
from django.core.exceptions import ImproperlyConfigured

from persistconn.errors import ConfigError
from persistconn.module import ManagedModule, manage

OPTION = "persistconn"


def managed_driver(alias: str, options: Mapping[str, Any]) -> ManagedModule:
    """Return PyMySQL managed by the alias's settings; the same one for the same settings.

    Raises ImproperlyConfigured, naming the alias, for settings that cannot work.
    """
    if "pool" in options:
        raise ImproperlyConfigured(
            f"DATABASES[{alias!r}]['OPTIONS']['pool']: lending from a bounded pool is not there yet; "
            "take the option out, and each thread holds one connection"
        )
    settings = options.get(OPTION, {})
    if not isinstance(settings, Mapping):
        raise ImproperlyConfigured(
            f"DATABASES[{alias!r}]['OPTIONS'][{OPTION!r}] must be a dict of settings, not {settings!r}"
        )
    try:
        return manage(pymysql, **settings)
    except (ConfigError, TypeError) as error:
        raise ImproperlyConfigured(f"DATABASES[{alias!r}]['OPTIONS'][{OPTION!r}]: {error}") from error
