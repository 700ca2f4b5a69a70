"""gunicorn loads the site, which asks the database something, and forks then."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

worker_class = "gevent"
workers = 2
preload_app = True
wsgi_app = "asks_at_load"
