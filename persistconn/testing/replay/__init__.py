"""Is a job safe to replay? It is run with its connection lost at each statement, and what differs is told."""

from __future__ import annotations

from persistconn.testing.replay.check import ReplayReport, assert_replay_safe

__all__ = ["ReplayReport", "assert_replay_safe"]
