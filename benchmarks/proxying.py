"""Whether the delay is the network's and not the proxy's: how much of a core it takes, and how much it can carry."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.arena import Scale, gather, say
from benchmarks.contests import DELAY, READS
from benchmarks.crew import Burst
from benchmarks.delay import DelayProxy
from benchmarks.rows import Row, Verdict, spread

BUSY = 0.5
"""The share of a core from which on the proxy would be suspected."""
_MANY = 64
_FASTEST = "bare mysqlclient"


def run(arguments: Mapping[str, Any], scale: Scale) -> Row:
    """Measure with the bare drivers. Blocks."""
    lines: list[tuple[str, ...]] = []
    shares: dict[tuple[float, int], float] = {}
    for delay in (0.0, DELAY):
        with DelayProxy(arguments["host"], arguments["port"], delay) as proxy, contextlib.ExitStack() as stack:
            runners = gather(stack, ("bare", _FASTEST), proxy.arguments(arguments), _MANY)
            for maker, runner in runners.items():
                for threads in (1, scale.threads, _MANY):
                    say(f"proxy: {maker}, {threads} threads, {delay * 1000:g} ms")
                    runner.burst(scale.many, threads)
                    bursts, share = zip(*_bursts(proxy, runner, threads, scale), strict=True)
                    shares[delay, threads] = max(shares.get((delay, threads), 0.0), spread(share).median)
                    lines.append(_line(READS.entry(maker).name, delay, threads, bursts, spread(share).median))
    return _row(lines, shares[DELAY, scale.threads], scale.threads)


def _row(lines: list[tuple[str, ...]], share: float, threads: int) -> Row:
    header = ("", "delay, one way", "threads", "tasks/s", "time of a task", "proxy")
    return Row(
        "proxy",
        "The delay proxy",
        (header, *lines),
        (
            Verdict(
                f"the delay proxy's share of a core with {threads} threads",
                f"<= {BUSY:g}",
                f"{share:.2f}",
                share <= BUSY,
            ),
        ),
        ("without delay it carries several times what the threads of the contests ask of it",),
    )


def _bursts(proxy: DelayProxy, runner: Any, threads: int, scale: Scale) -> Iterator[tuple[Burst, float]]:
    for _ in range(max(scale.sittings, 1)):
        before = proxy.used()
        burst = runner.burst(scale.many, threads)
        after = proxy.used()
        yield burst, (after.cpu - before.cpu) / burst.seconds


def _line(name: str, delay: float, threads: int, bursts: tuple[Burst, ...], share: float) -> tuple[str, ...]:
    rate = spread(burst.rate for burst in bursts).median
    middle = spread(burst.median for burst in bursts).median
    return (
        name,
        f"{delay * 1000:g} ms",
        f"{threads}",
        f"{rate:,.0f}",
        f"{middle * 1000:.2f} ms",
        f"{share:.2f} of a core",
    )
