"""gunicorn reads this by itself."""

from __future__ import annotations

# gunicorn patches threading when it loads this worker class, before the site, and so persistconn, is imported.
worker_class = "gevent"
workers = 2
worker_connections = 1000
wsgi_app = "wsgi"
