"""asyncio: ``run_in_executor``, and Django's ``sync_to_async`` under uvicorn."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow]
EXAMPLE = "asyncio"
POOL = 5


def test_jobs_of_a_loop_share_the_sessions_of_the_executor(example: Any, database: Any) -> None:
    """Two hundred jobs on four threads; how many of them get a job is the machine's choice."""
    assert re.search(r"^200 jobs on [1-4] sessions$", example.python("jobs.py"), re.MULTILINE)
    assert database.most() <= 4


@pytest.mark.needs("uvicorn")
def test_views_under_asgi_share_the_sessions_of_the_pool(example: Any, database: Any, crowds: dict[str, int]) -> None:
    """Sync and async ones, and those that leave the request's thread: all at once."""
    example.migrate()
    command = [sys.executable, "-m", "uvicorn", "--no-access-log", "asgi:application"]
    with example.serving(lambda port: [*command, "--port", str(port)]) as served:
        before = database.made()
        for page in ("/", "/awaiting", "/apart"):
            answers = served.load(page, requests=100, at_once=25)
            assert {answer["session"] for answer in answers} <= set(database.sessions())
            assert {answer.get("visits", 1) for answer in answers} == {1}
        assert database.made() - before <= POOL
        assert crowds[database.name] <= POOL
