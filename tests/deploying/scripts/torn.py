"""Greenlets that are killed or time out, while they wait for a session and in the middle of a query, each in its turn."""

from __future__ import annotations

from gevent import monkey

monkey.patch_all()

import contextlib  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
import gevent.event  # noqa: E402
import pymysql  # noqa: E402

import persistconn  # noqa: E402
from persistconn.keeper import KEEPER  # noqa: E402

KEEPER.on_connection = lambda pace: None  # No sweep but ours.
db = persistconn.manage(pymysql, pool={"max_size": 1, "timeout": 60})
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


LIMIT = 60
"""Seconds until a greenlet hangs."""


def wait_for(claim: Callable[[], object]) -> None:
    """Wait until a claim is true."""
    with gevent.Timeout(LIMIT, AssertionError("it did not come true")):
        while not claim():
            gevent.sleep(0.01)


def runs(words: str) -> list[int]:
    """Return the server's sessions that are at a statement with these words."""
    with pymysql.connect(**DATABASE) as bare, bare.cursor() as cursor:
        mine = "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND INFO LIKE %s"
        cursor.execute(mine, (f"%{words}%",))
        return [session for (session,) in cursor.fetchall()]


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
    gevent.sleep(0.1)  # Each gets its turn, and waits then: it takes no answer of the server's to come so far.
    waiting[0].kill()
    waiting[1].kill(gevent.Timeout())
    db.connect(**DATABASE).close()
    assert waiting[2].get(timeout=LIMIT) == (1,)
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

    assert gevent.spawn(wait).get(timeout=LIMIT) == "too late"
    assert borrow() == mine
    db.connect(**DATABASE).close()


def killed_in_a_query() -> None:
    """Its session is not lent again, and its place is free with the next who wants one, or the next sweep."""
    sessions: list[int] = []

    def work() -> None:
        sessions.append(borrow())
        ask("SELECT SLEEP(60), 'an answer that comes too late'")

    victim = gevent.spawn(work)
    wait_for(lambda: runs("too late"))
    victim.kill()
    KEEPER.sweep()
    assert persistconn.connections() == []
    assert gevent.spawn(unit, "SELECT 'mine', CONNECTION_ID()").get(timeout=LIMIT)[0] == "mine"
    assert unit("SELECT CONNECTION_ID()")[0] not in sessions


def timed_out_in_a_query() -> None:
    """The same greenlet goes on, on another session, and gets its own rows."""

    @persistconn.unit_of_work
    def work() -> None:
        first = borrow()
        try:
            with gevent.Timeout(0.2):
                ask("SELECT SLEEP(60), 'an answer that comes too late'")
        except gevent.Timeout:
            pass
        answer, second = ask("SELECT 'mine', CONNECTION_ID()")
        assert answer == "mine"
        assert second != first

    gevent.spawn(work).get(timeout=LIMIT)


def killed_in_a_transaction() -> None:
    """What it had written is rolled back before anybody else sees the place."""
    unit("CREATE TABLE IF NOT EXISTS torn (id INT PRIMARY KEY)")

    written = gevent.event.Event()

    def work() -> None:
        db.connect(**DATABASE).begin()
        ask("INSERT INTO torn VALUES (1)")
        written.set()
        gevent.sleep(10 * LIMIT)

    victim = gevent.spawn(work)
    assert written.wait(LIMIT)
    victim.kill()
    assert gevent.spawn(unit, "SELECT COUNT(*) FROM torn").get(timeout=LIMIT) == (0,)


def end_what_sleeps() -> None:
    """End the sessions that nobody waits for any more: they would be among what the next test counts."""
    with (
        pymysql.connect(**DATABASE) as bare,
        contextlib.suppress(pymysql.OperationalError),
    ):  # It may have ended meanwhile.
        for session in runs("too late"):
            bare.query(f"KILL {session}")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
    persistconn.shutdown()
    end_what_sleeps()
