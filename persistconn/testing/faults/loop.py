"""The proxy's one thread: it accepts, watches all sockets, keeps the times, and does what other threads ask for."""

from __future__ import annotations

import contextlib
import errno
import functools
import heapq
import itertools
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable

from persistconn.testing.faults.armed import Book
from persistconn.testing.faults.endpoint import Endpoint, State, Watcher
from persistconn.testing.faults.link import Link

_ACCEPT_AT_ONCE = 64  # connections, before those that are there get their turn
_BREATH = 0.1  # seconds without accepting, when the process has no file descriptor left
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Loop:
    """Serves all connections of a listening socket on one thread.

    The lock guards the work that is asked for, the wake-up socket and the end; all else belongs to the thread.
    """

    def __init__(self, listener: socket.socket, family: int, target: tuple[str, int], book: Book) -> None:
        self._listener = listener
        self._family = family
        self._target = target
        self._book = book
        self.taken = 0
        """The connections that there have been; the last one has this number."""
        self._selector = selectors.DefaultSelector()
        self._links: set[Link] = set()
        self._alarms: list[tuple[float, int, Link | None]] = []  # None is the listener's
        self._alarm_numbers = itertools.count()
        self._lock = threading.Lock()
        self._work: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._is_ending = False
        self._bell, self._rope = socket.socketpair()
        self._bell.setblocking(False)
        self._rope.setblocking(False)
        self._thread = threading.Thread(target=self._run, name=f"persistconn-faults-{listener.getsockname()[1]}")
        self._thread.daemon = True  # a proxy that somebody forgot keeps no program from ending

    @property
    def count(self) -> int:
        """The connections that are open now."""
        return len(self._links)

    def start(self) -> None:
        """Begin to serve."""
        self._register(self._listener, self._accept)
        self._register(self._bell, self._hear)
        self._thread.start()

    def stop(self) -> None:
        """Close all connections in order, and everything else; waits for the thread. A second call does nothing."""
        with self._lock:
            self._is_ending = True
            self._ring()
        self._thread.join()

    def run(self, work: Callable[[], None]) -> None:
        """Have the thread do something, and wait until it is done; nothing happens after the end."""
        done = threading.Event()
        with self._lock:
            if self._is_ending:
                return
            self._work.append((work, done))
            self._ring()
        done.wait()

    def wake(self) -> None:
        """Have the thread look at every connection, for a held packet that may go; does not wait for it."""
        with self._lock:
            if not self._is_ending:
                self._work.append((self._pump_all, threading.Event()))
                self._ring()

    def for_each(self, touch: Callable[[Link, float], None]) -> int:
        """Do something to every connection, on the thread, and wait for it; return how many there were."""
        touched: list[Link] = []

        def work() -> None:
            for link in list(self._links):
                touched.append(link)
                touch(link, time.monotonic())
                self._settle(link)

        self.run(work)
        return len(touched)

    def _ring(self) -> None:
        # A full socket will wake the thread as well, and a closed one has no thread any more.
        with contextlib.suppress(OSError):
            self._rope.send(b"!")

    # --- on the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._is_ending:
                for key, mask in self._selector.select(self._find_patience()):
                    key.data(mask)
                self._keep_time()
                self._do_work()
        finally:
            self._close_everything()

    def _find_patience(self) -> float | None:
        return max(0.0, self._alarms[0][0] - time.monotonic()) if self._alarms else None

    def _keep_time(self) -> None:
        now = time.monotonic()
        while self._alarms and self._alarms[0][0] <= now:
            _, _, link = heapq.heappop(self._alarms)
            if link is None:
                self._register(self._listener, self._accept)
            elif not link.is_closed:
                link.alarm = None
                link.pump(now)
                self._settle(link)

    def _do_work(self) -> None:
        with self._lock:
            asked = list(self._work)
            self._work.clear()
        for work, done in asked:
            try:
                work()
            finally:
                done.set()

    def _hear(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)

    def _accept(self, _mask: int) -> None:
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, _ = self._listener.accept()
            except OSError as error:
                if error.errno in _NO_DESCRIPTORS:
                    self._take_breath()
                return
            self._open(sock)

    def _take_breath(self) -> None:
        # The listener stays readable, so watching it would be a busy loop until somebody closes something.
        self._selector.unregister(self._listener)
        heapq.heappush(self._alarms, (time.monotonic() + _BREATH, next(self._alarm_numbers), None))

    def _open(self, sock: socket.socket) -> None:
        client = Endpoint(sock, self._selector)
        try:
            server = self._connect()
        except OSError:
            client.reset()
            return
        self.taken += 1
        link = Link(self.taken, client, server, self._book)
        self._links.add(link)
        self._settle(link)

    def _connect(self) -> Endpoint:
        sock = socket.socket(self._family, socket.SOCK_STREAM)
        endpoint = Endpoint(sock, self._selector, State.CONNECTING)
        status = sock.connect_ex(self._target)
        if status not in {0, errno.EINPROGRESS}:
            endpoint.reset()
            raise OSError(status, "no way to the server")
        return endpoint

    def _pump_all(self) -> None:
        now = time.monotonic()
        for link in list(self._links):
            link.pump(now)
            self._settle(link)

    def _on_event(self, link: Link, endpoint: Endpoint, mask: int) -> None:
        link.on_event(endpoint, mask, time.monotonic())
        self._settle(link)

    def _settle(self, link: Link) -> None:
        """Wait for what the connection needs next, or forget it."""
        if link.is_closed:
            self._links.discard(link)
            return
        now = time.monotonic()
        for endpoint in link.endpoints:
            if endpoint.state is not State.CLOSED:
                watcher = functools.partial(self._on_event, link, endpoint)
                endpoint.watch(link.find_mask(endpoint, now), watcher)
        due = link.next_due(now)
        if due is not None and (link.alarm is None or due < link.alarm):
            link.alarm = due
            heapq.heappush(self._alarms, (due, next(self._alarm_numbers), link))

    def _register(self, sock: socket.socket, watcher: Watcher) -> None:
        self._selector.register(sock, selectors.EVENT_READ, watcher)

    def _close_everything(self) -> None:
        with self._lock:
            self._is_ending = True
            asked = list(self._work)
            self._work.clear()
        self._listener.close()
        for link in self._links:
            link.close()
        self._links.clear()
        self._selector.close()
        self._bell.close()
        self._rope.close()
        for _, done in asked:
            done.set()
