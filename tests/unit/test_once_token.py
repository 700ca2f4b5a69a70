"""Tokens: equal for what must take effect once, different for all else; and the fingerprint of a call."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from persistconn.once.token import SIZE, fingerprint, fire_token, key_token, random_token

NOON = datetime(2026, 11, 1, 12, tzinfo=timezone.utc)
VIENNA = timezone(timedelta(hours=1))


def test_token_is_as_long_as_the_ledger_s_column() -> None:
    """A shorter one would be padded, a longer one cut off."""
    for token in (random_token("j", NOON), key_token("j", "k"), fire_token("s", "j", NOON)):
        assert len(token.digest) == SIZE
    assert len(fire_token("s", "j", NOON, wall="2026-11-01 01:30").digest) == SIZE


def test_random_tokens_are_nobody_else_s() -> None:
    """Not even at the same moment; those that are made together lie together."""
    one, other = random_token("j", NOON), random_token("j", NOON)
    assert one.digest != other.digest
    assert one.digest < random_token("j", NOON + timedelta(seconds=1)).digest


def test_key_is_the_same_everywhere_and_for_ever() -> None:
    """It has no time of issue, so it is never forgotten."""
    assert key_token("j", "k") == key_token("j", "k")
    assert key_token("j", "k").issued is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (key_token("j", "k"), key_token("j", "K")),
        (key_token("j", "k"), key_token("i", "k")),
        (key_token("ab", "c"), key_token("a", "bc")),
        (key_token("j", "k"), key_token("j", "k ")),
        (fire_token("s", "j", NOON), fire_token("s", "i", NOON)),
        (fire_token("s", "j", NOON), fire_token("t", "j", NOON)),
        (fire_token("s", "j", NOON), fire_token("s", "j", NOON + timedelta(seconds=1))),
        (fire_token("s", "j", NOON, wall="01:30"), fire_token("s", "j", NOON, wall="01:31")),
        (fire_token("s", "j", NOON), fire_token("s", "j", NOON, wall="01:30")),
    ],
)
def test_what_differs_has_another_token(one: Any, other: Any) -> None:
    """In its case, in its end, in where one part ends and the next begins."""
    assert one.digest != other.digest


def test_fire_is_the_same_on_every_machine() -> None:
    """Whatever zone the machine thinks in."""
    assert fire_token("s", "j", NOON).digest == fire_token("s", "j", NOON.astimezone(VIENNA)).digest


def test_wall_clock_time_that_comes_twice_is_one_fire() -> None:
    """On the day on which the clock is put back."""
    first, second = (fire_token("s", "j", NOON + timedelta(hours=h), wall="2026-11-01 01:30") for h in (0, 1))
    assert first.digest == second.digest
    assert first.scheduled != second.scheduled


@pytest.mark.parametrize(
    ("token", "text"),
    [
        (key_token("j", "k"), "j [k] (token "),
        (random_token("j", NOON), "j (token "),
        (fire_token("s", "j", NOON.astimezone(VIENNA)), "s/j scheduled 2026-11-01 12:00:00+00:00 (token "),
    ],
)
def test_token_is_told_with_what_it_stands_for(token: Any, text: str) -> None:
    """And in hexadecimal, as `workers cancel` takes it."""
    assert token.describe().startswith(text)
    assert token.describe().endswith(f"{token.digest.hex()})")


@dataclasses.dataclass
class Model:
    """As Django's: it has a primary key."""

    pk: int | None


class Anything:
    """Nothing that JSON knows."""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        ("1", 1),
        (None, False),
        ({"a": 1}, {"a": 2}),
        ({1: "a"}, {2: "a"}),
        ({"a", "b"}, {"a", "c"}),
        (Decimal("1.0"), Decimal("1.1")),
        (UUID(int=1), UUID(int=2)),
        (NOON, NOON + timedelta(microseconds=1)),
        (NOON.date(), NOON.date() + timedelta(days=1)),
        (b"a", b"b"),
        (Model(1), Model(2)),
        ([1, [2]], [[1], 2]),
    ],
)
def test_fingerprint_tells_arguments_apart(one: Any, other: Any) -> None:
    """By position and by name."""
    assert fingerprint("j", (one,), {}) != fingerprint("j", (other,), {})
    assert fingerprint("j", (), {"x": one}) != fingerprint("j", (), {"x": other})
    assert fingerprint("j", (one,), {}) != fingerprint("i", (one,), {})


def test_fingerprint_without_arguments_is_that_of_the_job() -> None:
    """However often it is asked for; and not that of an argument that is empty."""
    bare = fingerprint("j", (), {})
    assert fingerprint("j", (), {}) == bare == hashlib.sha256(b'["j", [], {"": []}]').digest()
    assert bare not in (fingerprint("i", (), {}), fingerprint("j", ((),), {}), fingerprint("j", (None,), {}))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1, 2: "b", None: 3, (4, 5): 6}, {(4, 5): 6, None: 3, 2: "b", "a": 1}),
        ([{"x": {3: 1, "y": 2}}], [{"x": {"y": 2, 3: 1}}]),
        ({"a", 1, None}, {None, 1, "a"}),
        (Anything(), Anything()),
        (Model(1), Model(1)),
    ],
)
def test_fingerprint_does_not_depend_on_order_or_memory(one: Any, other: Any) -> None:
    """Keys that do not compare are no hindrance; what JSON cannot show counts by its type."""
    assert fingerprint("j", (one,), {}) == fingerprint("j", (other,), {})


def test_fingerprint_is_the_same_in_another_process() -> None:
    """Python's own hashes are not."""
    program = (
        "from persistconn.once.token import fingerprint;"
        "print(fingerprint('j', ({'a', 'b', 'c', 'd'}, {'x': 1, 2: 'y'}), {'k': 1.5}).hex())"
    )
    runs = {
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(runs) == 1
