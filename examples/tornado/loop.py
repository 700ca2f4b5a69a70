"""The oldest use of all: one thread, one loop, one connection that is always there: ``python loop.py 8000``.

Each query holds the loop up, so this is for short ones.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import Any

import pymysql
from tornado.ioloop import PeriodicCallback
from tornado.web import Application, RequestHandler

import persistconn

# The sweep, on a thread of its own, keeps it alive: no ping in a handler, no reconnect by hand.
db = persistconn.manage(pymysql, keepalive=7 * 3600)
DATABASE = {
    "host": os.environ.get("SHOP_DB_HOST", "127.0.0.1"),
    "port": int(os.environ.get("SHOP_DB_PORT", "3306")),
    "user": os.environ.get("SHOP_DB_USER", "shop"),
    "password": os.environ.get("SHOP_DB_PASSWORD", ""),
    "database": os.environ.get("SHOP_DB_NAME", "shop"),
}


def ask(sql: str, *values: object) -> Any:
    """Run one statement and return its first row."""
    # The same connection each time: what looks like a connect costs a dictionary's look.
    with db.connect(**DATABASE, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()


class Tick(RequestHandler):
    """Says how often the clock has ticked, and by which session it was asked."""

    def get(self) -> None:
        """Answer at once."""
        ticks, session = ask("SELECT COUNT(*), CONNECTION_ID() FROM tick")
        self.write({"ticks": ticks, "session": session})


async def main(port: int) -> None:
    """Serve and tick until SIGTERM or Ctrl-C."""
    ask("CREATE TABLE IF NOT EXISTS tick (id INT AUTO_INCREMENT PRIMARY KEY)")
    Application([("/", Tick)]).listen(port, "127.0.0.1")
    clock = PeriodicCallback(lambda: ask("INSERT INTO tick () VALUES ()"), 100)
    clock.start()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
    clock.stop()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8000))
