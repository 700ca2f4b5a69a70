"""What a socket tells without a round trip."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import select
import socket
import sys
from collections.abc import Callable
from typing import Any

_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux' <netinet/tcp.h>; all others mean that an end was closed.


ALIVE = bytes([_ESTABLISHED])
"""What :func:`watch` has its function return for a connection that the peer has not closed."""


def watch(sock: socket.socket) -> Callable[[], bytes]:
    """Return what :func:`hung_up` does for this socket as a call that costs nothing but the system call.

    It returns ``ALIVE`` or something else, or raises OSError, which is something else too.
    """
    if sys.platform == "linux" and sock.family in (socket.AF_INET, socket.AF_INET6):
        ask: Any = functools.partial(sock.getsockopt, socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        return ask  # type: ignore[no-any-return]  # with a size it returns bytes
    return lambda: b"" if hung_up(sock) else ALIVE


def hung_up(sock: socket.socket) -> bool:
    """Say whether the peer has closed the connection (or the network has reported it dead).

    On Linux the state of a TCP socket comes from ``TCP_INFO``: 0.5 us, and unlike ``poll`` it does not give up the GIL,
    which costs more than the call among busy threads. It tells FIN and RST, which is what ``wait_timeout``, ``KILL``, a
    shutdown and a killed server leave behind; bytes that wait on an open TLS connection (session tickets) do not
    confuse it. Elsewhere, and on a Unix socket, an idle connection with something to read has been closed.
    """
    try:
        if sys.platform == "linux":
            # A Unix socket has none of it, and says so; asking for its family would cost twice as much as the call.
            try:
                return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != _ESTABLISHED
            except OSError as error:
                if error.errno != errno.EOPNOTSUPP:
                    return True
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


# A path that dies without a word (a host gone, a NAT entry dropped) is noticed within a minute, and without a limit on how
# long a statement may take: keepalive probes find it while an answer is awaited, the user timeout while something of
# ours is unacknowledged. Either alone misses the other case; the kernel's defaults are two hours and 15 minutes.
_PROBE_AFTER, _PROBE_EVERY, _PROBES = 30, 10, 3
_UNACKNOWLEDGED_MS = 60_000


def watch_path(fileno: int) -> None:
    """Have the kernel watch the path of a TCP connection. What a platform does not know is left out."""
    options = {
        (socket.SOL_SOCKET, "SO_KEEPALIVE"): 1,
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE"): _PROBE_AFTER,
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL"): _PROBE_EVERY,
        (socket.IPPROTO_TCP, "TCP_KEEPCNT"): _PROBES,
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT"): _UNACKNOWLEDGED_MS,
    }
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fileno)) as sock:
        if sock.family == socket.AF_UNIX:
            return
        for (level, name), value in options.items():
            if hasattr(socket, name):
                sock.setsockopt(level, getattr(socket, name), value)


def is_writable(sock: socket.socket) -> bool:
    """Say whether a few bytes can be sent without waiting for the peer."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        return any(events & select.POLLOUT for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False
