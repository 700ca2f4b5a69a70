"""Tests under faults: `@pytest.mark.persistconn(faults="random", seed=3)`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_persistconn.asked import ALIASES, Asked, asked_by

if TYPE_CHECKING:
    from persistconn.testing.anyserver import AnyServer
    from persistconn.testing.chaos import Chaos

CHAOS: pytest.StashKey[Chaos] = pytest.StashKey()


@pytest.fixture(autouse=True)
def _persistconn_scenario(request: pytest.FixtureRequest) -> None:
    """Prepare the faults of a marked test; for all others it does nothing."""
    asked = asked_by(request.node)
    if asked is None or not asked.needs_a_server:
        return
    if not _has_its_server(request):
        raise pytest.UsageError(
            f"{request.node.nodeid}: the marker persistconn is for test functions; in a unittest.TestCase take the fixtures"
            " by hand, or write the test as a function"
        )
    server: AnyServer = request.getfixturevalue("mysql_under_test")
    if asked.faults:
        request.node.stash[CHAOS] = _prepare(request.config, server, asked)


def _has_its_server(request: pytest.FixtureRequest) -> bool:
    chosen: Any = getattr(request.node, "callspec", None)
    return chosen is not None and any(name in chosen.params for name in ALIASES)


def _prepare(config: pytest.Config, server: AnyServer, asked: Asked) -> Chaos:
    from persistconn.testing.chaos import EVERY, Chaos, shapes_of

    assert server.proxy is not None
    assert asked.faults is not None
    seed = config.getoption("--persistconn-seed")
    if seed is None:
        seed = asked.seed
    if seed is None:
        # Not the shared generator: pytest-randomly seeds that one.
        seed = random.SystemRandom().randrange(1_000_000)
    try:
        return Chaos(server.proxy, shapes_of(asked.faults), seed, asked.every or EVERY)
    except ValueError as error:
        raise pytest.UsageError(f"the marker persistconn: {error}") from error


# Outermost: the faults begin when all that is prepared for the test is ready.
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Let the faults loose while the test runs, and not while it is set up or cleaned away."""
    chaos = item.stash.get(CHAOS, None)
    if chaos is None:
        return (yield)
    chaos.begin()
    try:
        return (yield)
    finally:
        chaos.end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Print the seed, and what has struck, beside a failure."""
    report: Any = yield
    chaos = item.stash.get(CHAOS, None)
    if chaos is not None and report.when == "call" and report.failed:
        report.sections.append(("persistconn faults", _tell(chaos)))
    return report  # type: ignore[no-any-return]


def _tell(chaos: Chaos) -> str:
    struck = "\n".join(f"  {one}" for one in chaos.struck) or "  none"
    return f"the same faults again: --persistconn-seed={chaos.seed}\nwhat has struck:\n{struck}"
