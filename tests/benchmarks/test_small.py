"""A small form of the benchmarks: every part does its work. No time is asserted, for it is the machine's."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pymysql
import pytest

from persistconn import Policy

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_contestants_take_turns_on_both_roads(arguments: dict[str, Any]) -> None:
    """Each has a ratio on each road, and each goal among them a verdict."""
    from benchmarks import speed
    from benchmarks.arena import SMALL
    from benchmarks.contests import DELAY, DELAYED, LOOPBACK, READS
    from benchmarks.delay import DelayProxy

    contest = replace(READS, entries=tuple(READS.entry(maker) for maker in ("bare", "managed")))
    with DelayProxy(arguments["host"], arguments["port"], DELAY) as proxy:
        roads = {LOOPBACK: arguments, DELAYED: proxy.arguments(arguments)}
        row = speed.run(contest, roads, replace(SMALL, threads=2))
    assert [entry.name for entry in contest.entries] == [line[0] for line in row.table[1:]]
    assert [0.97, 0.99] == [float(verdict.goal.split()[-1]) for verdict in row.verdicts]


def test_a_delay_is_never_shorter_than_it_was_asked_for(arguments: dict[str, Any]) -> None:
    """There and back takes two of them."""
    from benchmarks.delay import DelayProxy

    with DelayProxy(arguments["host"], arguments["port"], 0.01) as proxy:
        connection = pymysql.connect(**proxy.arguments(arguments))
        began = time.perf_counter()
        connection.query("SELECT 1")
        assert time.perf_counter() - began >= 0.02
        connection.close()
        assert proxy.used().packets >= 4


def test_a_sweep_pings_every_idle_connection(arguments: dict[str, Any]) -> None:
    """Otherwise its time would be that of nothing. The black holes take ``ping_timeout``."""
    from benchmarks.children import in_child

    found = in_child("benchmarks.sweeping:measure", module="pymysql", arguments=arguments, count=16, repeats=1)
    assert 16 == found["pinged"]
    assert Policy().ping_timeout <= found["holes"]


def test_memory_is_that_of_each_connection(arguments: dict[str, Any]) -> None:
    """A raw one needs some, a held one needs more."""
    from benchmarks.children import in_child

    raw, held = (
        in_child("benchmarks.memory:of_each", contestant=maker, arguments=arguments, count=5)
        for maker in ("bare", "managed")
    )
    assert 0 < raw < held


def test_an_import_brings_nothing_heavy_with_it() -> None:
    """Nothing of Django, APScheduler or Celery is imported until it is used."""
    from benchmarks.children import in_child

    assert [] == in_child("benchmarks.importing:loaded")


def test_a_contestant_that_is_not_installed_is_left_out(
    arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on without it."""
    from benchmarks import runner

    monkeypatch.setattr(runner.Runner, "_hear", lambda self: {"missing": "No module named 'dbutils'"})
    with (
        pytest.raises(runner.ContestantMissing, match=r"PooledDB.*dbutils"),
        runner.Runner("PooledDB", arguments, threads=1),
    ):
        pass
