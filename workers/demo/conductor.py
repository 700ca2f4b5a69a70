"""The course of the demo: set the stage, start both sides, let the faults loose, calm down, stop, judge."""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from persistconn.testing import ServerError
from workers.demo.chaos import Chaos
from workers.demo.figures import Figures, Ledger, read_figures, read_ledger
from workers.demo.options import Options
from workers.demo.plan import plan
from workers.demo.processes import ServiceProcess
from workers.demo.screen import Screen, open_screen, show_verdict
from workers.demo.side import GRACE
from workers.demo.stage import ACCOUNTS, OURS, STOCK, WAIT_TIMEOUT, Account, Stage, StageError
from workers.demo.state import Scene, SideState
from workers.demo.verdict import Outcome, Trial, failures, lines

INTERRUPTED = 130
TICK = 0.2
"""Seconds between two looks at what has happened."""
START_TIMEOUT = 60.0
SHORTEST_CALM, LONGEST_CALM = 3.0, 60.0
"""Seconds without faults at the end: it lasts until all that is due is settled, should that need long."""
STOP_TIMEOUT = GRACE + 27.0
"""Seconds until a service has ended that was told to; four are usual, and a busy machine needs more."""
_MODULES = {OURS: "workers.demo.ours", STOCK: "workers.demo.stock"}


def conduct(options: Options) -> int:
    """Run the demo from its beginning to its end; returns the exit status. Leaves nothing behind, Ctrl-C included."""
    try:
        with _sigterm_as_interrupt():
            trial = _perform(options)
    except KeyboardInterrupt:
        print("interrupted; everything is stopped and removed", file=sys.stderr)
        return INTERRUPTED
    except (ServerError, StageError) as error:
        print(f"workers demo: {error}", file=sys.stderr)
        return 1
    has_passed = not failures(trial)
    show_verdict(lines(trial), has_passed=has_passed, is_plain=options.is_plain)
    return 0 if has_passed else 1


def _perform(options: Options) -> Trial:
    stage = Stage(options.project)
    print(f"a private MariaDB (wait_timeout={WAIT_TIMEOUT}), two databases, the same jobs on both", flush=True)
    with stage:
        stage.migrate()
        with open_screen(is_plain=options.is_plain) as screen, Performance(options, stage, screen) as performance:
            performance.wait_for_start()
            performance.run_faults()
            calm_since = stage.now()
            calm = performance.calm_down(calm_since)
            performance.stop()
            return performance.judge(calm_since, calm)


class Performance:
    """The part with both sides running, from enter to exit. One thread."""

    def __init__(self, options: Options, stage: Stage, screen: Screen) -> None:
        self._options = options
        self._stage = stage
        self._screen = screen
        self._states = {account: SideState() for account in ACCOUNTS}
        self._sides: dict[Account, ServiceProcess] = {}
        self._statuses: dict[Account, int] = {}
        self._began = time.monotonic()
        rng = random.Random(options.seed)
        self._chaos = Chaos(plan(options.seconds, rng), stage, [account.name for account in ACCOUNTS], rng=rng)

    def __enter__(self) -> Performance:
        try:
            for account in ACCOUNTS:
                self._sides[account] = self._launch(account)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._chaos.stop()
        self.stop()

    def wait_for_start(self) -> None:
        """Wait until both services are about to fire. Raises StageError if one does not get there."""
        deadline = time.monotonic() + START_TIMEOUT
        while not all(state.has_started for state in self._states.values()):
            if time.monotonic() > deadline:
                raise StageError(f"the services have not started within {START_TIMEOUT:.0f} s")
            time.sleep(TICK)
            self._look()

    def run_faults(self) -> None:
        """Let the faults loose for as long as was asked for. Raises StageError if a side or the faults themselves end."""
        self._began = time.monotonic()
        self._chaos.start()
        # Every crash in the plan is followed by a restart, which may come late on a machine under load.
        while self._elapsed() < self._options.seconds or self._chaos.is_under_way:
            self._tick(calm=None)

    def calm_down(self, calm_since: datetime) -> float:
        """Let both settle what is open; returns how long (seconds) that was given."""
        began = time.monotonic()
        while True:
            calm = time.monotonic() - began
            is_settled = calm >= SHORTEST_CALM and not self._figures(OURS, calm_since).due_open
            if is_settled or calm >= LONGEST_CALM:
                return calm
            self._tick(calm)

    def stop(self) -> None:
        """End both services in order. Idempotent."""
        for side in self._sides.values():
            side.ask_to_end()
        for account, side in self._sides.items():
            self._statuses[account] = side.wait(STOP_TIMEOUT)
            self._states[account].take(side.events())
        self._sides.clear()

    def judge(self, calm_since: datetime, calm: float) -> Trial:
        """Ask the server what came of it."""
        ours, stock = (self._outcome(account, calm_since) for account in ACCOUNTS)
        options = self._options
        return Trial(ours, stock, self._chaos.tally.crashes, options.seconds, calm, options.seed)

    # --- the parts -----------------------------------------------------------------------------------------------------

    def _launch(self, account: Account) -> ServiceProcess:
        return ServiceProcess(
            _MODULES[account],
            self._options.threads,
            project=self._options.project,
            environment=self._stage.environment(account),
            log=self._stage.log_of(account),
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def _tick(self, calm: float | None) -> None:
        time.sleep(TICK)
        self._look()
        ours, stock = self._states[OURS], self._states[STOCK]
        options = self._options
        self._screen.show(
            Scene(self._elapsed(), options.seconds, options.threads, ours, stock, self._chaos.tally, calm)
        )

    def _look(self) -> None:
        for account, side in self._sides.items():
            state = self._states[account]
            state.take(side.events())
            state.expired = self._stage.expired(account.name)
            if side.status is not None:
                raise StageError(f"{account.name} ended by itself, with status {side.status}: {side.last_words()}")
        if self._chaos.error is not None:
            raise StageError(f"a fault could not be injected: {self._chaos.error}")

    def _figures(self, account: Account, calm_since: datetime) -> Figures:
        with self._stage.asking() as cursor:
            return read_figures(cursor, account.name, calm_since)

    def _ledger(self) -> Ledger:
        with self._stage.asking() as cursor:
            return read_ledger(cursor, OURS.name)

    def _outcome(self, account: Account, calm_since: datetime) -> Outcome:
        state, tally, name = self._states[account], self._chaos.tally, account.name
        return Outcome(
            figures=self._figures(account, calm_since),
            jobs_run=state.jobs_run,
            surfaced=state.surfaced,
            ledger=self._ledger() if account is OURS else None,
            killed=tally.killed.get(name, 0),
            expired=self._stage.expired(name),
            opened=tally.opened.get(name, 0) + self._stage.opened(name),
            left_without_a_word=self._stage.left_without_a_word(name),
            status=self._statuses[account],
        )


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Have SIGTERM end the demo as Ctrl-C does; without effect off the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if previous is None else previous)
