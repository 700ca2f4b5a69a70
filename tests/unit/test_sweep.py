"""One maintenance pass: whom it keeps waiting, and for how long. No server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from persistconn import log
from persistconn.policy import Condition, Policy
from persistconn.sweep import Renewals, Sweep


class Driver:
    """Pings as it is told."""

    name = "a driver"

    def __init__(self, ping: Callable[..., Iterator[tuple[object, bool]]]) -> None:
        self.ping = ping


class Sitting:
    """A held connection that is due for a ping."""

    def __init__(self, driver: Any) -> None:
        self.driver, self.raw, self.policy = driver, object(), Policy()
        self.proved_at = 0.0
        self.is_reserved = False
        self.answered: bool | None = None

    def condition(self) -> Condition:
        """Tell that it has been idle for long."""
        return Condition(used_at=0.0, proved_at=self.proved_at)

    def reserve(self) -> bool:
        """Take it for the sweep."""
        self.is_reserved = True
        return True

    def unreserve(self, alive: bool) -> None:
        """Give it back."""
        self.is_reserved, self.answered = False, alive


@pytest.fixture(autouse=True)
def _nothing_told_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test hears of what it does itself."""
    monkeypatch.setattr(log, "_told", set())


def sweep(everything: list[Any]) -> None:
    """Make a pass a while after they were used."""
    Sweep(everything, Renewals()).run(lambda: 100.0)


def test_a_connection_is_reserved_only_while_its_ping_is_under_way() -> None:
    """Its owner waits for one ping, and not for all before it."""
    most: list[int] = []

    def ping(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        for raw in raws:
            most.append(sum(sitting.is_reserved for sitting in everything))
            yield raw, True

    driver = Driver(ping)
    everything = [Sitting(driver) for _ in range(20)]
    sweep(everything)
    assert most == [1] * 20
    assert [sitting.answered for sitting in everything] == [True] * 20


def test_a_connection_that_its_owner_has_used_meanwhile_is_not_pinged() -> None:
    """Its statement has proved it alive, and to ping a thousand takes a while beside busy threads."""
    pinged: list[object] = []

    def ping(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        for raw in raws:
            pinged.append(raw)
            everything[1].proved_at = 100.5
            yield raw, True

    driver = Driver(ping)
    everything = [Sitting(driver) for _ in range(3)]
    sweep(everything)
    assert pinged == [everything[0].raw, everything[2].raw]
    assert [sitting.answered for sitting in everything] == [True, None, True]


def test_what_was_reserved_is_given_back_whatever_goes_wrong() -> None:
    """Or its owner would wait for ever."""

    def ping(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        yield next(iter(raws)), True
        raise OSError("no more descriptors")

    driver = Driver(ping)
    everything = [Sitting(driver) for _ in range(2)]
    sweep(everything)
    assert not any(sitting.is_reserved for sitting in everything)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged with a traceback."""
    return [record.getMessage() for record in caplog.records if record.exc_info]


def test_a_driver_that_cannot_ping_does_not_keep_another_from_it(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, with its traceback, and not in each pass."""

    def fail(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        yield next(iter(raws)), True
        raise TypeError("a name that is gone")

    def ping(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        yield from ((raw, True) for raw in raws)

    broken, others = [[Sitting(Driver(how)) for _ in range(2)] for how in (fail, ping)]
    for _ in range(3):
        sweep([*broken, *others])
    assert [sitting.answered for sitting in others] == [True, True]
    assert len(told(caplog)) == 1
    assert "a name that is gone" in told(caplog)[0]


def test_a_connection_that_cannot_be_looked_at_does_not_keep_others_from_their_pings(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The sweep goes on to the next one."""

    class Broken(Sitting):
        """One whose driver has lost a name."""

        address = "db:3306"

        def condition(self) -> Condition:
            raise AttributeError("server_status")

    def ping(raws: Iterable[object], timeout: float) -> Iterator[tuple[object, bool]]:
        del timeout
        yield from ((raw, True) for raw in raws)

    driver = Driver(ping)
    everything = [Sitting(driver), Broken(driver), Sitting(driver)]
    for _ in range(3):
        sweep(everything)
    assert [sitting.answered for sitting in everything] == [True, None, True]
    assert len(told(caplog)) == 1
    assert "server_status" in told(caplog)[0]
