"""A sample of the campaign ``storm``: forty held connections, and the forwarder that counts for it."""

from __future__ import annotations

import pytest

SAMPLE = 40


@pytest.mark.server
@pytest.mark.slow
def test_all_threads_come_back_without_a_storm(driver: str) -> None:
    """Each thread's next statement succeeds, and never more than ``max_connecting`` connects are under way."""
    from campaigns import storm

    figures = storm.run(driver, threads=SAMPLE, compare=False)
    assert figures.has_held, "\n".join(figures.lines())


def test_a_login_is_over_with_the_servers_answer_however_it_is_cut_into_pieces() -> None:
    """The greeting, then OK: byte by byte, the watch ends with the last byte of the answer and not before."""
    from campaigns.forwarder import LoginWatch

    greeting, ok = b"\x03\x00\x00\x00\x0a5\x00", b"\x07\x00\x00\x02\x00\x00\x00\x02\x00\x00\x00"
    watch = LoginWatch()
    told = []
    for byte in greeting + ok:
        watch.feed(bytes([byte]))
        told.append(watch.is_over)
    assert [False] * (len(told) - 1) + [True] == told


def test_a_demand_for_another_authentication_does_not_end_a_login() -> None:
    """AUTH SWITCH (0xFE) asks for more of the client; the OK that follows ends it."""
    from campaigns.forwarder import LoginWatch

    watch = LoginWatch()
    watch.feed(b"\x02\x00\x00\x00\x0a5" + b"\x02\x00\x00\x02\xfex")
    assert not watch.is_over
    watch.feed(b"\x01\x00\x00\x04\x00")
    assert watch.is_over


def test_a_refusal_instead_of_the_greeting_ends_a_login() -> None:
    """1040 comes as the first packet."""
    from campaigns.forwarder import LoginWatch

    watch = LoginWatch()
    watch.feed(b"\x03\x00\x00\x00\xff\x10\x04")
    assert watch.is_over
