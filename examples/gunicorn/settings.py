"""A Django site on greenlets: what counts is OPTIONS["pool"]."""

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
        "OPTIONS": {
            "charset": "utf8mb4",
            # Each worker process borrows from a pool of its own: workers x 5 sessions at most, however many requests
            # are under way. A request that gets none within 30 s fails with PoolTimeout, which names the holders.
            "pool": {"max_size": 5, "timeout": 30},
        },
    },
}
