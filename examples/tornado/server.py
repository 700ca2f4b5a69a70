"""Handlers that wait for Django's ORM without holding up the loop: ``python server.py 8000``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from tornado.ioloop import IOLoop  # noqa: E402
from tornado.web import Application, RequestHandler  # noqa: E402

import persistconn  # noqa: E402

# Four threads, so four sessions, however many requests are waiting. Each task is a unit of work: what it leaves open is
# rolled back when it ends. ``warm`` connects all four now, and not with the first requests.
POOL = persistconn.Executor(max_workers=4, warm="default")


def visit(browser: str | None) -> dict[str, object]:
    """Count the visits of one browser. Blocks, so it runs on a thread of the pool."""
    store = SessionStore(browser)
    store["visits"] = store.get("visits", 0) + 1
    store.save()
    with connection.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        return {"browser": store.session_key, "visits": store["visits"], "session": cursor.fetchone()[0]}


class Visit(RequestHandler):
    """The one page."""

    async def get(self) -> None:
        """Answer when the database has."""
        self.write(await IOLoop.current().run_in_executor(POOL, visit, self.get_query_argument("browser", None)))


async def main(port: int) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    Application([("/", Visit)]).listen(port, "127.0.0.1")
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


if __name__ == "__main__":
    POOL.submit(call_command, "migrate", verbosity=0).result()
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
    POOL.shutdown()
