"""The client of the sweep: a job of several statements on a held connection of persistconn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import persistconn
from campaigns.cuts.subject import CONNECT_TIMEOUT, PING_TIMEOUT, TRANSPORT_ARGUMENTS
from campaigns.drivers import load
from campaigns.jobcuts.cases import Combination
from campaigns.jobcuts.oracle import Said

GIVE_UP_AFTER = 90.0
#: The shortest that a job takes; mysqlclient's knows whole seconds.
READ_TIMEOUT = {"pymysql": 1.1, "mysqlclient": 2}
_TRUST = 3600.0


class Worker:
    """Calls the job on one held connection. For the thread that made it."""

    def __init__(self, combination: Combination, address: Mapping[str, Any], longer: int = 1) -> None:
        driver = load(combination.driver)
        self._is_keyed = combination.is_keyed
        self._module = persistconn.manage(
            driver.module,
            connect_timeout=CONNECT_TIMEOUT[combination.transport] * longer,
            ping_timeout=PING_TIMEOUT * longer,
            trust=_TRUST,
            give_up_after=GIVE_UP_AFTER,
        )
        self._arguments = {
            **address,
            **TRANSPORT_ARGUMENTS[combination.driver][combination.transport],
            "autocommit": True,
            "read_timeout": READ_TIMEOUT[combination.driver] * longer,
        }

    def call(self, name: str, marker: str, row: int) -> Said:
        """Run the job of this name, or find that it has run."""
        job = persistconn.job(using=self._connect, name=name)(_work)
        call: Callable[[str, int], Any] = job.keyed(marker) if self._is_keyed else job
        try:
            return Said(call(marker, row))
        except Exception as error:
            return Said(error=f"{type(error).__module__}.{type(error).__name__}: {error}")

    def _connect(self) -> Any:
        return self._module.connect(**self._arguments)

    def dispose(self) -> None:
        """Really close the connection; what cannot even be connected has nothing to close."""
        with contextlib.suppress(self._module.Error):
            self._connect().retire()


def _work(marker: str, row: int) -> dict[str, Any]:
    with persistconn.current().cursor() as cursor:
        cursor.execute("INSERT INTO effect (token) VALUES (%s)", (marker,))
        cursor.execute("UPDATE counter SET hits = hits + 1 WHERE id = %s", (row,))
        cursor.execute("SELECT %s, hits FROM counter WHERE id = %s", (marker, row))
        ((mark, hits),) = cursor.fetchall()
        cursor.execute("SELECT %s, n FROM digit ORDER BY n", (marker,))
        rows = cursor.fetchall()
    is_ours = {mark, *(row[0] for row in rows)} == {marker}
    return {"marker": marker if is_ours else "another's", "hits": hits, "digits": [row[1] for row in rows]}
