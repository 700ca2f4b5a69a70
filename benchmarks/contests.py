"""Which contestants meet in which contest, and the figures to reach. Tables alone."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK, DELAYED = "loopback", "delayed"
DELAY = 0.0005
"""Seconds that each packet takes longer, one way."""
ROADS = {LOOPBACK: "loopback", DELAYED: "0.5 ms each way"}
AGAIN = " (again)"
"""Marks a second process of the same contestant: how far the two are apart is the noise."""


@dataclass(frozen=True)
class Entry:
    """A contestant in a contest."""

    maker: str
    """Its name in ``contestants.MAKERS``, perhaps with ``AGAIN`` behind it."""
    name: str
    """For people."""
    is_peer: bool = False
    """A usual cure, which is compared with but carries no goal: it takes part in every third round."""


@dataclass(frozen=True)
class Goal:
    """A ratio of tasks per second to reach."""

    claim: str
    road: str
    entry: str
    against: str
    ratio: float
    alone: bool = False
    """Whether one thread is meant, so that the time of a task shows, and not how many the processors can carry."""


@dataclass(frozen=True)
class Contest:
    """Contestants that take turns; ratios are to ``base``."""

    name: str
    title: str
    base: str
    entries: tuple[Entry, ...]
    goals: tuple[Goal, ...]

    def entry(self, maker: str) -> Entry:
        """Return the entry of a maker."""
        return next(entry for entry in self.entries if entry.maker == maker)


READS = Contest(
    "reads",
    "One read by primary key in each task, without an ORM",
    "bare",
    (
        Entry("bare", "bare PyMySQL, no safety"),
        Entry(f"bare{AGAIN}", "the same in a second process: the noise"),
        Entry("managed", "`manage(pymysql)`, kept by the thread"),
        Entry("managed unit", "`manage(pymysql)`, `connect()` and `close()` in each task"),
        Entry("bare mysqlclient", "bare mysqlclient, no safety"),
        Entry("managed mysqlclient", "`manage(MySQLdb)`"),
        Entry("ping", "`ping(reconnect=True)` before each task", is_peer=True),
        Entry("PersistentDB", "DBUtils `PersistentDB`", is_peer=True),
        Entry("PersistentDB without ping", "DBUtils `PersistentDB(ping=0)`", is_peer=True),
        Entry("PooledDB", "DBUtils `PooledDB`", is_peer=True),
        Entry("SQLAlchemy", "SQLAlchemy's pool, `pool_pre_ping`", is_peer=True),
        Entry("connect", "connect for each task", is_peer=True),
    ),
    (
        Goal("`manage(pymysql)`, kept by the thread, against bare", LOOPBACK, "managed", "bare", 0.97),
        Goal("`manage(pymysql)`, `connect()` in each task, against bare", LOOPBACK, "managed unit", "bare", 0.97),
        Goal("`manage(pymysql)`, kept by the thread, against bare", DELAYED, "managed", "bare", 0.99),
        Goal("`manage(pymysql)`, `connect()` in each task, against bare", DELAYED, "managed unit", "bare", 0.99),
        Goal("`manage(MySQLdb)` against bare", LOOPBACK, "managed mysqlclient", "bare mysqlclient", 0.95),
    ),
)

DJANGO = Contest(
    "django",
    "One `Item.objects.get(pk=...)` in each task",
    "django",
    (
        Entry("django", "stock, `CONN_MAX_AGE=None`, no safety"),
        Entry(f"django{AGAIN}", "the same in a second process: the noise"),
        Entry("django ours", "persistconn's engine"),
        Entry("django health", "stock, health checks and `close_old_connections()`"),
        Entry("django ours closing", "persistconn's engine, `close_old_connections()` all the same", is_peer=True),
        Entry("django connect", "stock, `CONN_MAX_AGE=0` and `close_old_connections()`", is_peer=True),
        Entry("django pool", "django-db-connection-pool", is_peer=True),
        Entry("django retry", "django-dbconn-retry", is_peer=True),
    ),
    (
        Goal("Django ORM read against stock with no safety", LOOPBACK, "django ours", "django", 0.98),
        Goal("Django ORM read against stock with no safety", DELAYED, "django ours", "django", 0.98),
        Goal("Django ORM read against stock with health checks", LOOPBACK, "django ours", "django health", 1.25),
        Goal("Django ORM read against stock with health checks", DELAYED, "django ours", "django health", 1.25),
    ),
)

WRITES = Contest(
    "writes",
    "One transaction in each task, with one write",
    "atomic",
    (
        Entry("atomic", "stock Django, `atomic()`"),
        Entry(f"atomic{AGAIN}", "the same in a second process: the noise"),
        Entry("atomic ours", "persistconn's engine, `atomic()`"),
        Entry("job django", "`@job` on persistconn's engine"),
        Entry("job", "`@job` without Django"),
        Entry("transaction", "bare PyMySQL, BEGIN and COMMIT", is_peer=True),
        Entry("empty", "stock Django, an empty `atomic()`", is_peer=True),
        Entry("empty ours", "persistconn's engine, an empty `atomic()`", is_peer=True),
    ),
    tuple(
        Goal(claim, DELAYED, entry, "atomic", ratio, alone)
        for alone in (False, True)
        for claim, entry, ratio in (
            ("`atomic()` with one write against stock `atomic()`", "atomic ours", 1.3),
            ("`@job` with one write against stock `atomic()`", "job django", 1.0),
            ("`@job` without Django, one write, against stock `atomic()`", "job", 1.0),
        )
    ),
)

CONTESTS = (READS, DJANGO, WRITES)

CONNECTS = Contest(
    "connect",
    "A connect, one answer and the goodbye, with TLS on offer and the driver's own settings; processor time",
    "connect",
    (
        Entry("connect", "bare PyMySQL"),
        Entry("managed connect", "`manage(pymysql)`"),
        Entry("connect mysqlclient", "bare mysqlclient"),
        Entry("managed connect mysqlclient", "`manage(MySQLdb)`"),
    ),
    (),
)
