"""Fires and runs: what waits for a thread, what runs, and what came of it."""

from __future__ import annotations

import dataclasses
import threading
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from persistconn.cronjobs import CronJob
from persistconn.once.token import Token
from workers import complaints


@dataclass(frozen=True)
class Fire:
    """One due time of a job. ``started`` is None while it waits for a free thread.

    ``token`` is what the fire of a fenced job runs under; None for a plain one, and for a job that is run by hand.
    ``is_made_up`` says that the ledger had no row of it when it should have had one.
    """

    job: CronJob
    scheduled: datetime
    queued: datetime
    started: datetime | None = None
    token: Token | None = None
    is_made_up: bool = False

    @property
    def is_running(self) -> bool:
        """Whether a thread has taken it up."""
        return self.started is not None


class Elsewhere(Enum):
    """Why a fire did not run here: what became of it on another machine, or on another thread of this one."""

    DONE = "done by another machine"
    UNDER_WAY = "under way on another machine"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunReport:
    """One run that has ended. ``duration`` is in seconds; ``error`` is None if the job returned.

    ``elsewhere`` is None if the job ran here.
    """

    job: CronJob
    scheduled: datetime
    started: datetime
    duration: float
    error: BaseException | None
    elsewhere: Elsewhere | None = None
    is_made_up: bool = False

    @property
    def kind(self) -> str:
        """``ok``, ``failed``, or what became of it elsewhere: a word for machines."""
        if self.elsewhere is not None:
            return self.elsewhere.name.lower()
        return "ok" if self.error is None else "failed"

    @property
    def outcome(self) -> str:
        """``ok``, ``failed:`` with the error in one line, or what became of it elsewhere."""
        return complaints.outcome(self.error) if self.elsewhere is None else self.elsewhere.value


class BoardClosed(Exception):
    """A fire came after the service had begun to stop."""


class Board:
    """What is under way: at most one fire of each job. Thread-safe; its lock guards ``_fires`` and ``_is_open``."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._fires: dict[str, Fire] = {}
        self._is_open = True

    def admit(self, fire: Fire) -> Fire | None:
        """Take a fire in; returns the earlier one of the same job if that has not ended yet, which then goes first.

        Raises :class:`BoardClosed` after :meth:`close`.
        """
        with self._changed:
            if not self._is_open:
                raise BoardClosed
            earlier = self._fires.get(fire.job.name)
            if earlier is None:
                self._fires[fire.job.name] = fire
            return earlier

    def begin(self, fire: Fire, now: datetime) -> Fire | None:
        """Mark a fire as running and return it so; None if it has been dropped while it waited."""
        with self._changed:
            if self._fires.get(fire.job.name) is not fire:
                return None
            running = dataclasses.replace(fire, started=now)
            self._fires[fire.job.name] = running
            return running

    def end(self, fire: Fire) -> None:
        """Forget a fire whose run has ended, or that could not be queued."""
        with self._changed:
            if self._fires.get(fire.job.name) is fire:
                del self._fires[fire.job.name]
            self._changed.notify_all()

    def close(self) -> list[Fire]:
        """Admit no more; returns the fires that were dropped because no thread had taken them up."""
        with self._changed:
            self._is_open = False
            dropped = [fire for fire in self._fires.values() if not fire.is_running]
            for fire in dropped:
                del self._fires[fire.job.name]
            self._changed.notify_all()
            return dropped

    def under_way(self) -> list[Fire]:
        """Return a snapshot of what waits and what runs."""
        with self._changed:
            return list(self._fires.values())

    def wait_until_idle(self, timeout: float | None) -> list[Fire]:
        """Block until nothing is under way, for ``timeout`` seconds at most; returns what still is."""
        with self._changed:
            self._changed.wait_for(lambda: not self._fires, timeout)
            return list(self._fires.values())
