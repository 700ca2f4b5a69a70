"""persistconn: one MySQL connection per worker thread, for as long as the service lives."""

from __future__ import annotations

import atexit
import importlib
from typing import TYPE_CHECKING, Any

from persistconn.connection import PersistentConnection
from persistconn.errors import (
    ConfigError,
    ConnectionLost,
    DatabaseUnavailable,
    JobCancelled,
    JobError,
    JobFailed,
    LedgerError,
    NotReplayable,
    OutcomeUnknown,
    PersistconnError,
    PoisonJob,
    PoolTimeout,
    SessionStateLost,
    TokenExpired,
    TornJob,
    TransactionLost,
)
from persistconn.executor import Executor
from persistconn.keepalive import KEEPALIVE, use_scheduler
from persistconn.keeper import KEEPER
from persistconn.module import ManagedModule, manage
from persistconn.policy import Policy, Pool
from persistconn.snapshot import ConnectionView
from persistconn.units import unit_of_work

if TYPE_CHECKING:
    from persistconn.cronjobs import cron
    from persistconn.installing import install
    from persistconn.once.job import job
    from persistconn.once.sites import current

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "ConnectionLost",
    "ConnectionView",
    "DatabaseUnavailable",
    "Executor",
    "JobCancelled",
    "JobError",
    "JobFailed",
    "LedgerError",
    "ManagedModule",
    "NotReplayable",
    "OutcomeUnknown",
    "PersistconnError",
    "PersistentConnection",
    "PoisonJob",
    "Policy",
    "Pool",
    "PoolTimeout",
    "SessionStateLost",
    "TokenExpired",
    "TornJob",
    "TransactionLost",
    "connections",
    "cron",
    "current",
    "install",
    "job",
    "ledger",
    "manage",
    "shutdown",
    "unit_of_work",
    "use_scheduler",
]

# Loaded when they are first used: they bring cronsim, Django or the ledger with them.
_LAZY = {
    "cron": "persistconn.cronjobs",
    "current": "persistconn.once.sites",
    "install": "persistconn.installing",
    "job": "persistconn.once.job",
}


def __getattr__(name: str) -> Any:
    if name == "ledger":
        return importlib.import_module("persistconn.ledger")
    if name not in _LAZY:
        raise AttributeError(f"module 'persistconn' has no attribute {name!r}")
    globals()[name] = getattr(importlib.import_module(_LAZY[name]), name)
    return globals()[name]


def connections() -> list[ConnectionView]:
    """Return a snapshot of every held connection, for people and for metrics. Any thread; no I/O."""
    return KEEPER.snapshots()


def shutdown(timeout: float = 5.0, *, final: bool = False) -> None:
    """Stop the keepalive and close every connection in order, so that the server logs no aborted one.

    Waits up to ``timeout`` seconds for statements under way, then cancels them; no further statement begins. Idempotent;
    runs by itself when the interpreter ends. A later ``connect()`` starts anew, unless this was ``final``.
    """
    KEEPALIVE.stop()
    KEEPER.shutdown(timeout, final=final)


atexit.register(shutdown)
