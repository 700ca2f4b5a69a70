"""A sample of the campaign ``comeback``: six threads and one restart of each kind, and the witness that it relies on."""

from __future__ import annotations

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

    with socket.create_server(("127.0.0.1", 0)) as listener, Witness(*listener.getsockname()) as witness:
        witness.watch()
        server, _ = listener.accept()
        greeted: list[float] = []

        def greet() -> None:
            greeted.append(time.monotonic())
            server.sendall(b"\x0a")

        threading.Timer(0.05, greet).start()
        assert witness.accepted_at() >= greeted[0]
        server.close()
