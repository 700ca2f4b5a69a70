"""Test runs inside a test run, as a user of the plugin would start them."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import persistconn

#: Where the package under test stands: under tox the wheel, and not the tree.
HOME = str(Path(str(persistconn.__file__)).parents[1])

Run = Callable[..., pytest.RunResult]
LIMIT = 600.0
"""Seconds until a run, or a program, hangs; a few are usual."""


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of somebody else's project, on a laptop."""
    monkeypatch.setenv("PYTHONPATH", HOME)
    for name in ("CI", "PERSISTCONN_REQUIRE_SERVER", "PYTEST_ADDOPTS", "DJANGO_SETTINGS_MODULE", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(pytester: pytest.Pytester, outside: None) -> Run:
    """Run pytest on some code, in a process of its own; the name of a module gives it that name."""

    def run(code: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=code)
        quiet = ["-p", "no:randomly", "-p", "no:cacheprovider", "-W", "error"]
        return pytester.runpytest_subprocess(*quiet, *options, timeout=LIMIT)

    return run


@pytest.fixture
def run_here(run: Run, server: Any) -> Run:
    """The same, on the server of this run: nothing is started."""
    return lambda code, *options: run(code, f"--persistconn-server={server.dsn}", *options)


class Program:
    """A program that runs beside the test; it ends with it at the latest."""

    def __init__(self, *command: str, directory: Path, temporary: Path | None = None) -> None:
        # Other tests set up a Django project of their own in this process, which the program must not take for its own.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
        variables = {**inherited, "PYTHONPATH": HOME, **({"TMPDIR": str(temporary)} if temporary else {})}
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=directory,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that a shell runs in the background inherit a Ctrl-C that is ignored.
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def line(self) -> str:
        """Wait for the next line that it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self, how: signal.Signals) -> tuple[int, str]:
        """End it by a signal, and return its status and what it has said on stderr."""
        self.process.send_signal(how)
        _, said = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, said


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Program]]:
    """Start a program of Python's."""
    started: list[Program] = []

    def start(*command: str, temporary: Path | None = None) -> Program:
        started.append(Program(*command, directory=tmp_path, temporary=temporary))
        return started[-1]

    yield start
    for program in started:
        program.process.kill()
        program.process.communicate()
