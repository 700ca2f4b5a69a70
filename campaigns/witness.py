"""Tells when a server accepts again, from another process: nothing that the clients do delays it.

``python campaigns/witness.py HOST PORT`` reads a line, knocks until the server sends its greeting, and writes the moment
(of the machine's monotonic clock, which all processes share).
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from types import TracebackType

_EVERY = 0.002
_PATIENCE = 1.0


class Witness:
    """The process, as a campaign sees it. Use it in a ``with`` block, on one thread."""

    def __init__(self, host: str, port: int) -> None:
        command = [sys.executable, __file__, host, str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def __enter__(self) -> Witness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def watch(self) -> None:
        """Have it knock from now on."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def accepted_at(self) -> float:
        """Return the moment at which the server accepted; blocks until it has."""
        return float(json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _knock(address: tuple[str, int]) -> float:
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, _PATIENCE) as sock:
            if sock.recv(1):
                return time.monotonic()
        time.sleep(_EVERY)


def _serve(address: tuple[str, int]) -> None:
    _say(None)
    while sys.stdin.readline():
        _say(_knock(address))


def _say(what: float | None) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _serve((sys.argv[1], int(sys.argv[2])))
