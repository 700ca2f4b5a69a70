"""Answers at random, whole and broken, read at one go and by PyMySQL itself: the same bytes must lead to the same end.

Each run tries the same ones. ``PERSISTCONN_EXAMPLES=20000`` tries that many others instead, new ones each time.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pymysql
from hypothesis import HealthCheck, given, note, settings
from hypothesis.configuration import set_hypothesis_home_dir
from pymysql.connections import MySQLResult

sys.path.insert(0, str(Path(__file__).resolve().parent))  # where the two stand that draw and build answers

from drawn_answers import Given, anything, plain
from packets import facts

from persistconn.drivers.answers import Answers

set_hypothesis_home_dir(os.devnull)  # Else it leaves a directory in the tree, with what it has found in our sources.
EXAMPLES = os.environ.get("PERSISTCONN_EXAMPLES")
AT_RANDOM = settings(
    max_examples=int(EXAMPLES or 200),
    derandomize=EXAMPLES is None,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MOST_CUTS = 1000
SHOWN = 500
"""Bytes of a failing example."""


def outcome(read: Callable[..., Any], *arguments: Any) -> tuple[Any, Exception | None]:
    """Return what a call returned, or what it raised."""
    try:
        return read(*arguments), None
    except Exception as error:
        return None, error


def read_by_the_driver(raw: Any) -> Any:
    """Have the driver read one result."""
    result = MySQLResult(raw)
    result.read()
    return result


def place(raw: Any) -> tuple[int | None, int]:
    """Return where a connection is in what it reads: None if the driver has closed it."""
    return raw._rfile and raw._rfile.tell(), raw._next_seq_id


def told(result: Any, error: Exception | None) -> str:
    """Put an outcome into words that show each difference, that of two types or of two NaN too."""
    return repr(facts(result)) if error is None else repr((type(error), error.args))


def show(trouble: str, data: bytes) -> None:
    """Show what was read last, where it fails."""
    note(f"{trouble}: {data[:SHOWN]!r}" + (f"... of {len(data)} bytes" if len(data) > SHOWN else ""))


def read_on(answers: Answers, ours: Any, theirs: Any) -> tuple[str, bool]:
    """Read one result in both ways and compare; return how ours was read, and whether there may be another."""
    before = place(ours)
    result, error = outcome(answers.take, ours, ours._rfile.peek())
    how = "raised" if error else "taken" if result else "left"
    if how != "taken":
        assert place(ours) == before
    if how == "left":
        result, error = outcome(read_by_the_driver, ours)
    assert told(result, error) == told(*outcome(read_by_the_driver, theirs))
    if how != "raised":  # Then the connection is given up, wherever it is.
        assert place(ours) == place(theirs)
    return how, error is None


@AT_RANDOM
@given(plain())
def test_a_plain_answer_is_taken_as_soon_as_it_is_whole(case: Given) -> None:
    """Not before: the rest is on its way, and the driver waits for it. Not later: nobody would notice that it is slow."""
    (data,), answers = case.data.values(), Answers(pymysql)
    show("whole", data)
    raw, length = case.connect(case.likes[0], data), len(data)
    before = place(raw)
    for end in {*range(min(length, MOST_CUTS)), *range(max(0, length - MOST_CUTS), length)}:
        assert answers.take(raw, data[:end]) is None, end
    assert place(raw) == before
    for like in case.likes:  # The second time its columns may be known.
        assert read_on(answers, case.connect(like, data), case.connect(like, data)) == ("taken", True)


def test_whatever_is_taken_is_what_the_driver_reads() -> None:
    """What is left is left untouched, so the driver reads it as if nobody had looked."""
    seen: Counter[str] = Counter()

    @AT_RANDOM
    @given(anything())
    def read_in_both_ways(case: Given) -> None:
        answers = Answers(pymysql)
        for (trouble, data), like in itertools.product(case.data.items(), case.likes):
            show(trouble, data)
            ours, theirs, goes_on = case.connect(like, data), case.connect(like, data), True
            while goes_on:
                how, goes_on = read_on(answers, ours, theirs)
                seen[how] += 1

    read_in_both_ways()
    assert min(seen.values()) * 40 > sum(seen.values()), seen
    assert len(seen) == len({"taken", "left", "raised"})
