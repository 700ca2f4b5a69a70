"""The faults, done to a server at their times."""

from __future__ import annotations

import dataclasses
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from workers.demo.plan import Fault, Kind


class Victim(Protocol):
    """The server, as the faults see it."""

    def sessions(self, side: str) -> list[int]:
        """Return the ids of a side's sessions."""

    def kill_session(self, session_id: int) -> None:
        """End one as an administrator does."""

    def opened(self, side: str) -> int:
        """Return how many sessions a side has opened since the server was started."""

    def crash(self) -> None:
        """Kill the server."""

    def restart(self) -> None:
        """Start it again; blocks until it listens."""


@dataclass(frozen=True)
class Tally:
    """What has been done so far. ``opened`` counts each side's sessions up to the latest crash, which resets the server's."""

    killed: dict[str, int] = dataclasses.field(default_factory=dict)
    opened: dict[str, int] = dataclasses.field(default_factory=dict)
    crashes: int = 0
    is_down: bool = False
    news: str = ""


class Chaos:
    """Does what a plan says, on a thread of its own between :meth:`start` and :meth:`stop`.

    ``tally`` is replaced as a whole, by that thread alone, and may be read by any. Should a fault fail, the thread ends
    and ``error`` says why.
    """

    def __init__(
        self,
        faults: Iterable[Fault],
        victim: Victim,
        sides: Iterable[str],
        *,
        rng: random.Random,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """``pause`` waits so many seconds and says whether to stop; None waits in earnest."""
        self.tally = Tally()
        self.error: Exception | None = None
        self._faults = tuple(faults)
        self._victim = victim
        self._sides = tuple(sides)
        self._rng = rng
        self._clock = clock
        self._stopping = threading.Event()
        self._pause = pause or self._stopping.wait
        self._thread = threading.Thread(target=self._run_guarded, name="demo-chaos", daemon=True)

    def start(self) -> None:
        """Begin; the plan's times count from now."""
        self._thread.start()

    @property
    def is_under_way(self) -> bool:
        """Whether something of the plan is still to come, or being done."""
        return self._thread.is_alive()

    def stop(self, timeout: float = 30.0) -> None:
        """Leave out what is still planned and wait for what is under way. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def run(self) -> None:
        """Do everything in the plan, on this thread."""
        began = self._clock()
        for fault in self._faults:
            if self._pause(max(0.0, began + fault.at - self._clock())):
                return
            self._inflict(fault)

    def _run_guarded(self) -> None:
        try:
            self.run()
        except Exception as error:  # Told by the thread that watches over the demo.
            self.error = error

    def _inflict(self, fault: Fault) -> None:
        {Kind.KILL: self._kill, Kind.CRASH: self._crash, Kind.RESTART: self._restart}[fault.kind]()

    def _kill(self) -> None:
        killed = dict(self.tally.killed)
        for side in self._sides:
            sessions = self._victim.sessions(side)
            if sessions:
                self._victim.kill_session(self._rng.choice(sessions))
                killed[side] = killed.get(side, 0) + 1
        self._note(killed=killed, news="an administrator killed a session of each")

    def _crash(self) -> None:
        opened = {side: self.tally.opened.get(side, 0) + self._victim.opened(side) for side in self._sides}
        self._note(opened=opened, crashes=self.tally.crashes + 1, is_down=True, news="the server was killed with -9")
        self._victim.crash()

    def _restart(self) -> None:
        self._victim.restart()
        self._note(is_down=False, news="the server has been started again")

    def _note(self, **changes: object) -> None:
        self.tally = dataclasses.replace(self.tally, **changes)  # type: ignore[arg-type]  # names are checked by replace
