"""What the demo knows while it runs: the events of each side, added up. No I/O, one thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from workers.demo.chaos import Tally
from workers.demo.events import Connections, Event, Held, Run, Started


@dataclass
class SideState:
    """One side so far."""

    has_started: bool = False
    jobs_run: int = 0
    by_thread: Counter[str] = field(default_factory=Counter)
    surfaced: Counter[str] = field(default_factory=Counter)
    """Errors that reached a job, by kind."""
    latest: str = ""
    """The most recent error that surfaced, with its job."""
    held: tuple[Held, ...] = ()
    expired: int = 0
    """Sessions that the server has ended because of ``wait_timeout``."""

    def take(self, events: Iterable[Event]) -> None:
        """Add what has happened."""
        for event in events:
            if isinstance(event, Run):
                self._take_run(event)
            elif isinstance(event, Connections):
                self.held = event.held
            elif isinstance(event, Started):
                self.has_started = True

    def _take_run(self, run: Run) -> None:
        self.jobs_run += 1
        self.by_thread[run.thread] += 1
        if run.kind is None:
            return
        self.surfaced[run.kind] += 1
        self.latest = f"{run.kind} in {run.job}"


@dataclass(frozen=True)
class Scene:
    """Everything that is shown at one moment. ``calm`` is None until the faults are over; then seconds since that."""

    elapsed: float
    seconds: float
    threads: int
    ours: SideState
    stock: SideState
    tally: Tally
    calm: float | None = None
