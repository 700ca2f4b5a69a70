"""Settings of the test project; the server is named by the environment, as connect arguments in JSON."""

from __future__ import annotations

import json
import os
from typing import Any

SERVER: dict[str, Any] = json.loads(os.environ["DJANGO_SITE_SERVER"])
ENGINE = os.environ.get("DJANGO_SITE_ENGINE", "persistconn.backends.mysql")

NAME = os.environ.get("DJANGO_SITE_NAME", "site")
MAIN, OTHER = f"{NAME}_main", f"{NAME}_other"


def _database(name: str) -> dict[str, Any]:
    return {
        "ENGINE": ENGINE,
        "NAME": name,
        "HOST": SERVER["host"],
        "PORT": SERVER["port"],
        "USER": SERVER["user"],
        "PASSWORD": SERVER["password"],
        "OPTIONS": {"ssl_disabled": True},
        "TEST": {"CHARSET": "utf8mb4"},
    }


# "twin" names the same database as "default", as people do who log beside a transaction that may be rolled back.
DATABASES = {"default": _database(MAIN), "twin": _database(MAIN), "other": _database(OTHER)}
DATABASE_ROUTERS = ["django_site.routers.NotesBesideTheRest"]
INSTALLED_APPS = ["persistconn", "django_site.shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "for tests"
USE_TZ = True
