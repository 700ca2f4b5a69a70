"""Clears away behind us, however our own process ends: SIGKILL runs no `atexit`, and no `finally`."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Waits for the end of its input, which is the end of our process, and then ends the server, also one that a test holds
#: (SIGSTOP). The pid cannot have been given to another process: until that moment we had not reaped it. A program that
#: makes a data directory outlives us for a moment, and may put a file where one was just removed: hence the repetition.
_WATCH = """
read -r _
if [ -n "$1" ]; then
    kill -TERM "$1" 2>/dev/null
    kill -CONT "$1" 2>/dev/null
    left=600
    while kill -0 "$1" 2>/dev/null && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
    [ "$left" -gt 0 ] || kill -KILL "$1" 2>/dev/null
fi
if [ -n "$2" ]; then
    left=100
    while ! rm -rf "$2" 2>/dev/null && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
    [ -n "$1" ] || { sleep 1; rm -rf "$2"; }
fi
"""


class Watcher:
    """A process that runs `command` with an open input, and does its work when that ends, unless it is dismissed."""

    def __init__(self, command: Sequence[str]) -> None:
        # A session of its own: Ctrl-C is for the program under test.
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
        )

    @classmethod
    def of(cls, *, pid: int | None = None, directory: Path | None = None) -> Watcher:
        """Watch over a server's process, or a directory, or both."""
        return cls(["/bin/sh", "-c", _WATCH, "watch", str(pid or ""), str(directory or "")])

    def dismiss(self) -> None:
        """End it with its work undone; a second call does nothing."""
        self._process.kill()
        self._process.communicate()

    def finish(self) -> None:
        """Have it do its work now, and wait for that."""
        self._process.communicate()
