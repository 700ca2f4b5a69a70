"""A Django site on a server that starts a thread for each request: what counts is OPTIONS["pool"]."""

from __future__ import annotations

import os

SECRET_KEY = "of an example"
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "views"
WSGI_APPLICATION = "wsgi.application"
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
            # A thread lives for one request, and what it borrowed is the next one's: five sessions, however many threads.
            "pool": {"max_size": 5, "timeout": 30},
        },
    },
}
