"""Arguments that are copied for each attempt, and results that the ledger can keep."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from persistconn.errors import NotReplayable
from persistconn.once.payload import RESULT_LIMIT, Arguments, decode, encode


def test_each_copy_is_as_it_was_when_the_job_was_called() -> None:
    """What one attempt does to it, the next does not see; nor does the caller."""
    given: list[int] = [1]
    arguments = Arguments("j", (given,), {"more": {"a": [2]}})
    given.append(9)
    (first,), kwargs = arguments.copy()
    first.append(3)
    kwargs["more"]["a"].append(4)
    assert arguments.copy() == (([1],), {"more": {"a": [2]}})


def test_what_is_passed_twice_stays_one() -> None:
    """As the function would have it without a copy."""
    same: list[int] = []
    (one, other), _ = Arguments("j", (same, same), {}).copy()
    assert one is other


def test_no_arguments_are_no_arguments() -> None:
    """And cost no pickling."""
    assert Arguments("j", (), {}).copy() == ((), {})


@pytest.mark.parametrize(
    ("args", "kwargs", "guilty"),
    [
        ((1, (n for n in [1])), {}, r"argument 2 of the job j \(generator\)"),
        ((), {"lock": threading.Lock()}, r"lock of the job j \(lock\)"),
        ((lambda: None,), {}, r"argument 1 of the job j \(function\)"),
        (([1, [threading.Lock()]],), {}, r"argument 1 of the job j \(list\)"),
    ],
)
def test_argument_that_cannot_be_copied_is_named(args: tuple[Any, ...], kwargs: dict[str, Any], guilty: str) -> None:
    """With what to give instead."""
    with pytest.raises(NotReplayable, match=rf"{guilty} cannot be copied for a replay.*plain values, such as ids"):
        Arguments("j", args, kwargs)


class Odd(Exception):
    """As many exceptions are: taken apart, it cannot be put together again."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(f"{one}/{other}")


def test_argument_that_cannot_be_put_together_again_is_told() -> None:
    """No bare TypeError out of pickle."""
    with pytest.raises(NotReplayable, match=r"arguments of the job j cannot be put together again.*plain values"):
        Arguments("j", (Odd(1, 2),), {}).copy()


@pytest.mark.parametrize(
    ("result", "kept"),
    [
        (None, None),
        (0, 0),
        ("", ""),
        ((1, 2), [1, 2]),
        ({1: "ü\u2028"}, {"1": "ü\u2028"}),
        ([None, True, 1.5], [None, True, 1.5]),
        ("\ud800", "\ud800"),
    ],
)
def test_result_comes_back_as_json_has_it(result: Any, kept: Any) -> None:
    """The same for the first caller and for all others."""
    assert decode(encode("j", result)) == kept


@pytest.mark.parametrize(
    ("result", "kind"),
    [(object(), "an object"), ({1, 2}, "a set"), (b"x", "a bytes"), (float("nan"), "a float"), ([object()], "a list")],
)
def test_result_that_is_no_json_is_refused_by_its_kind(result: Any, kind: str) -> None:
    """Its value may be a secret."""
    with pytest.raises(NotReplayable, match=f"the job j returned {kind}, which is no JSON.*or nothing"):
        encode("j", result)


def test_result_that_contains_itself_is_refused() -> None:
    """It has no end."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(NotReplayable, match="no JSON"):
        encode("j", endless)


def test_result_has_a_limit() -> None:
    """The ledger is no place for data."""
    encode("j", "x" * (RESULT_LIMIT - 2))
    with pytest.raises(NotReplayable, match=f"{RESULT_LIMIT + 1} bytes of JSON.*a table of yours"):
        encode("j", "x" * (RESULT_LIMIT - 1))
