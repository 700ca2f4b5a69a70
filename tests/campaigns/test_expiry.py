"""A sample of the campaign ``expiry``: fifty pauses beyond a ``wait_timeout`` of one second, in each mode."""

from __future__ import annotations

from typing import Any

import pytest

SAMPLE = 50


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("mode", ["LOOK", "SWEEP", "EDGE"])
def test_no_expired_session_surfaces(driver: str, mode: str, until_conclusive: Any) -> None:
    """Without the sweep the look at the socket does alone; with it nothing expires; at the edge a write is told at most."""
    from campaigns import expiry

    def experiment(longer: float) -> str | None:
        figures = expiry.run(driver, 1, expiry.Mode[mode], count=SAMPLE, seed=7, longer=longer)
        assert not figures.broken, "\n".join(figures.lines())
        return figures.doubt

    until_conclusive(experiment)
