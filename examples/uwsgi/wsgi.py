"""What uWSGI serves."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application
from django.db import connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
application = get_wsgi_application()

# Sites ask the database all kinds of things while they are loaded: here that is in the master, before it forks. The
# workers never use this session; with one for each thread the master keeps it, and persistconn.shutdown() would end it.
with connection.cursor() as cursor:
    cursor.execute("SELECT CONNECTION_ID()")
    print(f"loaded by process {os.getpid()} on session {cursor.fetchone()[0]}", flush=True)
connection.close()
