"""What becomes of a task when the threads grow in number, beside the bare driver's own curve."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from benchmarks.arena import Played, Scale, Turns, gather, rate_against, say
from benchmarks.contests import READS
from benchmarks.rows import Row, Verdict, spread

MOST = 256
OURS, BARE = "managed unit", "bare"
FLAT = 0.95
"""What the ratio at the most threads must not fall below, as a share of that at one thread."""


def run(arguments: Mapping[str, Any], scale: Scale, most: int = MOST) -> Row:
    """Measure with 1, 2, 4, ... threads, in turns. Blocks."""
    sizes = [2**power for power in range(most.bit_length())]
    played = {size: _play(size, arguments, scale) for size in sizes}
    against = {size: rate_against(one, OURS, BARE) for size, one in played.items()}
    cells = {size: {maker: _time_of_a_task(one[maker]) for maker in (OURS, BARE)} for size, one in played.items()}
    lines = [
        (f"{size}", f"{cells[size][BARE]:.0f} us", f"{cells[size][OURS]:.0f} us", str(against[size])) for size in sizes
    ]
    share = against[sizes[-1]].median / against[1].median
    return Row(
        "growth",
        "Time for each task (the inverse of tasks in a second) with more and more threads, on loopback",
        (("threads", READS.entry(BARE).name, READS.entry(OURS).name, "tasks/s against bare"), *lines),
        (
            Verdict(
                f"growth: ratio to bare with {sizes[-1]} threads, as a share of that with 1",
                f">= {FLAT:g}",
                f"{share:.3f}",
                share >= FLAT,
            ),
        ),
        series={READS.entry(maker).name: {str(size): cells[size][maker] for size in sizes} for maker in (BARE, OURS)},
    )


def _play(size: int, arguments: Mapping[str, Any], scale: Scale) -> Played:
    played: Played = {BARE: Turns(), OURS: Turns()}
    with contextlib.ExitStack() as stack:
        runners = gather(stack, (BARE, OURS), arguments, size)
        for runner in runners.values():
            runner.burst(scale.one, size)
        say(f"growth: {size} threads")
        for turn in range(scale.rounds):
            # The second of two is at no advantage if it is not always the same.
            for maker, runner in sorted(runners.items(), reverse=bool(turn % 2)):
                played[maker].many[turn] = runner.burst(scale.many, size)
    return played


def _time_of_a_task(turns: Turns) -> float:
    return spread(turns.of(lambda burst: 1e6 / burst.rate).values()).median
