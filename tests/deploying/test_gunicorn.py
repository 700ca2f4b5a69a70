"""gunicorn's gevent workers under the load of wrk."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

from persistconn.testing.process import pick_port

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.needs("gevent", "gunicorn")]
EXAMPLE = "gunicorn"
WORKERS, POOL = 2, 5


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
        wrk = ["wrk", "-t1", "-c100", "-d3", "--timeout=30", f"http://127.0.0.1:{served.port}{page}"]
        said = example.run(*wrk)
    assert not any(failures(said)), said
    requests = re.search(r"(\d+) requests in", said)
    assert requests is not None
    assert int(requests[1]) > WORKERS * POOL, said
    assert {database.name: WORKERS * POOL} == crowds
    assert database.most() <= WORKERS * POOL
    assert "Traceback" not in served.said()


def test_without_a_pool_the_workers_do_not_start_and_the_log_names_the_option(example: Any) -> None:
    """Each greenlet would have a session of its own."""
    example.environment["DJANGO_SETTINGS_MODULE"] = "settings_without_pool"
    example.environment["PYTHONPATH"] += f":{example.scripts}"
    port = pick_port("127.0.0.1")
    started = example.launch(*gunicorn(port), port=port)
    assert started.process.wait(30)
    assert "Worker failed to boot" in started.said()
    assert "DATABASES['default']['OPTIONS']: gevent has made threads into greenlets" in started.said()
    assert "OPTIONS['pool'] = {'max_size': 5}" in started.said()
