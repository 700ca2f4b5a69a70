"""The service that runs cron jobs on threads which keep their connections: ``python -m workers``."""

from __future__ import annotations

from workers.runs import Fire, RunReport
from workers.service import Service, StopReport

__all__ = ["Fire", "RunReport", "Service", "StopReport"]
