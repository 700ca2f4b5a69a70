"""Settings as in production, but for the address, which the environment gives."""

from __future__ import annotations

import os

SECRET_KEY = "of an example"
INSTALLED_APPS = ["persistconn", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "persistconn.backends.mysql",
        "NAME": "shop",
        "HOST": os.environ.get("SHOP_DB_HOST", "db"),
        "USER": "shop",
        "PASSWORD": os.environ.get("SHOP_DB_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
