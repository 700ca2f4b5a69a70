"""A sample of ``campaigns cost``: the round trips of a unit of work are the same each time, so few are enough."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parents[2])


@pytest.mark.server
@pytest.mark.slow
def test_the_round_trips_of_a_job_are_counted_at_the_server(tmp_path: Path) -> None:
    """BEGIN, one write and COMMIT are three, which is what all others are compared with."""
    # In a process of its own: it sets Django up.
    code = f"import sys; sys.path.append({ROOT!r}); from campaigns.__main__ import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "cost", "--units", "20"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trips = dict(re.findall(r"loopback: (.*?)  +([\d.]+) round trips", done.stdout))
    assert float(trips["bare PyMySQL, BEGIN and COMMIT"]) == 3.0
    assert float(trips["@job, plain PyMySQL"]) == 3.0
    assert float(trips["@job, Django"]) == 3.0
