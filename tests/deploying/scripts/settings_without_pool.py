"""The example's settings, without the one that counts."""

from __future__ import annotations

from settings import *  # noqa: F403

del DATABASES["default"]["OPTIONS"]["pool"]  # noqa: F405
# Any project has models of its own; Django asks the engine about them when it loads them.
INSTALLED_APPS += ["django.contrib.contenttypes", "django.contrib.auth"]  # noqa: F405
