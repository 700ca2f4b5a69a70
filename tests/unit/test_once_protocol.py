"""Where a job runs, as the ledger's rows tell it to people."""

from __future__ import annotations

import os
import threading

import pytest

from persistconn.once.protocol import _place


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_place_is_that_of_the_process_and_of_the_thread_s_present_name() -> None:
    """A forked child has another one than its parent, and a thread may be given another name."""
    here, thread = _place(), threading.current_thread()
    assert f" pid {os.getpid()} {thread.name}" in here
    name, thread.name = thread.name, "renamed"
    try:
        assert _place().endswith(" renamed")
    finally:
        thread.name = name
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writer, _place().encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with open(reader, encoding="utf-8") as told:
        assert f" pid {child} {name}" in told.read()
