"""The arithmetic of the benchmarks, and what becomes of it on the page."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest


def test_ratios_are_taken_within_a_round() -> None:
    """The machine is twice as fast in the second round, which says nothing about either."""
    from benchmarks.rows import ratios

    assert 0.5 == ratios({1: 50.0, 2: 100.0}, {1: 100.0, 2: 200.0, 3: 7.0}).median


def test_a_contest_without_a_common_round_has_no_ratio() -> None:
    """Not even a zero, which would be taken for a figure."""
    from benchmarks.rows import ratios

    with pytest.raises(ValueError, match="no round"):
        ratios({1: 1.0}, {2: 1.0})


@pytest.mark.parametrize(("measured", "held"), [(0.97, True), (0.969, False)])
def test_a_goal_is_held_from_its_figure_on(measured: float, held: bool) -> None:
    """It is judged by the median, and not rounded in our favour."""
    from benchmarks.rows import at_least, spread

    assert held is at_least("claim", spread([measured]), 0.97).held


def test_one_round_trip_in_a_hundred_tasks_too_many_is_told() -> None:
    """The count is exact: there is no tolerance."""
    from benchmarks.trips import Trips, verdicts

    counted = {"bare": Trips(Fraction(1), Fraction(0)), "managed": Trips(Fraction(101, 100), Fraction(0))}
    assert [False] == [verdict.held for verdict in verdicts(counted)]


def test_what_was_written_by_hand_stays(tmp_path: Path) -> None:
    """Only what stands between the marks is replaced, and a page without marks is left alone."""
    from benchmarks import page
    from benchmarks.rows import Row

    path = tmp_path / "page.md"
    path.write_text(f"before\n{page.BEGIN}\nold\n{page.END}\nafter\n")
    page.write(path, [Row("name", "New title", (("", "ms"), ("it", "1")))], [("date", "today")], [])
    text = path.read_text()
    assert text.startswith(f"before\n{page.BEGIN}\n")
    assert text.endswith(f"{page.END}\nafter\n")
    assert "old" not in text
    assert "| it | 1 |" in text
    path.write_text("by hand")
    with pytest.raises(ValueError, match="by hand"):
        page.write(path, [], [], [])


def test_goals_name_those_who_take_part() -> None:
    """A goal whose contestant is misspelt would never be missed."""
    from benchmarks.contestants import MAKERS
    from benchmarks.contests import AGAIN, CONNECTS, CONTESTS
    from benchmarks.trips import BEYOND

    makers = {entry.maker.removesuffix(AGAIN) for contest in (*CONTESTS, CONNECTS) for entry in contest.entries}
    named = {name for contest in CONTESTS for goal in contest.goals for name in (goal.entry, goal.against)}
    assert makers <= MAKERS.keys()
    assert named | {name for pair in BEYOND for name in pair} <= makers
