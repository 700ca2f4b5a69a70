"""The bank's worker processes as the campaign sees them, and the transfers that they have been handed."""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from campaigns.bank_teller import ACCOUNTS

_ROOT = str(Path(__file__).resolve().parents[1])
_MOST = 100

Transfer = tuple[str, int, int, int]


@dataclass
class Book:
    """What was handed out and what was answered. Its lock guards all its fields."""

    rng: random.Random
    results: dict[str, int] = field(default_factory=dict)
    tellers: dict[str, int] = field(default_factory=dict)
    """The process that answered."""
    errors: list[str] = field(default_factory=list)
    orphans: deque[Transfer] = field(default_factory=deque)
    """Transfers of tellers that were killed, to be handed out again."""
    handed_again: int = 0
    given: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, *, only_orphans: bool) -> Transfer | None:
        """Return a transfer to hand out: one that a killed teller has left, or a new one."""
        with self.lock:
            if self.orphans:
                self.handed_again += 1
                return self.orphans.popleft()
            if only_orphans:
                return None
            self.given += 1
            source, target = self.rng.sample(range(ACCOUNTS), 2)
            return f"transfer-{self.given}", source, target, self.rng.randint(1, _MOST)

    def note(self, answer: Mapping[str, Any], pid: int) -> None:
        """Note an answer."""
        with self.lock:
            if answer["error"] is not None:
                self.errors.append(f"{answer['key']}: {answer['error']}")
            else:
                self.results[answer["key"]] = answer["result"]
            self.tellers[answer["key"]] = pid


class Process:
    """One teller. Any thread may use it."""

    def __init__(self, book: Book, settings: Mapping[str, Any], on_answer: Callable[[], None]) -> None:
        self._book = book
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._handed: dict[str, Transfer] = {}
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([_ROOT, *sys.path])}
        command = [sys.executable, "-m", "campaigns.bank_teller"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._say(settings)
        self._reader = threading.Thread(target=self._read, name="bank-reader", daemon=True)
        self._reader.start()

    def hand(self, transfer: Transfer) -> None:
        """Hand it a transfer; whoever kills it gives that to another."""
        with self._lock:
            self._handed[transfer[0]] = transfer
        self._say(transfer)

    @property
    def load(self) -> int:
        """How many transfers it has not answered."""
        with self._lock:
            return len(self._handed)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _say(self, what: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith("\n"):
                return  # Killed in the middle of a word.
            answer = json.loads(line)
            self._book.note(answer, self._process.pid)
            with self._lock:
                self._handed.pop(answer["key"])
            self._on_answer()

    def kill(self) -> None:
        """Kill it with SIGKILL, and leave what it had not answered to others."""
        self._process.kill()
        self._process.wait()
        self._reader.join()
        with self._book.lock:
            self._book.orphans.extend(self._handed.values())
        self._close_pipes()

    def close(self, timeout: float) -> bool:
        """Let it end in order; False if it has to be killed for that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._reader.join()
            self._close_pipes()
        return self._process.returncode == 0

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            # What was still to be written to a killed process is lost.
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
