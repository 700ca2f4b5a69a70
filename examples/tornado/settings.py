"""Django's ORM, without a site: Tornado has the requests, a thread pool the database."""

from __future__ import annotations

import os

SECRET_KEY = "of an example"
INSTALLED_APPS = ["django.contrib.sessions"]
USE_TZ = True

DATABASES = {
    "default": {
        # No pool: the threads of the Executor are few and live long, so each keeps a session for itself.
        "ENGINE": "persistconn.backends.mysql",
        "HOST": os.environ.get("SHOP_DB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SHOP_DB_PORT", "3306"),
        "USER": os.environ.get("SHOP_DB_USER", "shop"),
        "PASSWORD": os.environ.get("SHOP_DB_PASSWORD", ""),
        "NAME": os.environ.get("SHOP_DB_NAME", "shop"),
        "OPTIONS": {"charset": "utf8mb4"},
    },
}
