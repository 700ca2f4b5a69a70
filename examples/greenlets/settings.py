"""Two databases, each with a pool of its own."""

from __future__ import annotations

import os


def database(name: str, max_size: int) -> dict[str, object]:
    """Describe a database that any number of greenlets share ``max_size`` sessions of."""
    return {
        "ENGINE": "persistconn.backends.mysql",
        "HOST": os.environ.get("SHOP_DB_HOST", "127.0.0.1"),
        "PORT": os.environ.get("SHOP_DB_PORT", "3306"),
        "USER": os.environ.get("SHOP_DB_USER", "shop"),
        "PASSWORD": os.environ.get("SHOP_DB_PASSWORD", ""),
        "NAME": name,
        # A greenlet waits this long for its turn: long enough for all that may be queued before it.
        "OPTIONS": {"charset": "utf8mb4", "pool": {"max_size": max_size, "timeout": 60}},
    }


SECRET_KEY = "of an example"
INSTALLED_APPS = ["game"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
DATABASES = {
    "default": database(os.environ.get("SHOP_DB_NAME", "shop"), max_size=5),
    "game": database(os.environ.get("GAME_DB_NAME", "game"), max_size=3),
}
