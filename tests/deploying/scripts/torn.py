"""Greenlets that are killed or time out, while they wait for a session and in the middle of a query, each in its turn."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import pymysql  # noqa: E402

import persistconn  # noqa: E402
from persistconn.keeper import KEEPER  # noqa: E402

KEEPER.on_connection = lambda pace: None  # No sweep but ours.
db = persistconn.manage(pymysql, pool={"max_size": 1, "timeout": 20})
DATABASE: dict[str, Any] = {
    "host": os.environ["SHOP_DB_HOST"],
    "port": int(os.environ["SHOP_DB_PORT"]),
    "user": os.environ["SHOP_DB_USER"],
    "password": os.environ["SHOP_DB_PASSWORD"],
    "database": os.environ["SHOP_DB_NAME"],
    "ssl_disabled": True,
    "autocommit": True,
}


def ask(sql: str) -> Any:
    """Run a statement on the calling greenlet's connection."""
    with db.connect(**DATABASE).cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()


@persistconn.unit_of_work
def unit(sql: str) -> Any:
    """Run a statement and give back."""
    return ask(sql)


def borrow() -> int:
    """Borrow the one session and keep it; return its id."""
    return int(ask("SELECT CONNECTION_ID()")[0])


def killed_while_it_waits() -> None:
    """Its place in the queue is nobody's."""
    mine = borrow()
    waiting = [gevent.spawn(unit, "SELECT 1") for _ in range(3)]
    gevent.sleep(0.1)
    waiting[0].kill()
    waiting[1].kill(gevent.Timeout())
    db.connect(**DATABASE).close()
    assert waiting[2].get(timeout=5) == (1,)
    assert borrow() == mine
    db.connect(**DATABASE).close()


def timed_out_while_it_waits() -> None:
    """And may go on with something else."""
    mine = borrow()

    def wait() -> str:
        try:
            with gevent.Timeout(0.1):
                unit("SELECT 1")
        except gevent.Timeout:
            return "too late"
        return "in time"

    assert gevent.spawn(wait).get(timeout=5) == "too late"
    assert borrow() == mine
    db.connect(**DATABASE).close()


def killed_in_a_query() -> None:
    """Its session is not lent again, and its place is free with the next who wants one, or the next sweep."""
    sessions: list[int] = []

    def work() -> None:
        sessions.append(borrow())
        ask("SELECT SLEEP(5), 'an answer that comes too late'")

    victim = gevent.spawn(work)
    gevent.sleep(0.2)
    victim.kill()
    KEEPER.sweep()
    assert persistconn.connections() == []
    assert gevent.spawn(unit, "SELECT 'mine', CONNECTION_ID()").get(timeout=5)[0] == "mine"
    assert unit("SELECT CONNECTION_ID()")[0] not in sessions


def timed_out_in_a_query() -> None:
    """The same greenlet goes on, on another session, and gets its own rows."""

    @persistconn.unit_of_work
    def work() -> None:
        first = borrow()
        try:
            with gevent.Timeout(0.2):
                ask("SELECT SLEEP(5), 'an answer that comes too late'")
        except gevent.Timeout:
            pass
        answer, second = ask("SELECT 'mine', CONNECTION_ID()")
        assert answer == "mine"
        assert second != first

    gevent.spawn(work).get(timeout=5)


def killed_in_a_transaction() -> None:
    """What it had written is rolled back before anybody else sees the place."""
    unit("CREATE TABLE IF NOT EXISTS torn (id INT PRIMARY KEY)")

    def work() -> None:
        db.connect(**DATABASE).begin()
        ask("INSERT INTO torn VALUES (1)")
        gevent.sleep(30)

    victim = gevent.spawn(work)
    gevent.sleep(0.2)
    victim.kill()
    assert gevent.spawn(unit, "SELECT COUNT(*) FROM torn").get(timeout=5) == (0,)


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    persistconn.shutdown()
