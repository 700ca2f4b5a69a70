"""The two service processes, as their parent has them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue

from workers.demo.events import Event, decode


class ServiceProcess:
    """One side's process, from its start to its end. Its events are read on a thread; its log goes to a file."""

    def __init__(self, module: str, threads: int, *, project: Path, environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            # A session of its own: a Ctrl-C is for the demo, which then ends its processes in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(threads)],
                cwd=project,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                start_new_session=True,
            )
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._reader = threading.Thread(target=self._read, name=f"demo-{module}", daemon=True)
        self._reader.start()

    @property
    def status(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.poll()

    def events(self) -> list[Event]:
        """Return what has happened since the last call."""
        events = []
        while True:
            try:
                events.append(self._events.get_nowait())
            except Empty:
                return events

    def ask_to_end(self) -> None:
        """Send SIGTERM; one that has ended already is left in peace."""
        if self.status is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float) -> int:
        """Wait (seconds) for the end that was asked for, then enforce it; returns the exit status."""
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        return self._process.returncode

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it says nothing")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = decode(line)
            if event is not None:
                self._events.put(event)
