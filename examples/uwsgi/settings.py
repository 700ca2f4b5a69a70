"""A Django site on processes and threads: a session for each thread, or fewer by a pool."""

from __future__ import annotations

import os

SECRET_KEY = "of an example"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "views"
INSTALLED_APPS = ["django.contrib.sessions"]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
TIME_ZONE = "UTC"
USE_TZ = True

DATABASES = {
    "default": {
        "ENGINE": "persistconn.backends.mysql",
        "HOST": os.environ.get("SHOP_DB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SHOP_DB_PORT", "3306"),
        "USER": os.environ.get("SHOP_DB_USER", "shop"),
        "PASSWORD": os.environ.get("SHOP_DB_PASSWORD", ""),
        "NAME": os.environ.get("SHOP_DB_NAME", "shop"),
        "OPTIONS": {"charset": "utf8mb4"},
    },
}

# uWSGI's threads live as long as their process, so each can keep a session: processes x threads of them, and no waiting.
# Where that is too many for the server, a pool lends fewer.
if "SHOP_POOL" in os.environ:
    DATABASES["default"]["OPTIONS"]["pool"] = {"max_size": int(os.environ["SHOP_POOL"]), "timeout": 30}
