"""For how long a job's session may wait for a lock: a table of what the connect arguments say."""

from __future__ import annotations

import pytest

from persistconn.errors import ConfigError
from persistconn.once.lockwaits import longest_wait


@pytest.mark.parametrize(
    ("read_timeout", "expected"), [(None, None), (0, None), (1.1, 1), (2, 1), (2.01, 1), (2.5, 2), (3, 2), (30, 29)]
)
def test_a_wait_ends_well_before_the_client_loses_patience(read_timeout: float | None, expected: int | None) -> None:
    """In whole seconds, as the server counts them, and with half a second for the answer where there is one."""
    assert longest_wait(read_timeout) == expected


@pytest.mark.parametrize("read_timeout", [0.2, 1, 1.0])
def test_a_patience_that_no_wait_can_lie_below_is_refused(read_timeout: float) -> None:
    """With the setting, the value, and what the server does."""
    with pytest.raises(ConfigError, match=rf"read_timeout \({read_timeout:g} s\) must be longer than 1 s"):
        longest_wait(read_timeout)
