"""A TCP forwarder in front of a server that counts the connects under way, outside of the program that connects.

Runs as a process of its own (only the standard library, so by its path): a storm must not slow down who counts it. A
connect is under way from its accept until the server's answer to the login, or its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from types import TracebackType

_HEADER = 4
_OK, _ERR = 0x00, 0xFF
_CHUNK = 65536
_BACKLOG = 1024


@dataclass
class Counts:
    """What has come so far. ``peak`` is the most connects that were under way at once."""

    accepted: int = 0
    open: int = 0
    under_way: int = 0
    peak: int = 0
    refused: int = 0
    """The server was not there."""


class LoginWatch:
    """Reads the server's packets until its answer to the login. Without TLS."""

    def __init__(self) -> None:
        self._data = b""
        self._has_greeted = False
        self.is_over = False

    def feed(self, data: bytes) -> None:
        """Take what the server has said."""
        if self.is_over:
            return
        self._data += data
        while len(self._data) > _HEADER:
            size = _HEADER + int.from_bytes(self._data[:3], "little")
            if len(self._data) < size:
                return
            first, self._data = self._data[_HEADER], self._data[size:]
            # The first packet is the greeting (or a refusal), an answer that is neither asks for more of the client.
            self.is_over = first == _ERR or (self._has_greeted and first == _OK)
            self._has_greeted = True


class _Forwarding:
    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self.counts = Counts()

    async def accept(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        counts, watch = self.counts, LoginWatch()
        counts.accepted += 1
        counts.open += 1
        counts.under_way += 1
        counts.peak = max(counts.peak, counts.under_way)
        try:
            await self._forward(client, back, watch)
        except OSError:
            counts.refused += 1
        finally:
            counts.under_way -= not watch.is_over
            back.transport.abort()
            with contextlib.suppress(OSError):
                await back.wait_closed()
            # Last: whoever reads 0 may rely on it that every client's socket has been closed.
            counts.open -= 1

    async def _forward(self, client: asyncio.StreamReader, back: asyncio.StreamWriter, watch: LoginWatch) -> None:
        server, forth = await asyncio.open_connection(*self._target)
        ways = [asyncio.create_task(_pump(client, forth)), asyncio.create_task(self._answer(server, back, watch))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            forth.transport.abort()

    async def _answer(self, server: asyncio.StreamReader, back: asyncio.StreamWriter, watch: LoginWatch) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await server.read(_CHUNK):
                was_over = watch.is_over
                watch.feed(data)
                # Before it is forwarded: the client must not be able to begin the next connect before this one has ended.
                self.counts.under_way -= watch.is_over and not was_over
                back.write(data)
                await back.drain()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


async def _serve(host: str, port: int) -> None:
    forwarding = _Forwarding((host, port))
    server = await asyncio.start_server(forwarding.accept, "127.0.0.1", 0, backlog=_BACKLOG)
    _say(server.sockets[0].getsockname()[1])
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        _say(asdict(forwarding.counts))
        forwarding.counts.peak = forwarding.counts.under_way


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class CountingForwarder:
    """The process, as a campaign sees it: ``port`` to connect to, ``counts()``. Use it in a ``with`` block, on one thread."""

    def __init__(self, host: str, port: int) -> None:
        command = [sys.executable, __file__, host, str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port: int = json.loads(self._read())

    def __enter__(self) -> CountingForwarder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def counts(self) -> Counts:
        """Return the counts; ``peak`` begins anew."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Counts(**json.loads(self._read()))

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
