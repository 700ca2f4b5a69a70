"""COMMIT in flight: held inside the server, or late in the network, and struck while nobody can know what it will come to.

``FLUSH TABLES WITH READ LOCK`` holds a COMMIT that the server has read; a delay in the proxy lets one arrive late. Then the
session is killed, the statement interrupted, the connection cut or swallowed, or the server killed with SIGKILL. Each job
must have exactly one effect, and nothing may surface but KILL QUERY, which is somebody's will: told, and no effect.
"""

from __future__ import annotations

import contextlib
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotOver
from dataclasses import dataclass
from enum import Enum

import pymysql

import persistconn
from campaigns import places
from campaigns.cuts.subject import TRANSPORT_ARGUMENTS
from campaigns.drivers import load
from campaigns.figures import Figures, counted
from campaigns.ledgers import WAYS, make_ledger
from campaigns.places import Place, Private
from persistconn.drivers.faults import code_of
from persistconn.once.rows import END, LEDGER
from persistconn.testing.faults import Cut, Delay, Drop, FaultProxy, Reset, Rule, to_server

TABLE = "in_flight"
READ_TIMEOUT = 2
"""The client's patience, in seconds; mysqlclient counts whole ones."""
LATE = (0.05, 2.5)
"""Seconds by which a COMMIT is late: less than the client's patience, or more."""
UNLOCKED = (0.0, 1.4)
"""Seconds from the strike until the server may go on: before the replay has come to its fence, or long after."""
GIVE_UP_AFTER = 90.0
_LIMIT = 150.0
"""Seconds after which a job hangs, or what it needs never comes."""
_INTERRUPTED = 1317
_JOB = "campaign-in-flight"
_COMMIT = re.compile(f"COMMIT|{END}", re.IGNORECASE)
"""The statement, or the call that has it in it."""


class Hold(Enum):
    """What keeps the COMMIT from being executed."""

    LOCKED = "held by FLUSH TABLES WITH READ LOCK"
    LATE = "late in the network"


class Strike(Enum):
    """What happens to it meanwhile."""

    NOTHING = "nothing else"
    KILL = "KILL"
    KILL_QUERY = "KILL QUERY"
    FIN = "FIN"
    RST = "RST"
    HOLE = "black hole"
    CRASH = "kill -9 of the server"


@dataclass(frozen=True)
class Outcome:
    """What came of one job: what its caller was told, and how often its effect and its row are there."""

    hold: Hold
    strike: Strike
    said: str
    """"done", "interrupted" (1317), or the error that surfaced."""
    effects: int
    attempts: tuple[int, ...]
    """Of each row of the ledger, the number of the attempt that wrote it."""

    @property
    def kind(self) -> str:
        """What was done to it, in words."""
        return f"{self.hold.value}, {self.strike.value}"

    @property
    def end(self) -> str:
        """What it came to, in a word or two."""
        if self.said == "done":
            return "committed all the same" if self.attempts == (1,) else "replayed"
        return "told, no effect"

    @property
    def flaw(self) -> str | None:
        """What is wrong with it; None if the promise held."""
        is_told = self.said == "interrupted" and self.strike is Strike.KILL_QUERY
        wanted = 0 if is_told else 1
        if not is_told and self.said != "done":
            return f"{self.kind}: surfaced {self.said}"
        if (self.effects, len(self.attempts)) != (wanted, wanted):
            return f"{self.kind}: {self.said}, but {self.effects} effects and {len(self.attempts)} rows"
        return None


def run(
    driver: str = "pymysql", *, rounds: int = 20, seed: int = 1, way: str = WAYS[0], place: Place | None = None
) -> Figures:
    """Strike so many COMMITs of each kind. Blocks for about a second each.

    A server that is given is not killed; without one a private MariaDB is.
    """
    with contextlib.ExitStack() as stack:
        where = place or stack.enter_context(Private())
        _make_tables(where, way)
        flight = stack.enter_context(_Flight(driver, where, random.Random(seed)))
        kinds = [(hold, strike) for hold in Hold for strike in Strike if _is_possible(where, hold, strike)]
        outcomes = [flight.run(hold, strike) for _ in range(rounds) for hold, strike in kinds]
    return judge(f"{driver}, in {way}", outcomes)


def _is_possible(place: Place, hold: Hold, strike: Strike) -> bool:
    if strike is Strike.CRASH:
        return isinstance(place, Private)
    return hold is Hold.LATE or strike is not Strike.NOTHING


def _make_tables(place: Place, way: str) -> None:
    table = f"CREATE TABLE {TABLE} (id INT, KEY (id)) ENGINE=InnoDB"
    places.ask(place, f"DROP TABLE IF EXISTS {TABLE}", table)
    make_ledger(place.connect_args(), way)


class _Flight:
    """Runs jobs on one held connection, each struck at its COMMIT."""

    def __init__(self, driver: str, place: Place, rng: random.Random) -> None:
        self._place = place
        self._rng = rng
        self._number = 0
        self._session = 0
        self._worked = threading.Event()
        arguments = place.connect_args()
        # Before the proxy, a private server is started again at the same port.
        self._proxy = FaultProxy(arguments["host"], arguments["port"])
        self._module = persistconn.manage(
            load(driver).module, connect_timeout=2.0, ping_timeout=1.0, give_up_after=GIVE_UP_AFTER
        )
        # Without TLS, through which no proxy sees a COMMIT.
        plain = {**TRANSPORT_ARGUMENTS[driver]["plain"], "autocommit": True, "read_timeout": READ_TIMEOUT}
        self._arguments = self._proxy.connect_args(arguments, **plain)
        self._job = persistconn.job(using=lambda: self._module.connect(**self._arguments), name=_JOB)(self._work)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="in-flight")

    def __enter__(self) -> _Flight:
        # Undisturbed: the ledger is proved then, and the table's engine known.
        assert self._begin().result(_LIMIT) == "done"
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._thread.submit(lambda: self._module.connect(**self._arguments).retire()).result(_LIMIT)
        self._thread.shutdown()
        self._proxy.close()

    def run(self, hold: Hold, strike: Strike) -> Outcome:
        """Run one job and look what came of it."""
        self._proxy.forget_trace()
        running = self._lock(strike) if hold is Hold.LOCKED else self._delay(strike)
        try:
            said = running.result(_LIMIT)
        except NotOver:
            said = "nothing: it hangs"
        # What is still held in a hole or a delay ends here, and with it the transaction, if there is one.
        self._proxy.heal()
        places.wait_for(lambda: len(places.sessions(self._place)) <= 1, _LIMIT)
        return Outcome(hold, strike, said, *self._count())

    # --- the job -----------------------------------------------------------------------------------------------------

    def _work(self, number: int) -> int:
        with persistconn.current().cursor() as cursor:
            cursor.execute(f"INSERT INTO {TABLE} VALUES (%s)", (number,))  # noqa: S608 - our own name
            cursor.execute("SELECT CONNECTION_ID()")
            self._session = int(cursor.fetchone()[0])
        self._worked.set()
        return number

    def _begin(self) -> Future[str]:
        self._number += 1
        self._worked.clear()
        return self._thread.submit(self._call, self._number)

    def _call(self, number: int) -> str:
        try:
            result = self._job.keyed(f"{number}")(number)
        except Exception as error:
            is_told = code_of(error) == _INTERRUPTED
            return "interrupted" if is_told else f"{type(error).__module__}.{type(error).__name__}: {error}"
        return "done" if result == number else f"the result {result!r}"

    # --- the COMMIT --------------------------------------------------------------------------------------------------

    def _lock(self, strike: Strike) -> Future[str]:
        """Let the COMMIT into a server that executes none, strike it there, and let the server go on."""
        admin = self._place.admin()
        with contextlib.suppress(pymysql.MySQLError), contextlib.closing(admin), admin.cursor() as cursor:
            with self._proxy.holding(to_server(_COMMIT)) as held:
                running = self._begin()
                held.wait(_LIMIT)
                cursor.execute("FLUSH TABLES WITH READ LOCK")
            waiting = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE ID = {self._session} AND COMMAND = 'Query'"  # noqa: S608
            assert places.wait_for(lambda: places.ask(self._place, waiting), _LIMIT), "the COMMIT never arrived"
            self._strike(strike)
            time.sleep(self._rng.uniform(*UNLOCKED))
            if strike is not Strike.CRASH:
                cursor.execute("UNLOCK TABLES")
        return running

    def _delay(self, strike: Strike) -> Future[str]:
        """Delay the COMMIT, and strike before it arrives or a little after."""
        late = self._rng.uniform(*LATE)
        armed = self._proxy.arm(Rule(Delay(late), to_server(_COMMIT)))
        running = self._begin()
        assert self._worked.wait(_LIMIT), "the job never came to its end"
        time.sleep(self._rng.uniform(0.0, late * 1.1))
        self._strike(strike)
        armed.disarm()
        return running

    def _strike(self, strike: Strike) -> None:
        strikes: dict[Strike, Callable[[], object]] = {
            Strike.NOTHING: lambda: None,
            Strike.KILL: lambda: self._kill("KILL"),
            Strike.KILL_QUERY: lambda: self._kill("KILL QUERY"),
            Strike.FIN: lambda: self._proxy.strike(Cut()),
            Strike.RST: lambda: self._proxy.strike(Reset()),
            Strike.HOLE: lambda: self._proxy.strike(Drop()),
            Strike.CRASH: self._crash,
        }
        strikes[strike]()

    def _kill(self, what: str) -> None:
        # It may have gone by itself: to a late COMMIT, its client has lost patience.
        with contextlib.suppress(pymysql.OperationalError):
            places.ask(self._place, f"{what} {self._session}")

    def _crash(self) -> None:
        assert isinstance(self._place, Private)
        self._place.server.kill()
        self._place.server.start()

    def _count(self) -> tuple[int, tuple[int, ...]]:
        ((effects,),) = places.ask(self._place, f"SELECT COUNT(*) FROM {TABLE} WHERE id = {self._number}")  # noqa: S608
        mine = f"job = '{_JOB}' AND job_key = '{self._number}' AND state = 'done'"
        rows = places.ask(self._place, f"SELECT attempts FROM {LEDGER} WHERE {mine}")  # noqa: S608 - our own names
        return int(effects), tuple(int(row[0]) for row in rows)


def judge(driver: str, outcomes: Iterable[Outcome]) -> Figures:
    """Count what came of the jobs. Pure."""
    ends: dict[str, Counter[str]] = {}
    flaws = []
    for outcome in outcomes:
        ends.setdefault(outcome.kind, Counter())[outcome.end] += 1
        flaws += [outcome.flaw] if outcome.flaw else []
    total = sum(ending.total() for ending in ends.values())
    return Figures(
        f"COMMIT in flight, {driver}",
        {kind: counted(ending) for kind, ending in ends.items()},
        f"{total:,} jobs whose COMMIT was in flight: each with exactly one effect, or told and none",
        tuple(flaws),
    )
