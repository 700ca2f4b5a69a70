"""The process of one contestant, as the benchmark sees it, and as it is inside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from types import TracebackType
from typing import Any

from benchmarks.crew import Burst, Crew

_PATIENCE = 10.0


class ContestantMissing(Exception):
    """A package that a contestant needs is not installed."""


class Runner:
    """A contestant in its process. Use it in a ``with`` block, on one thread."""

    def __init__(self, contestant: str, arguments: Mapping[str, Any], *, threads: int) -> None:
        self.contestant = contestant
        # The very same path, so that the package under test is the one that was imported here.
        code = f"import sys; sys.path[:] = {sys.path!r}; from benchmarks.runner import serve; serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._tell({"contestant": contestant, "arguments": dict(arguments), "threads": threads})

    def __enter__(self) -> Runner:
        """Wait until it is ready; raises ContestantMissing."""
        try:
            self._expect_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _expect_ready(self) -> None:
        missing = self._hear()["missing"]
        if missing:
            raise ContestantMissing(f"{self.contestant}: {missing}")

    def close(self) -> None:
        """Let it end in order; kill it if it does not."""
        try:
            self._process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def burst(self, seconds: float, threads: int, *, sweeping: bool = False) -> Burst:
        """Have it work, with sweep upon sweep beside it if it is ours and so asked; blocks so long."""
        self._tell({"seconds": seconds, "threads": threads, "sweeping": sweeping})
        return Burst(**self._hear())

    def _tell(self, what: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _hear(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self.contestant!r} has ended; what it wrote above says why")
        return json.loads(line)


def serve() -> None:
    """Be a contestant: read what to do from standard input until it ends."""
    # What a library prints must not be taken for an answer.
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(what: object) -> None:
        answers.write(json.dumps(what) + "\n")
        answers.flush()

    crew, missing = _gather(json.loads(sys.stdin.readline()))
    answer({"missing": missing})
    for line in sys.stdin:
        assert crew is not None
        asked = json.loads(line)
        sweep = _sweep() if asked.pop("sweeping") else None
        answer(asdict(crew.burst(**asked, meanwhile=sweep)))


def _gather(spec: Mapping[str, Any]) -> tuple[Crew | None, str | None]:
    from benchmarks.contestants import MAKERS

    try:
        on_thread = MAKERS[spec["contestant"]](spec["arguments"])
    except ImportError as error:
        return None, str(error)
    return Crew(on_thread, spec["threads"]), None


def _sweep() -> Callable[[], object] | None:
    """Return our sweep; None where persistconn does not take part."""
    keeper = sys.modules.get("persistconn.keeper")
    return None if keeper is None else keeper.KEEPER.sweep
