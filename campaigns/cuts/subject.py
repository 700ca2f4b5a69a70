"""The client that the sweep is about: a held connection of persistconn."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import persistconn
from campaigns.cuts.cases import Combination
from campaigns.cuts.conversation import AT_CONNECT, answer_of, told_of
from campaigns.cuts.oracle import Answer, Mode, Told
from campaigns.drivers import load
from persistconn.keeper import KEEPER

#: So that a black hole costs little, and a busy machine is not taken for one; where it is, the case is run again with
#: longer ones. mysqlclient's read_timeout knows whole seconds only, and its handshake for TLS is one wait where PyMySQL's is
#: several.
PING_TIMEOUT, READ_TIMEOUT = 0.4, {"pymysql": 0.4, "mysqlclient": 1}
CONNECT_TIMEOUT = {"plain": 0.5, "tls": 1.0}
GIVE_UP_AFTER = 30.0

#: A proof of life is trusted for ever, or never: then each statement outside a transaction has a ping before it.
_TRUST = {"look": 3600.0, "ping": 1e-9, "lent": 3600.0}
#: A place that is not given back would be missed by the next unit of work.
_POOL = {"lent": {"max_size": 1, "timeout": GIVE_UP_AFTER}}

TRANSPORT_ARGUMENTS: dict[str, dict[str, dict[str, Any]]] = {
    "pymysql": {"plain": {"ssl_disabled": True}, "tls": {"ssl": {"verify_mode": "none"}}},
    "mysqlclient": {"plain": {"ssl_mode": "DISABLED"}, "tls": {"ssl_mode": "REQUIRED"}},
}


class Held:
    """A held connection, used as the driver's own. For the thread that made it."""

    def __init__(self, combination: Combination, address: Mapping[str, Any], longer: int = 1) -> None:
        self._module = persistconn.manage(
            load(combination.driver).module,
            connect_timeout=CONNECT_TIMEOUT[combination.transport] * longer,
            ping_timeout=PING_TIMEOUT * longer,
            trust=_TRUST[combination.check],
            give_up_after=GIVE_UP_AFTER,
            pool=_POOL.get(combination.check),
        )
        self._arguments = {
            **address,
            **TRANSPORT_ARGUMENTS[combination.driver][combination.transport],
            "autocommit": combination.mode is not Mode.TRANSACTION,
            "read_timeout": READ_TIMEOUT[combination.driver] * longer,
            "init_command": AT_CONNECT,
        }
        self._connection: persistconn.PersistentConnection | None = None

    def _held(self) -> persistconn.PersistentConnection:
        # A client that goes on although it could not connect.
        if self._connection is None:
            self.open()
        assert self._connection is not None
        return self._connection

    def open(self) -> None:
        self._connection = self._module.connect(**self._arguments)
        # One that borrows does it now, and not with the first statement: the login is no part of the conversation.
        self._connection.thread_id()

    def execute(self, sql: str) -> Answer:
        with self._held().cursor() as cursor:
            cursor.execute(sql)
            return answer_of(cursor)

    def begin(self) -> None:
        self._held().begin()

    def commit(self) -> None:
        self._held().commit()

    def rollback(self) -> None:
        self._held().rollback()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def dispose(self) -> None:
        if self._connection is not None:
            self._connection.retire()
            # What was lent may be free by now.
            KEEPER.retire_database(self._arguments)

    def told(self, error: Exception) -> Told:
        # Whoever catches the driver's OperationalError must get it too.
        return told_of(error) if isinstance(error, self._module.OperationalError) else Told.RAW
