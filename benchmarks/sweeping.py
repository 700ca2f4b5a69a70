"""A sweep over a thousand idle connections: its time, its processor time, and what the threads that work notice of it."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.arena import say
from benchmarks.children import in_child
from benchmarks.delay import DelayProxy
from benchmarks.rows import Row, Verdict, at_most
from campaigns.drivers import MODULES
from persistconn.drivers import driver_for
from persistconn.keeper import Keeper
from persistconn.policy import Policy

COUNT, HOLES, WORKERS = 1000, 10, 8
SECONDS, CPU = 0.25, 0.1
REPEATS = 9
_QUIET = 61.0
"""Seconds by which the clock is put forward: longer than ``ping_every``, shorter than ``trust``."""
_PATIENCE = 60.0
_POLICY = Policy(connect_timeout=1.0)


def run(arguments: Mapping[str, Any], count: int = COUNT, repeats: int = REPEATS) -> Row:
    """Measure both drivers. Blocks."""
    lines, verdicts = [], []
    for name, module in MODULES.items():
        say(f"sweep: {count} connections of {name}")
        found = in_child(
            "benchmarks.sweeping:measure", module=module, arguments=dict(arguments), count=count, repeats=repeats
        )
        if found is not None:
            lines.append((name, *_cells(found)))
            verdicts += _verdicts(name, count, found)
    header = (
        "",
        "pinged",
        "time",
        "CPU",
        "longest task without",
        "time beside tasks, at most",
        "longest task beside it",
        "time with holes",
        "longest task beside that",
    )
    return Row(
        "sweep",
        f"A sweep over {count} idle connections that are all due for a ping; {WORKERS} threads take turns through theirs",
        (header, *lines),
        tuple(verdicts),
        (f"medians of {repeats} sweeps, with {HOLES} more connections in a black hole once",),
    )


def _cells(found: Mapping[str, float]) -> tuple[str, ...]:
    times = ("seconds", "cpu", "usual", "slowest", "longest", "holes", "longest_beside_holes")
    return (f"{found['pinged']:.0f}", *(f"{found[name] * 1000:,.1f} ms" for name in times))


def _verdicts(name: str, count: int, found: Mapping[str, float]) -> list[Verdict]:
    limit = _POLICY.ping_timeout
    return [
        at_most(f"sweep of {count} idle connections, {name}", found["seconds"], SECONDS, "s"),
        at_most(f"its processor time, {name}", found["cpu"], CPU, "ms", 1000),
        at_most(
            f"the longest a worker's read took beside it, {name}: one ping is given up after",
            found["longest"],
            limit,
            "s",
        ),
        at_most(
            f"the same sweep beside them with {HOLES} black holes, {name}: ping_timeout, and the longest without",
            found["holes"],
            limit + found["slowest"],
            "s",
        ),
        at_most(f"a worker's read beside the black holes, {name}", found["longest_beside_holes"], limit, "s"),
    ]


# --- in the child ------------------------------------------------------------------------------------------------------


class Clock:
    """The monotonic clock, which can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return time.monotonic() + self._ahead

    def forward(self, seconds: float) -> None:
        self._ahead += seconds


class Workers:
    """Threads that own the connections, and go through them one read after the other while something lasts."""

    def __init__(self, connect: Callable[[], Any], each: int) -> None:
        self._ready = threading.Barrier(WORKERS + 1, timeout=_PATIENCE)
        self._is_over = False
        self._longest = [0.0] * WORKERS
        for number in range(WORKERS):
            threading.Thread(target=self._serve, args=(number, connect, each), daemon=True).start()
        self._ready.wait()

    def beside(self, what: Callable[[], object]) -> float:
        """Have them work while ``what`` is done; return the seconds that the longest read took."""
        self._is_over = False
        self._longest[:] = [0.0] * WORKERS
        self._ready.wait()
        what()
        self._is_over = True
        self._ready.wait()
        return max(self._longest)

    def _serve(self, number: int, connect: Callable[[], Any], each: int) -> None:
        mine = [connect() for _ in range(each)]
        self._ready.wait()
        while True:
            self._ready.wait()
            self._longest[number] = self._work(mine)
            self._ready.wait()

    def _work(self, mine: list[Any]) -> float:
        longest = 0.0
        while True:
            for connection in mine:
                began = time.perf_counter()
                with connection.cursor() as cursor:
                    cursor.execute("SELECT 1")
                    cursor.fetchall()
                longest = max(longest, time.perf_counter() - began)
                if self._is_over:
                    return longest
                time.sleep(0.0005)


def measure(module: str, arguments: dict[str, Any], count: int, repeats: int) -> dict[str, float] | None:
    """Measure one driver; None if it is not installed."""
    try:
        driver = driver_for(importlib.import_module(module))
    except ImportError:
        return None
    if module != "pymysql":
        arguments = {name: value for name, value in arguments.items() if name != "ssl_disabled"}
    clock = Clock()
    keeper = Keeper(clock=clock.now)

    def connect(to: Mapping[str, Any] = arguments) -> Any:
        # A place each, so that one thread may have many connections for the same arguments.
        return keeper.connect(driver, _POLICY, (), to, object())

    workers = Workers(connect, count // WORKERS)
    found = _quiet(keeper, clock, repeats)
    found.update(_beside_work(keeper, clock, workers, repeats))
    with DelayProxy(arguments["host"], arguments["port"], 0.0) as proxy:
        for _ in range(HOLES):
            connect(proxy.arguments(arguments))
        with proxy.swallowing():
            found.update(_with_holes(keeper, clock, workers))
    return found


def _quiet(keeper: Keeper, clock: Clock, repeats: int) -> dict[str, float]:
    seconds, cpu, pinged = [], [], []
    for _ in range(repeats):
        clock.forward(_QUIET)
        before = _pings(keeper)
        began, used = time.perf_counter(), time.process_time()
        keeper.sweep()
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - used)
        pinged.append(_pings(keeper) - before)
    return {"seconds": _middle(seconds), "cpu": _middle(cpu), "pinged": float(min(pinged))}


def _beside_work(keeper: Keeper, clock: Clock, workers: Workers, repeats: int) -> dict[str, float]:
    usual, seconds, longest = [], [], []
    for _ in range(repeats):
        usual.append(workers.beside(lambda: time.sleep(SECONDS / 2)))
        took, waited = _sweep_beside(keeper, clock, workers)
        seconds.append(took)
        longest.append(waited)
    return {"usual": _middle(usual), "slowest": max(seconds), "longest": _middle(longest)}


def _with_holes(keeper: Keeper, clock: Clock, workers: Workers) -> dict[str, float]:
    took, waited = _sweep_beside(keeper, clock, workers)
    return {"holes": took, "longest_beside_holes": waited}


def _sweep_beside(keeper: Keeper, clock: Clock, workers: Workers) -> tuple[float, float]:
    """Return the seconds of a sweep beside work, and those of the longest read meanwhile."""
    clock.forward(_QUIET)
    seconds: list[float] = []

    def sweep() -> None:
        began = time.perf_counter()
        keeper.sweep()
        seconds.append(time.perf_counter() - began)

    longest = workers.beside(sweep)
    return seconds[0], longest


def _pings(keeper: Keeper) -> int:
    return sum(view.pings for view in keeper.snapshots())


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]
