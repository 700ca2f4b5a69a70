"""A sample of the campaign ``soak``: a few seconds of it, with all kinds of work and a kill -9."""

from __future__ import annotations

import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).resolve().parents[2])
SECONDS = 4.0
LIMIT = 600.0
"""Seconds until it hangs; a dozen are usual."""
PROGRAM = f"""
import os, sys
sys.path.append({ROOT!r})
from campaigns import soak
driver, minutes, longer = sys.argv[1:]
figures = soak.run((driver,), minutes=float(minutes), seed=7, longer=float(longer))
print(*figures.lines(), sep="\\n", flush=True)
os._exit(1 if figures.broken else 0)  # A thread that hangs must not keep the process from ending.
"""


@pytest.mark.server
@pytest.mark.slow
def test_nothing_is_lost_doubled_wrong_or_raw(driver: str, tmp_path: Path, until_conclusive: Any) -> None:
    """What was acknowledged is there once, what was told as lost is absent, and no raw error reaches a task."""

    def experiment(longer: float) -> str | None:
        # In a process of its own: it counts threads and descriptors, and those of other tests come and go.
        command = [sys.executable, "-c", PROGRAM, driver, str(SECONDS / 60), str(longer)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return "; ".join(re.findall("INCONCLUSIVE: (.*)", done.stdout)) or None

    until_conclusive(experiment)


def test_the_server_is_killed_at_least_once_and_never_right_at_the_end() -> None:
    """A run without a crash proves little, and one in its last moment nothing."""
    from campaigns.soak_faults import CRASH_EVERY, plan_crashes

    for seconds in (6.0, 60.0, 1800.0):
        for seed in range(20):
            crashes = plan_crashes(seconds, random.Random(seed))
            assert crashes
            assert crashes == sorted(crashes)
            assert seconds - crashes[-1] > 0.25 * min(seconds, CRASH_EVERY)


def test_an_error_of_the_driver_that_tells_of_a_lost_connection_is_raw() -> None:
    """2013, PyMySQL's (0, '') and the servers' own goodbyes; an answer to a statement is none, nor is a typed error."""
    import pymysql

    from campaigns.drivers import load
    from campaigns.soak_work import is_raw_loss
    from persistconn.errors import TransactionLost, bind

    driver = load("pymysql")
    raw = [
        pymysql.OperationalError(2013, "lost"),
        pymysql.InterfaceError(0, ""),
        pymysql.OperationalError(4031, "idle"),
        pymysql.InternalError("Packet sequence number wrong"),
    ]
    typed = bind(pymysql.OperationalError).of(TransactionLost)(2013, "lost")
    others = [typed, pymysql.OperationalError(1317, "interrupted"), ValueError(2013)]
    assert [True] * len(raw) == [is_raw_loss(error, driver) for error in raw]
    assert [False] * len(others) == [is_raw_loss(error, driver) for error in others]
