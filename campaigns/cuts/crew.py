"""Many cases at once: processes with a few threads each, every thread with a station of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context, util
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import persistconn
from campaigns.cuts.bench import Bench
from campaigns.cuts.cases import Case, Combination, plan
from campaigns.cuts.conversation import Script
from campaigns.cuts.servers import Access
from campaigns.cuts.station import OBSTINATE, MakeSubject, Recording, Result, Station
from campaigns.cuts.subject import Held

THREADS = 12
"""In each process. Most of a case in a black hole is waiting, and all of the others is work."""


LONGER = (1, 2, 4, 8)
"""How much longer the time limits get, each time that a machine that is too busy to answer in time may be all that is wrong."""


class OnServer(Protocol):
    """A combination, as far as a crew must know it."""

    @property
    def server(self) -> str:
        """The name of its server."""

    @property
    def place(self) -> str:
        """What kind of station its cases need, on that server."""


class OfCombination(Protocol):
    """A case, as far as a crew must know it."""

    @property
    def combination(self) -> OnServer:
        """What it is a case of."""


class Doubtful(Protocol):
    """What came of a case, a dataclass, as far as it matters for running it again."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def is_doubtful(self) -> bool:
        """Whether the machine was too busy to answer in time, and nothing else may be wrong."""


C = TypeVar("C", bound=OfCombination)
R = TypeVar("R", bound=Doubtful)


@dataclass(frozen=True)
class Craft(Generic[C, R]):
    """What a crew can do: how a thread makes a station of a kind, and runs a case there. Both can be sent to a process."""

    station: Callable[[Access, str], Bench]
    run: Callable[[Any, C, int], R]
    """The number is how much longer the client's time limits are to be; whole, as those of mysqlclient are."""


def _station(access: Access, _place: str) -> Station:
    return Station(access)


def _cut(station: Station, case: Case, longer: int) -> Result:
    make = making(case.combination, longer)
    return station.run(case, make, script_of(case.combination), longer=longer)


CUTTING: Craft[Case, Result] = Craft(_station, _cut)
"""The craft of this package: one conversation, broken somewhere."""


def making(combination: Combination, longer: int = 1) -> MakeSubject:
    """Return what makes the client of a combination, given its address; its time limits are so much longer."""

    def make(address: Mapping[str, Any]) -> Held:
        return Held(combination, address, longer)

    return make


def plan_all(combinations: Iterable[Combination], servers: Mapping[str, Access]) -> dict[Combination, list[Case]]:
    """Record the conversation of each combination and return its cases."""
    with contextlib.ExitStack() as stack:
        stations = {name: stack.enter_context(Station(access)) for name, access in servers.items()}
        return {
            combination: plan(combination, _record(stations[combination.server], combination).packets)
            for combination in combinations
        }


def _record(station: Station, combination: Combination) -> Recording:
    return station.record(combination.mode, making(combination), script_of(combination))


def script_of(combination: Combination) -> Script:
    """Return how the client of a combination talks."""
    # A session whose settings were changed is not lent again, and it is one that is lent again that we want to see.
    return dataclasses.replace(OBSTINATE, has_setting=combination.check != "lent")


class Crew(Generic[C, R]):
    """Runs cases. Its processes keep their stations until ``close()``."""

    def __init__(
        self,
        servers: Mapping[str, Access],
        craft: Craft[C, R],
        *,
        processes: int | None = None,
        threads: int = THREADS,
    ) -> None:
        self._count = processes or os.cpu_count() or 1
        # Not forked: a process with threads and held connections is no good parent.
        self._pool = ProcessPoolExecutor(
            self._count, get_context("spawn"), initializer=_prepare, initargs=(dict(servers), craft, threads)
        )

    def __enter__(self) -> Crew[C, R]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def run(self, cases: Sequence[C]) -> Iterator[R]:
        """Run the cases and yield what came of them, in no order."""
        # Dealt out like cards, so that each process gets its share of the black holes.
        hands = [list(cases[start :: self._count]) for start in range(self._count)]
        for results in self._pool.map(_run, hands):
            yield from results


def run_patiently(run: Callable[[int], R]) -> R:
    """Run a case; again with longer time limits if the machine was too busy to tell."""
    first, *others = LONGER
    result = run(first)
    for again, longer in enumerate(others, 1):
        if not result.is_doubtful:
            break
        result = dataclasses.replace(run(longer), again=again)
    return result


class _Worker:
    """One process of the crew: its threads, each with a station for each server."""

    def __init__(self, servers: Mapping[str, Access], craft: Craft[Any, Any], threads: int) -> None:
        self._servers = servers
        self._craft = craft
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="cuts")
        self._local = threading.local()
        self._stations: list[Bench] = []

    def run(self, cases: Iterable[Any]) -> list[Any]:
        """Run the cases and return what came of them."""
        return list(self._threads.map(self._run_one, cases))

    def _run_one(self, case: Any) -> Any:
        station = self._station(case.combination.server, case.combination.place)
        return run_patiently(lambda longer: self._craft.run(station, case, longer))

    def _station(self, server: str, place: str) -> Bench:
        mine: dict[str, Bench] = self._local.__dict__
        key = f"{server} {place}"
        if key not in mine:
            mine[key] = self._craft.station(self._servers[server], place)
            self._stations.append(mine[key])
        return mine[key]

    def close(self) -> None:
        """Leave nothing on the servers."""
        self._threads.shutdown()
        for station in self._stations:
            with contextlib.suppress(Exception):
                station.close()
        persistconn.shutdown()


_workers: list[_Worker] = []
"""The one of this process, in the processes of a crew."""


def _prepare(servers: Mapping[str, Access], craft: Craft[Any, Any], threads: int) -> None:
    trust_nobody()
    _workers.append(_Worker(servers, craft, threads))
    # atexit is not for the children of multiprocessing.
    util.Finalize(None, _workers[0].close, exitpriority=10)


def _run(cases: list[Any]) -> list[Any]:
    return _workers[0].run(cases)


def trust_nobody() -> None:
    """Leave out the certificates that the system trusts: loading them costs each connect of mysqlclient 30 ms and more."""
    os.environ.update(SSL_CERT_FILE=os.devnull, SSL_CERT_DIR=os.devnull)
