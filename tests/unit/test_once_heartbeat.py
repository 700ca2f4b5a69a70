"""A heart's own session: what becomes of it when a beat goes wrong. No server."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from persistconn.once.heartbeat import Heartbeat


def test_session_whose_ping_goes_wrong_is_given_up() -> None:
    """Its answer may still come, and the next beat must not take it for its own."""
    given_up: list[Any] = []

    def ping(raws: list[Any], timeout: float) -> Iterator[tuple[Any, bool]]:
        del timeout
        yield raws[0], False
        raise TypeError("a name that is gone")

    opening: Any = SimpleNamespace(driver=SimpleNamespace(ping=ping, abandon=given_up.append))
    heart = Heartbeat(opening, 30)
    heart._raw = session = object()
    with pytest.raises(TypeError, match="a name that is gone"):
        heart._beat(1.0)
    assert given_up == [session]
    assert heart._raw is None
    assert not heart.is_beating
