"""The heartbeat: a session by which the server itself knows that a process lives, and others can ask it.

A machine that vanishes (its power, its cable) says no goodbye: its sessions stay open, with their transactions and locks,
for hours. But a server does end a session that has been silent for its ``wait_timeout``. So a process that runs jobs for
others to take over keeps one session with a short one, which it pings, and which holds a named lock. Is the lock free,
the process is gone: by the server's own clock, with no row written and no two clocks compared.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from persistconn import log
from persistconn.drivers.faults import code_of
from persistconn.errors import LedgerError
from persistconn.once.codes import NO_SUCH_THREAD
from persistconn.once.line import execute
from persistconn.once.names import random_name

if TYPE_CHECKING:
    from persistconn.drivers.base import Raw
    from persistconn.opening import Opening

BEATS = 4
"""Pings in the time that the server is patient: one that is late, or lost, is not the end."""
_NO_TIME = 1e-9
_KILLED = 5
"""Seconds that the last session, which was ended a moment ago, may take to give the lock back."""

_lock = threading.Lock()
_hearts: dict[str, Heartbeat] = {}


def heart_at(address: str) -> str | None:
    """Return the name of this process's heart at a server; None if it has none there, or is not sure that it beats."""
    heart = _hearts.get(address)  # Each job asks: one look at a dictionary takes no lock.
    return heart.name if heart is not None and heart.is_beating else None


class Heartbeat:
    """Beats from :meth:`start` to :meth:`stop`, on a thread and a session of its own.

    ``patience`` is what the server has, in whole seconds.
    """

    def __init__(self, opening: Opening, patience: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = random_name()
        self._opening = opening
        self._patience = patience
        self._clock = clock
        self._raw: Raw = None
        self._until = -math.inf
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="persistconn-heartbeat", daemon=True)

    @property
    def is_beating(self) -> bool:
        """Whether the server is sure to know that this process lives. Any thread."""
        return self._clock() < self._until

    def start(self) -> None:
        """Begin; blocks and raises as a connect does, and LedgerError where there are no named locks."""
        self._beat(self._opening.policy.give_up_after)
        with _lock:
            _hearts[self._opening.address] = self
        self._thread.start()

    def stop(self, patience: float) -> None:
        """End it, as after the last job; waits for ``patience`` seconds at most. Idempotent."""
        self._stopping.set()
        with _lock:
            if _hearts.get(self._opening.address) is self:
                del _hearts[self._opening.address]
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        is_well = True
        while not self._stopping.wait(self._patience / BEATS):
            try:
                self._beat(_NO_TIME)
            except Exception as error:
                if is_well:
                    log.warning(
                        "no heartbeat at %s, trying again: another machine may take over what runs here: %s",
                        self._opening.address,
                        error,
                        extra={"action": "heartbeat"},
                    )
                is_well = False
            else:
                is_well = True
        if self._raw is not None:
            self._opening.driver.quit(self._raw)

    def _beat(self, give_up_after: float) -> None:
        # Before it is sent: the server's patience begins when it arrives.
        now = self._clock()
        if self._raw is not None:
            is_answered = False
            try:
                is_answered = self._is_answered(self._raw)
            finally:
                if not is_answered:
                    self._opening.driver.abandon(self._raw)
                    self._raw = None
        if self._raw is None:
            now = self._clock()
            self._raw = self._open(give_up_after)
        self._until = now + self._patience

    def _is_answered(self, raw: Raw) -> bool:
        ((_, is_alive),) = self._opening.driver.ping([raw], float(self._patience))
        return is_alive

    def _open(self, give_up_after: float) -> Raw:
        opening = self._opening
        driver, policy = opening.driver, dataclasses.replace(opening.policy, give_up_after=give_up_after)
        return opening.gate.connect(
            lambda: driver.connect(opening.args, opening.arguments(), policy.connect_timeout, self._prepared),
            lambda error: driver.classify(None, error),
            policy,
            opening.errors.DatabaseUnavailable,
        )

    def _prepared(self, raw: Raw) -> Raw:
        driver = self._opening.driver
        raw.autocommit(True)
        execute(driver, raw, f"SET SESSION wait_timeout = {self._patience}")
        ((last,),) = execute(driver, raw, f"SELECT IS_USED_LOCK('{self.name}')")[1]
        if last is not None:
            self._end_last(raw, last)
        if execute(driver, raw, f"SELECT GET_LOCK('{self.name}', {_KILLED})")[1] != [(1,)]:
            raise LedgerError("the server gave no named lock (GET_LOCK), by which it is known that this process lives")
        return raw

    def _end_last(self, raw: Raw, session: int) -> None:
        """End the session before this one, which was lost to us and has not been silent for long enough."""
        driver = self._opening.driver
        try:
            execute(driver, raw, f"KILL {session}")
        except driver.module.Error as error:
            if code_of(error) != NO_SUCH_THREAD:
                raise
