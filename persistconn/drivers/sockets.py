"""What a socket tells without a round trip."""

from __future__ import annotations

import errno
import select
import socket
import sys

_ESTABLISHED = 1  # TCP_ESTABLISHED of Linux' <netinet/tcp.h>; all others mean that an end was closed.


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


def is_writable(sock: socket.socket) -> bool:
    """Say whether a few bytes can be sent without waiting for the peer."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        return any(events & select.POLLOUT for _, events in poll.poll(0))
    except (OSError, ValueError):
        return False
