"""gunicorn's gevent workers under the load of wrk."""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.error import HTTPError

import pytest

from persistconn.testing.process import pick_port

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.needs("gevent", "gunicorn")]
EXAMPLE = "gunicorn"
WORKERS, POOL = 2, 5
LIMIT = 120.0
"""Seconds until a program that is to end hangs."""


def gunicorn(port: int) -> list[str]:
    """Return the command of the example."""
    return [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]


def failures(said: str) -> list[int]:
    """Return what wrk counts: errors of connecting, reading, writing and waiting, and answers that are no success."""
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    return [int(n) for found in (errors, refused) if found for n in found.groups()]


@pytest.mark.needs("wrk")
@pytest.mark.parametrize("page", ["/", "/slow"])
def test_under_load_there_are_workers_times_max_size_sessions_and_no_request_fails(
    example: Any, database: Any, crowds: dict[str, int], page: str
) -> None:
    """A hundred browsers at once on ten sessions, by the server's own counters."""
    example.migrate()
    with example.serving(gunicorn) as served:
        database.forget()
        wrk = ["wrk", "-t1", "-c100", "-d3", "--timeout=120", f"http://127.0.0.1:{served.port}{page}"]
        said = example.run(*wrk)
    assert not any(failures(said)), said
    requests = re.search(r"(\d+) requests in", said)
    assert requests is not None
    assert int(requests[1]) > WORKERS * POOL, said
    # How many of the browsers each worker gets is the kernel's choice.
    assert POOL <= crowds[database.name] <= WORKERS * POOL
    assert database.most() <= WORKERS * POOL
    assert "Traceback" not in served.said()


def test_without_a_pool_the_workers_do_not_start_and_the_log_names_the_option(example: Any) -> None:
    """Each greenlet would have a session of its own."""
    example.environment["DJANGO_SETTINGS_MODULE"] = "settings_without_pool"
    example.environment["PYTHONPATH"] += f":{example.scripts}"
    port = pick_port("127.0.0.1")
    started = example.launch(*gunicorn(port), port=port)
    assert started.process.wait(LIMIT)
    assert "Worker failed to boot" in started.said()
    assert "DATABASES['default']['OPTIONS']: gevent has made threads into greenlets" in started.said()
    assert "OPTIONS['pool'] = {'max_size': 5}" in started.said()


def test_a_site_that_was_loaded_before_the_patch_is_refused_and_the_log_says_why(example: Any) -> None:
    """Where the settings have Django log what went wrong: without DEBUG it does not by itself."""
    example.environment["DJANGO_SETTINGS_MODULE"] = "settings_that_log"
    example.environment["PYTHONPATH"] += f":{example.scripts}"
    port = pick_port("127.0.0.1")
    # Not to its end: gunicorn's own threads are not what they were either, and it may not come to one.
    served = example.launch(*gunicorn(port), "--preload", port=port)
    served.wait_until_it_serves("/slow")
    with pytest.raises(HTTPError, match="500"):
        served.get("/slow")
    assert "persistconn was imported before threading was patched" in served.said()


def test_a_site_that_was_loaded_in_the_master_behind_the_patch_has_sessions_of_its_own(
    example: Any, database: Any, crowds: dict[str, int]
) -> None:
    """As many as without preload_app; and what the master has had is not theirs."""
    example.environment["PYTHONPATH"] += f":{example.scripts}"
    config = str(example.scripts / "preload.conf.py")
    with example.serving(lambda port: [*gunicorn(port), "--config", config], page="/slow") as served:
        sessions = {answer["session"] for answer in served.load("/slow", requests=200, at_once=20)}
        master = re.search(r"loaded on session (\d+)", served.said())
        assert master is not None, served.said()
        assert int(master[1]) not in sessions
        assert crowds[database.name] <= WORKERS * POOL + 1
