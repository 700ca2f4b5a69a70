"""A sample of the campaign ``comeback``: six threads and one restart of each kind, and the witness that it relies on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("tls", [True, False])
def test_all_come_back_after_a_restart(tls: bool) -> None:
    """And the campaign says what it cost, beside the bare driver; how much that is depends on the machine."""
    from campaigns import comeback

    figures = comeback.run("pymysql", tls=tls, threads=6, rounds=1)
    assert not [line for line in figures.broken if "hangs" in line]
    assert {"processor ms of a connect", "processor ms of a connect, bare"} <= figures.table.keys()


def test_the_witness_waits_for_the_greeting_and_not_for_the_port() -> None:
    """A server that listens and says nothing yet has not accepted."""
    from campaigns.witness import Witness

    greeted: list[float] = []

    def greet() -> None:
        with listener.accept()[0] as server:
            time.sleep(0.05)
            greeted.append(time.monotonic())
            with contextlib.suppress(OSError):  # The witness has lost patience, and comes again.
                server.sendall(b"\x0a")

    def greet_all() -> None:
        with contextlib.suppress(OSError):  # The end of the test.
            while True:
                greet()

    with socket.create_server(("127.0.0.1", 0)) as listener, Witness(*listener.getsockname()) as witness:
        thread = threading.Thread(target=greet_all)
        thread.start()
        witness.watch()
        try:
            assert witness.accepted_at() >= greeted[0]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
