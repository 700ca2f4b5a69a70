"""A TCP forwarder that delays every packet by the same time, in a process of its own.

``python benchmarks/delay.py HOST PORT SECONDS``. It reads nothing of what it forwards. The delay is the same for all, so
what came first is due first, and one queue without a timer each is enough. ``select`` on the one descriptor of an ``epoll``
waits for fractions of a millisecond, which ``epoll`` itself rounds up; the kernel is told not to be late for the sake of
power (its timer slack, 50 us by default).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

_CHUNK = 65536
_BACKLOG = 1024
_PR_SET_TIMERSLACK = 29
_PATIENCE = 10.0


@dataclass(frozen=True)
class Used:
    """So far: processor time in seconds, packets forwarded, seconds since the start."""

    cpu: float
    packets: int
    seconds: float


class _Forwarding:
    def __init__(self, target: tuple[str, int], delay: float) -> None:
        self._target, self._delay = target, delay
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        self._epoll = select.epoll()
        self._epoll.register(self._listener, select.EPOLLIN)
        self._epoll.register(sys.stdin, select.EPOLLIN)
        self._other: dict[int, tuple[socket.socket, socket.socket]] = {}
        """By descriptor: the socket itself, and the one on the other side."""
        self._due: deque[tuple[float, socket.socket, bytes]] = deque()
        self._packets = 0
        self._began = time.perf_counter()

    def run(self) -> None:
        while True:
            wait = max(self._due[0][0] - time.perf_counter(), 0.0) if self._due else None
            select.select([self._epoll], [], [], wait)
            for descriptor, _ in self._epoll.poll(0):
                if descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor == sys.stdin.fileno():
                    if not sys.stdin.readline():
                        return
                    _say(asdict(Used(time.process_time(), self._packets, time.perf_counter() - self._began)))
                elif descriptor in self._other:
                    self._read(descriptor)
            self._send()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(self._target, _PATIENCE)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        for mine, other in ((client, server), (server, client)):
            mine.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._other[mine.fileno()] = mine, other
            self._epoll.register(mine, select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        mine, other = self._other[descriptor]
        try:
            data = mine.recv(_CHUNK)
        except OSError:
            data = b""
        if not data:
            self._epoll.unregister(descriptor)
        self._due.append((time.perf_counter() + self._delay, other, data))

    def _send(self) -> None:
        now = time.perf_counter()
        while self._due and self._due[0][0] <= now:
            _, sink, data = self._due.popleft()
            if data:
                self._packets += 1
                with contextlib.suppress(OSError):
                    sink.sendall(data)
            else:
                self._close(sink)

    def _close(self, sink: socket.socket) -> None:
        """Close both sides: MySQL's protocol knows no half-closed connection."""
        if sink.fileno() not in self._other:
            return
        _, source = self._other[sink.fileno()]
        for mine in (sink, source):
            del self._other[mine.fileno()]
            with contextlib.suppress(OSError):
                self._epoll.unregister(mine)
            mine.close()


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class DelayProxy:
    """The process: ``port`` to connect to, ``used()``. Use it in a ``with`` block, on one thread."""

    def __init__(self, host: str, port: int, delay: float) -> None:
        command = [sys.executable, __file__, host, str(port), str(delay)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port: int = json.loads(self._hear())

    def __enter__(self) -> DelayProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return arguments of ``connect()`` that lead through here."""
        return {**arguments, "host": "127.0.0.1", "port": self.port}

    def used(self) -> Used:
        """Ask what it has used so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Used(**json.loads(self._hear()))

    @contextlib.contextmanager
    def swallowing(self) -> Iterator[None]:
        """Be a black hole: what is sent is acknowledged by the kernel, and goes nowhere."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def _main() -> None:
    host, port, delay = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
    forwarding = _Forwarding((host, int(port)), float(delay))
    _say(forwarding.port)
    forwarding.run()
    os._exit(0)


if __name__ == "__main__":
    _main()
