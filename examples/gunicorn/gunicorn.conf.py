"""gunicorn reads this by itself."""

from __future__ import annotations

# Each worker patches threading before it loads the site, and so persistconn. With preload_app the master loads it, before
# any worker patches: put `from gevent import monkey` and `monkey.patch_all()` at the top of this file then.
worker_class = "gevent"
workers = 2
worker_connections = 1000
wsgi_app = "wsgi"
