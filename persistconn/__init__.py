"""persistconn: one MySQL connection per worker thread, for as long as the service lives."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

from persistconn.connection import PersistentConnection
from persistconn.errors import (
    ConfigError,
    ConnectionLost,
    DatabaseUnavailable,
    OutcomeUnknown,
    PersistconnError,
    SessionStateLost,
    TransactionLost,
)
from persistconn.executor import Executor
from persistconn.keepalive import KEEPALIVE, use_scheduler
from persistconn.keeper import KEEPER
from persistconn.module import ManagedModule, manage
from persistconn.policy import Policy
from persistconn.snapshot import ConnectionView

if TYPE_CHECKING:
    from persistconn.cron import cron as cron
    from persistconn.install import install as install

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "ConnectionLost",
    "ConnectionView",
    "DatabaseUnavailable",
    "Executor",
    "ManagedModule",
    "OutcomeUnknown",
    "PersistconnError",
    "PersistentConnection",
    "Policy",
    "SessionStateLost",
    "TransactionLost",
    "connections",
    "cron",
    "install",
    "manage",
    "shutdown",
    "use_scheduler",
]

# Loaded when first used: they bring cronsim and Django with them.
_LAZY = {"cron": "persistconn.cron", "install": "persistconn.install"}


def connections() -> list[ConnectionView]:
    """Return a snapshot of every held connection, for people and for metrics. Any thread; no I/O."""
    return KEEPER.snapshots()


def shutdown(timeout: float = 5.0) -> None:
    """Stop the keepalive and close every connection in order, so that the server logs no aborted one.

    Waits up to ``timeout`` seconds for statements under way, then cancels them. Idempotent; runs by itself when the
    interpreter ends.
    """
    KEEPALIVE.stop()
    KEEPER.shutdown(timeout)


atexit.register(shutdown)


def __getattr__(name: str) -> Any:
    # The function hides the submodule of its name, also after that was imported.
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'persistconn' has no attribute {name!r}")
