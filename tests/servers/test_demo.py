"""The demo as people run it: real faults on a real server, and nothing left behind."""

from __future__ import annotations

import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import persistconn
import workers
from persistconn.testing import MariaDB

pytestmark = [pytest.mark.server, pytest.mark.slow]

PROJECT = Path(__file__).resolve().parents[2] / "examples" / "invoices"
LIMIT = 600.0
"""Seconds after which a demo hangs; with six seconds of faults it takes about fifteen."""
SECONDS = 6

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(server: MariaDB, tmp_path: Path) -> Iterator[Start]:
    """Start a demo that leaves its directories below ``tmp_path``; ``server`` is there for its skip alone."""
    # From elsewhere, with the packages that this test has: under tox that is the wheel, and not the tree.
    roots = {str(Path(str(package.__file__)).parents[1]) for package in (persistconn, workers)}
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sorted(roots))}
    started: list[subprocess.Popen[str]] = []

    def launch(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "workers", "demo", "--plain", "--project", str(PROJECT), *arguments]
        demo = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that a shell runs in the background inherit a Ctrl-C that is ignored.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        started.append(demo)
        return demo

    yield launch
    for demo in started:
        demo.kill()
        demo.communicate()


def rows(verdict: str) -> dict[str, list[int]]:
    """Return the verdict's table: both sides' figures by label."""
    found = re.findall(r"^(\S.*?) {2,}(\d+|\d+ of \d+) +(\d+|\d+ of \d+)$", verdict, re.MULTILINE)
    return {label: [int(figure) for cell in cells for figure in cell.split(" of ")] for label, *cells in found}


NOTHING_HAPPENED = {"no invoice was due", "no session was killed", "the server was not killed"}
"""What fails a demo, and is no fault of what it shows: a busy machine may come to nothing in so short a time."""


def test_the_jobs_come_through_the_faults_with_nothing_lost_or_doubled(
    start: Start, tmp_path: Path, until_conclusive: Any
) -> None:
    """Exit status 0: no error surfaced, and each invoice that is due was settled exactly once, by the server's word."""

    def experiment(longer: float) -> str | None:
        demo = start("--seconds", f"{SECONDS * longer:g}", "--seed", "7")
        said, complaints = demo.communicate(timeout=LIMIT)
        failed = said.strip().rpartition("FAILED: ")[2].split("; ") if "FAILED" in said else []
        if failed and set(failed) <= NOTHING_HAPPENED:
            return "; ".join(failed)
        assert demo.returncode == 0, said + complaints
        assert list(tmp_path.iterdir()) == []
        figures = rows(said)
        # The same jobs amid the same faults: a demo that hurts nobody would show nothing.
        if figures["errors surfaced"][1] == 0:
            return f"in {SECONDS * longer:g} s no fault met a job of stock Django"
        _check(figures)
        assert "the service on persistconn ended with status 0" in said
        assert "PASSED" in said.splitlines()[-1]
        assert complaints == ""
        return None

    until_conclusive(experiment)


def _check(figures: dict[str, list[int]]) -> None:
    settled, due, *_ = figures["settled exactly once, of those due"]
    assert settled == due > 0
    for label in (
        "settled twice",
        "paid without a settlement row",
        "settled but not marked as paid",
        "errors surfaced",
    ):
        assert figures[label][0] == 0
    assert figures["server killed with -9"][0] > 0
    assert figures["sessions killed by an administrator"][0] > 0
    assert figures["jobs run"][0] > 0
    assert figures["sessions opened"][0] >= 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_leaves_nothing_behind(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C ends server, services and directories within seconds, and says so."""
    demo = start("--seconds", "30")
    assert demo.stdout is not None
    for line in demo.stdout:
        if "persistconn:" in line:
            break
    demo.send_signal(number)
    _, complaints = demo.communicate(timeout=LIMIT)
    assert demo.returncode == 130
    assert complaints == "interrupted; everything is stopped and removed\n"
    assert list(tmp_path.iterdir()) == []
