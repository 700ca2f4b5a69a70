"""A worker process of the bank: transfers under the keys that it is handed, one answer for each.

``python -m campaigns.bank_teller`` reads its connections from the first line, and a transfer from each that follows; a
killed one leaves what it was handed to another.
"""

from __future__ import annotations

import functools
import itertools
import json
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import persistconn
from campaigns.drivers import load

JOB = "campaign-bank"
ACCOUNTS, START = 50, 1000
ACCOUNT, EFFECT = "bank_account", "bank_effect"
_POLICY = {"connect_timeout": 3.0, "ping_timeout": 0.5, "ping_every": 5.0, "trust": 5.0, "give_up_after": 120.0}


class Teller:
    """Its threads, each with one connection. ``connections``: what each thread in turn connects with."""

    def __init__(self, driver: str, connections: list[dict[str, Any]], threads: int) -> None:
        self._module = persistconn.manage(load(driver).module, **_POLICY)
        self._connections = itertools.cycle(connections)
        self._local = threading.local()
        self._speaking = threading.Lock()
        self._job = persistconn.job(using=self._connect, name=JOB)(_transfer)
        self._pool = persistconn.Executor(ThreadPoolExecutor(threads, thread_name_prefix="teller"))

    def _connect(self) -> Any:
        mine: dict[str, Any] = self._local.__dict__
        if "arguments" not in mine:
            with self._speaking:
                mine["arguments"] = next(self._connections)
        return self._module.connect(**mine["arguments"])

    def take(self, key: str, source: int, target: int, amount: int) -> None:
        """Queue a transfer; its answer is written when there is one."""
        future = self._pool.submit(self._job.keyed(key), key, source, target, amount)
        future.add_done_callback(functools.partial(self._answer, key))

    def _answer(self, key: str, future: Future[Any]) -> None:
        error = future.exception()
        told = None if error is None else f"{type(error).__module__}.{type(error).__name__}: {error}"
        answer = {"key": key, "error": told, "result": None if error else future.result()}
        with self._speaking:
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()

    def close(self) -> None:
        """Finish what was taken, and say goodbye to the server."""
        self._pool.shutdown()
        persistconn.shutdown()


def _transfer(key: str, source: int, target: int, amount: int) -> int:
    """Move money; return what all accounts hold together, as this transaction sees it."""
    with persistconn.current().cursor() as cursor:
        move = f"UPDATE {ACCOUNT} SET balance = balance + %s WHERE id = %s"  # noqa: S608 - our own names
        # In the order of the transfer, not of the accounts: some of them meet in a deadlock.
        cursor.execute(move, (-amount, source))
        cursor.execute(move, (amount, target))
        cursor.execute(f"INSERT INTO {EFFECT} VALUES (%s, %s, %s, %s)", (key, source, target, amount))  # noqa: S608
        cursor.execute(f"SELECT SUM(balance) FROM {ACCOUNT}")  # noqa: S608
        return int(cursor.fetchone()[0])


def main() -> None:
    """Serve until the end of the input."""
    teller = Teller(**json.loads(sys.stdin.readline()))
    for line in sys.stdin:
        teller.take(*json.loads(line))
    teller.close()


if __name__ == "__main__":
    main()
