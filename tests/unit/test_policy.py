"""The settings, and the decision about one held connection: pure, so no test here sleeps."""

from __future__ import annotations

from typing import Any

import pytest

from persistconn.errors import ConfigError
from persistconn.policy import Condition, Policy, Reason, Verdict, decide

HOUR = 3600.0


def at(now: float, policy: Policy | None = None, **condition: Any) -> tuple[Verdict, Reason | None]:
    """Decide at `now` for a connection that was opened, used and proved alive at 0, unless `condition` says otherwise."""
    return decide(Condition(**condition), policy or Policy(), now)


def test_fresh_connection_is_kept() -> None:
    """What proved alive within `ping_every` is left alone."""
    assert (Verdict.KEEP, None) == at(59.9)


def test_idle_connection_is_pinged_when_ping_every_has_passed() -> None:
    """The ping is due at `ping_every` after the last proof of life, not before."""
    assert (Verdict.PING, None) == at(60.0)


def test_a_proof_of_life_puts_the_ping_off() -> None:
    """A statement is as good as a ping."""
    assert (Verdict.KEEP, None) == at(100.0, proved_at=50.0, used_at=50.0)


def test_idle_connection_is_recycled_at_keepalive() -> None:
    """Idle age counts from the last use; pings do not make it younger."""
    assert (Verdict.PING, None) == at(7 * HOUR - 1)
    assert (Verdict.RECYCLE, Reason.IDLE) == at(7 * HOUR, proved_at=7 * HOUR - 1)


def test_keepalive_is_capped_at_four_fifths_of_wait_timeout() -> None:
    """The session's own `wait_timeout` counts, however long the setting is."""
    assert (Verdict.RECYCLE, Reason.IDLE) == at(80.0, wait_timeout=100.0, proved_at=79.0)
    assert (Verdict.KEEP, None) == at(79.0, wait_timeout=100.0, proved_at=78.0)


def test_ping_every_is_capped_at_a_third_of_wait_timeout() -> None:
    """Two pings may fail to get through before the session expires."""
    assert (Verdict.PING, None) == at(10.0, wait_timeout=30.0)
    assert (Verdict.KEEP, None) == at(9.9, wait_timeout=30.0)


def test_expired_lifetime_recycles_and_jitter_only_shortens_it() -> None:
    """`max_lifetime` is a limit: no connection lives longer, some retire up to 10 % earlier."""
    policy = Policy(keepalive=600.0, max_lifetime=1000.0)
    young = {"used_at": 850.0, "proved_at": 850.0}
    assert (Verdict.KEEP, None) == at(899.0, policy, **young, lifetime_jitter=0.1)
    assert (Verdict.RECYCLE, Reason.LIFETIME) == at(900.0, policy, **young, lifetime_jitter=0.1)
    assert (Verdict.RECYCLE, Reason.LIFETIME) == at(1000.0, policy, used_at=999.0, proved_at=999.0)


@pytest.mark.parametrize("now", [60.0, 8 * HOUR])
def test_busy_connection_is_never_touched(now: float) -> None:
    """In use, in a transaction or with unread rows: neither pinged nor recycled, however long it takes."""
    assert (Verdict.KEEP, None) == at(now, busy=True)


def test_dead_owner_s_connection_is_reaped_in_any_state() -> None:
    """Nobody will ever use it again, so its transaction ends too."""
    assert (Verdict.REAP, Reason.OWNER_DIED) == at(0.0, owner_alive=False, busy=True)


def test_hung_up_connection_is_replaced_at_once() -> None:
    """The server has closed it: no ping is needed to know."""
    assert (Verdict.REPLACE, Reason.HUNG_UP) == at(0.0, hung_up=True)


def test_vacant_connection_is_opened_again() -> None:
    """So that the next task finds a ready one."""
    assert (Verdict.REPLACE, None) == at(0.0, vacant=True)


def test_pinned_session_is_pinged_but_never_recycled() -> None:
    """Recycling would lose its locks; letting it expire would too."""
    assert (Verdict.PING, None) == at(8 * HOUR, pinned=True)
    assert (Verdict.KEEP, None) == at(8 * HOUR, pinned=True, hung_up=True)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"keepalive": -1}, "keepalive (-1 s) must be greater than 0"),
        ({"keepalive": 0}, "keepalive (0 s) must be greater than 0"),
        ({"keepalive": "7h"}, "keepalive must be a number of seconds, not '7h'"),
        ({"trust": True}, "trust must be a number of seconds, not True"),
        ({"ping_timeout": float("inf")}, "ping_timeout must be a number of seconds, not inf"),
        ({"max_connecting": 0}, "max_connecting (0) must be at least 1"),
        ({"max_connecting": 2.5}, "max_connecting must be a whole number, not 2.5"),
        ({"replay_reads": "no"}, "replay_reads must be True or False, not 'no'"),
        ({"fast_reads": 1}, "fast_reads must be True or False, not 1"),
        ({"ping_every": 120, "keepalive": 60}, "ping_every (120 s) must not be longer than keepalive (60 s)"),
        ({"ping_timeout": 90, "ping_every": 60}, "ping_timeout (90 s) must not be longer than ping_every (60 s)"),
        ({"keepalive": 600, "max_lifetime": 300}, "keepalive (600 s) must not be longer than max_lifetime (300 s)"),
        ({"keep_alive": 5}, "unknown setting 'keep_alive': the settings are keepalive, ping_every"),
    ],
)
def test_impossible_setting_is_refused_by_name(settings: dict[str, Any], words: str) -> None:
    """The message names the setting, its value and the limit, and the error is also a ValueError."""
    with pytest.raises(ConfigError) as refused:
        Policy.from_settings(settings)
    assert words in str(refused.value)
    assert isinstance(refused.value, ValueError)


def test_a_short_keepalive_alone_takes_the_defaults_below_it_along() -> None:
    """`keepalive=30` works as it stands although the default of `ping_every` is 60."""
    policy = Policy.from_settings({"keepalive": 1})
    assert (1.0, 1.0, 1.0) == (policy.keepalive, policy.ping_every, policy.ping_timeout)
    assert Policy.from_settings({"max_lifetime": 300}).keepalive == 300


def test_settings_must_be_a_mapping() -> None:
    """A list in OPTIONS["persistconn"] is a mistake to be named."""
    with pytest.raises(ConfigError, match="must be a mapping"):
        Policy.from_settings(["keepalive"])  # type: ignore[arg-type]
