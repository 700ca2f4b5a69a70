"""The judgement of all campaigns: what was said of the writes, against the rows."""

from __future__ import annotations

from typing import Any

import pytest

RULES: list[tuple[str, str, dict[int, int], dict[str, int]]] = [
    ("acknowledged and there", "DONE", {1: 1, 2: 1}, {"done": 1}),
    ("acknowledged and absent", "DONE", {}, {"lost": 1}),
    ("acknowledged and doubled", "DONE", {1: 2, 2: 1}, {"done": 1, "doubled": 1}),
    ("acknowledged and half there", "DONE", {1: 1}, {"torn": 1}),
    ("undone and absent", "UNDONE", {}, {"undone": 1}),
    ("undone and there", "UNDONE", {1: 1, 2: 1}, {"undead": 1}),
    ("unknown and there", "UNKNOWN", {1: 1, 2: 1}, {"unknown_there": 1}),
    ("unknown and absent", "UNKNOWN", {}, {"unknown_absent": 1}),
    ("unknown and half there", "UNKNOWN", {2: 1}, {"torn": 1}),
    ("unknown and doubled", "UNKNOWN", {1: 2, 2: 2}, {"unknown_there": 1, "doubled": 2}),
    ("a row that nobody wrote", "DONE", {1: 1, 2: 1, 9: 1}, {"done": 1, "unexplained": 1}),
]
CLEAN = {"done", "undone", "unknown_there", "unknown_absent"}


@pytest.mark.parametrize(("name", "said", "rows", "expected"), RULES, ids=[rule[0] for rule in RULES])
def test_rows_are_judged_by_what_was_said(name: str, said: str, rows: dict[int, int], expected: dict[str, int]) -> None:
    """A unit of two writes, 1 and 2: each pair of what was said and what is there has one verdict."""
    from campaigns.outcomes import Said, Unit, judge

    verdict: Any = judge([Unit(1, 2, Said[said])], rows)
    fields = CLEAN | {"lost", "undead", "torn", "doubled", "unexplained"}
    assert expected == {field: getattr(verdict, field) for field in fields if getattr(verdict, field)}
    assert verdict.is_clean == (set(expected) <= CLEAN)


def test_the_book_gives_back_what_was_noted() -> None:
    """Packed into eight bytes and back."""
    from campaigns.outcomes import Said, Unit
    from campaigns.soak_book import Book

    book = Book()
    units = [Unit(book.reserve(3), 3, Said.DONE), Unit(2**40, 1, Said.UNDONE), Unit(book.reserve(1), 1, Said.UNKNOWN)]
    for unit in units:
        book.note_unit(unit.first, unit.count, unit.said)
    assert units == list(book.units())
