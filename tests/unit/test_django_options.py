"""``OPTIONS["persistconn"]``: what is refused, in which words."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from persistconn import ConfigError
from persistconn.backends.mysql.options import managed_driver


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"persistconn": {"keepalife": 1}}, "unknown setting 'keepalife'"),
        ({"persistconn": {"keepalive": -1}}, "keepalive (-1 s) must be greater than 0"),
        ({"persistconn": {"ping_every": 600, "keepalive": 300}}, "ping_every (600 s)"),
        ({"persistconn": {"replay_reads": "yes"}}, "replay_reads must be True or False, not 'yes'"),
        ({"persistconn": 3600}, "must be a dict of settings, not 3600"),
        ({"pool": {"max_size": 0}}, "pool.max_size (0) must be at least 1"),
        ({"pool": True}, "pool must be a mapping of its settings"),
    ],
)
def test_settings_that_cannot_work_name_the_alias_and_the_setting(options: dict[str, Any], named: str) -> None:
    """It is ImproperlyConfigured, Django's own word for settings that cannot work."""
    with pytest.raises(ImproperlyConfigured) as refused:
        managed_driver("reports", options)
    assert "DATABASES['reports']" in str(refused.value)
    assert named in str(refused.value)


def test_the_reason_is_the_cause() -> None:
    """Who wants to know more than the text finds our own error behind Django's."""
    with pytest.raises(ImproperlyConfigured) as refused:
        managed_driver("default", {"persistconn": {"keepalive": 0}})
    assert isinstance(refused.value.__cause__, ConfigError)


def test_the_same_settings_give_the_same_driver() -> None:
    """Two aliases with equal settings share one managed module, and so one policy."""
    settings = {"persistconn": {"keepalive": 3600}, "charset": "utf8mb4"}
    assert managed_driver("default", settings) is managed_driver("other", {"persistconn": {"keepalive": 3600.0}})
    assert managed_driver("default", settings).policy.keepalive == 3600


def test_without_settings_the_defaults_hold() -> None:
    """``ENGINE`` alone is enough."""
    assert managed_driver("default", {}).policy.keepalive == 7 * 3600


def test_reading_is_left_to_pymysql_where_the_settings_say_so() -> None:
    """The driver is another one then: it makes connections that do not read at one go."""
    usual, plain = (managed_driver("default", {"persistconn": {"fast_reads": on}}).driver for on in (True, False))
    assert (hasattr(usual._raw_class, "answers"), hasattr(plain._raw_class, "answers")) == (True, False)  # type: ignore[attr-defined]
