"""The contests: tasks in a second on either road, as ratios within a round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.arena import Played, Scale, play, rate_against, speed_against
from benchmarks.contests import LOOPBACK, ROADS, Contest
from benchmarks.rows import Row, Spread, Table, Verdict, at_least, ratios, spread


def run(contest: Contest, roads: Mapping[str, Mapping[str, Any]], scale: Scale) -> Row:
    """Hold a contest on all roads. Blocks."""
    played = {road: play(contest, arguments, scale, ROADS[road]) for road, arguments in roads.items()}
    return Row(
        contest.name,
        contest.title,
        table(contest, played),
        tuple(_verdicts(contest, played)),
        tuple(_notes(contest, played)),
        _series(contest, played),
    )


def _verdicts(contest: Contest, played: Mapping[str, Played]) -> Iterator[Verdict]:
    for goal in contest.goals:
        on_road = played.get(goal.road, {})
        if goal.entry in on_road and goal.against in on_road:
            measure, threads = (speed_against, "one thread") if goal.alone else (rate_against, "all threads")
            claim = f"{goal.claim}, {ROADS[goal.road]}, {threads}"
            yield at_least(claim, measure(on_road, goal.entry, goal.against), goal.ratio)


def table(contest: Contest, played: Mapping[str, Played]) -> Table:
    """Make the table of a contest: what everybody reached, as a ratio to the base."""
    together, alone = (f"tasks/s, {ROADS[road]}" for road in played), (f"one thread, {ROADS[road]}" for road in played)
    header = ["", *together, *alone, "CPU of a task", "CPU, one thread", "of it added"]
    lines = [header]
    for entry in contest.entries:
        if entry.maker in played[LOOPBACK]:
            ways = [
                str(against(on_road, entry.maker, contest.base))
                for against in (rate_against, speed_against)
                for on_road in played.values()
            ]
            lines.append([entry.name, *ways, *_processor_cells(played[LOOPBACK], entry.maker, contest.base)])
    return lines


def _processor_cells(played: Played, maker: str, base: str) -> list[str]:
    return [
        str(_cpu_against(played, maker, base)),
        str(_cpu_against(played, maker, base, alone=True)),
        f"{_added_cpu(played, maker, base) * 1e6:+.1f} us",
    ]


def _cpu_against(played: Played, maker: str, base: str, *, alone: bool = False) -> Spread:
    ours, others = (played[name].of(lambda burst: burst.cpu_of_a_task, alone=alone) for name in (maker, base))
    return ratios(ours, others)


def _added_cpu(played: Played, maker: str, base: str) -> float:
    """Return the processor time (s) that a task takes beyond the base's, on one thread."""
    ours, others = (played[name].of(lambda burst: burst.cpu_of_a_task, alone=True) for name in (maker, base))
    return spread(value - others[turn] for turn, value in ours.items() if turn in others).median


def _notes(contest: Contest, played: Mapping[str, Played]) -> Iterator[str]:
    for road, on_road in played.items():
        turns = on_road[contest.base]
        rate = spread(turns.of(lambda burst: burst.rate).values())
        alone = spread(turns.of(lambda burst: burst.median * 1e6, alone=True).values())
        cpu = spread(turns.of(lambda burst: burst.cpu_of_a_task * 1e6, alone=True).values())
        name, rates = contest.entry(contest.base).name, f"{rate.median:,.0f} tasks/s [{rate.low:,.0f}-{rate.high:,.0f}]"
        yield (
            f"{ROADS[road]}: {name} does {rates} in {rate.count} rounds; "
            f"alone, a task takes {alone.median:,.0f} us, {cpu.median:,.0f} us of them on the processor"
        )


def _series(contest: Contest, played: Mapping[str, Played]) -> dict[str, dict[str, float]]:
    series: dict[str, dict[str, float]] = {}
    for road, on_road in played.items():
        rates, delays = series.setdefault(f"rate {road}", {}), series.setdefault(f"added {road}", {})
        for entry in contest.entries:
            if entry.maker in on_road:
                rates[entry.name] = rate_against(on_road, entry.maker, contest.base).median
                delays[entry.name] = _added_latency(on_road, entry.maker, contest.base)
    return series


def _added_latency(played: Played, maker: str, base: str) -> float:
    """Return what a task takes longer than the base's, on one thread, in microseconds."""
    ours, others = (played[name].of(lambda burst: burst.median, alone=True) for name in (maker, base))
    return spread((value - others[turn]) * 1e6 for turn, value in ours.items() if turn in others).median
