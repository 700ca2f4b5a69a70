"""What the process uses, by the word of the operating system (Linux)."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

_MEGABYTE = 2**20
_WATCHDOG = "persistconn-watchdog"


@dataclass(frozen=True)
class Resources:
    """At one moment: resident memory in MB, open file descriptors, threads."""

    memory: float
    descriptors: int
    threads: int

    def __str__(self) -> str:
        return f"{self.memory:.1f} MB, {self.descriptors} descriptors, {self.threads} threads"

    def fits_into(self, other: Resources) -> bool:
        """Say whether nothing is open or running beyond what there was at the other moment."""
        return self.descriptors <= other.descriptors and self.threads <= other.threads


def open_files() -> list[str]:
    """Return what this process has open: paths, and sockets and pipes by their numbers."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # The one that lists them is gone by now.
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return sorted(found)


def measure() -> Resources:
    """Look at this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return Resources(
        memory=pages * os.sysconf("SC_PAGE_SIZE") / _MEGABYTE,
        descriptors=len(open_files()),
        # Without the watchdog, of which a process keeps one for good.
        threads=len(os.listdir("/proc/self/task")) - sum(thread.name == _WATCHDOG for thread in threading.enumerate()),
    )
