"""The Django app: add ``"persistconn"`` to ``INSTALLED_APPS`` for its management commands."""

from __future__ import annotations

from django.apps import AppConfig


class PersistconnConfig(AppConfig):
    """Nothing but the name: the engine works without the app."""

    name = "persistconn"
    verbose_name = "persistconn"
    default_auto_field = "django.db.models.BigAutoField"
