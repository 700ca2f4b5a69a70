"""What waits for the proof of a job's commit, and what its row must say: checked where the sweep cannot look."""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pymysql
import pytest

import persistconn
from persistconn.once import protocol
from persistconn.once.attempt import Order
from persistconn.once.job import run
from persistconn.once.line import Line
from persistconn.once.payload import Arguments
from persistconn.once.rows import CREATE, RowState, Statements
from persistconn.once.sites import Hooks, PlainSite
from persistconn.once.token import fingerprint, fire_token, key_token
from persistconn.testing import MariaDB, eventually
from persistconn.testing.faults import Drop, FaultProxy, Reset, Rule, Where, to_client, to_server

NAME = "test_job_proof"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def proxy() -> Iterator[FaultProxy]:
    """A proxy before a private server with a ledger and a table."""
    with MariaDB() as server, FaultProxy(server.host, server.port) as proxy:
        proxy.server = server  # type: ignore[attr-defined]
        with server.admin() as admin, admin.cursor() as cursor:
            for statement in (*CREATE, "CREATE TABLE t (x INT) ENGINE=InnoDB"):
                cursor.execute(statement)
        yield proxy
        persistconn.shutdown()


class HookedSite(PlainSite):
    """A framework that has something to be done after the commit, as Django's ``on_commit`` has."""

    def __init__(self, proxy: FaultProxy, database: str = "test") -> None:
        module = persistconn.manage(pymysql, give_up_after=60.0)
        settings = {"database": database, "autocommit": True, "read_timeout": 2}
        arguments = proxy.connect_args(proxy.server.connect_args(**settings))  # type: ignore[attr-defined]
        self.connect = lambda: module.connect(**arguments)
        super().__init__(self.connect)
        self.called: list[str] = []

    def leave(self) -> Hooks:
        return lambda: self.called.append("after the commit")


def work(x: int, fails: bool = False) -> int:
    """Write one row."""
    with persistconn.current().cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (%s)", (x,))
    if fails:
        raise ValueError(x)
    return x


def call(site: HookedSite, x: int, **kwargs: Any) -> Any:
    """Run the job under a key of its own."""
    order = Order(key_token(NAME, f"{x}"), work, Arguments(NAME, (x,), kwargs), fingerprint(NAME, (x,), kwargs))
    return run(order, site, None)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("lost", [to_server("COMMIT"), to_client("COMMIT"), None])
def test_what_waits_for_the_commit_is_done_once_when_it_is_proved(proxy: FaultProxy, lost: Where | None) -> None:
    """The COMMIT never arrived, its answer was lost, or all went well."""
    site, x = HookedSite(proxy), next(_numbers)
    call(site, next(_numbers))
    site.called.clear()
    if lost is not None:
        proxy.arm(Rule(Reset(), lost))
    assert x == call(site, x)
    assert ["after the commit"] == site.called


@pytest.mark.server
@pytest.mark.slow
def test_what_waits_for_the_commit_is_not_done_without_one(proxy: FaultProxy) -> None:
    """The function failed: nothing took effect."""
    site = HookedSite(proxy)
    with pytest.raises(ValueError, match="77"):
        call(site, 77, fails=True)
    assert [] == site.called


@pytest.mark.server
@pytest.mark.slow
def test_a_session_in_a_black_hole_is_ended_by_the_replay(proxy: FaultProxy) -> None:
    """Its server does not know that the client has left: it would hold the token until its ``wait_timeout``."""
    x = next(_numbers)
    proxy.arm(Rule(Drop(), to_server("RELEASE SAVEPOINT")))
    try:
        assert x == call(HookedSite(proxy), x)
    finally:
        proxy.heal()


@pytest.mark.server
@pytest.mark.slow
def test_a_session_that_was_replaced_before_the_call_is_known_by_its_own_name(
    proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found dead between the name and the call, which goes to a new one: it must be found, should it be lost there."""
    server = proxy.server  # type: ignore[attr-defined]
    with server.admin() as admin, admin.cursor() as cursor:
        cursor.execute("CREATE OR REPLACE DATABASE together")
        cursor.execute("CREATE TABLE together.t (x INT) ENGINE=InnoDB")
    site, x = HookedSite(proxy, "together"), next(_numbers)
    persistconn.ledger.create(site.connect())
    call(site, next(_numbers))
    identify = protocol.identify

    def identify_and_lose(line: Line) -> str:
        monkeypatch.setattr(protocol, "identify", identify)
        name = identify(line)
        held = line.connection._held
        server.kill_session(held.driver.session_id(held.raw))
        eventually(lambda: held.driver.hung_up(held.raw))
        # And the first thing that the new one begins is lost in a black hole.
        proxy.arm(Rule(Drop(), to_client("persistconn_begin")))
        return name

    monkeypatch.setattr(protocol, "identify", identify_and_lose)
    try:
        assert x == call(site, x)
    finally:
        proxy.heal()


@pytest.mark.server
@pytest.mark.slow
def test_a_rollback_that_is_lost_behind_the_fence_leaves_no_session_behind(proxy: FaultProxy) -> None:
    """It would go on holding the token's row: nobody could cancel that job, and no purge would pass."""
    x = next(_numbers)
    call(HookedSite(proxy), x)
    server = proxy.server  # type: ignore[attr-defined]
    proxy.arm(Rule(Drop(), to_server("ROLLBACK")))

    def is_nobodys() -> bool:
        with server.admin() as admin, admin.cursor() as cursor, contextlib.suppress(pymysql.OperationalError):
            cursor.execute("SELECT state FROM persistconn_ledger WHERE job_key = %s FOR UPDATE NOWAIT", (f"{x}",))
            return cursor.fetchall() == (("done",),)
        return False

    try:
        assert x == call(HookedSite(proxy), x)
        eventually(is_nobodys)  # The server takes its time to end a session that was killed.
    finally:
        proxy.heal()


def test_a_job_finishes_its_own_row_and_no_other() -> None:
    """On a cluster, and behind a swallowed rollback, the row under the token may be another machine's."""
    token = key_token(NAME, "k")
    sql = Statements("s").finish(token, b"8 bytes.", RowState.DONE)
    conditions = re.findall(r"(\w+) = \S+", sql.partition(" WHERE ")[2])
    assert ["token", "attempt", "state"] == conditions
    assert b"8 bytes.".hex() in sql


def test_a_fire_s_token_is_its_instant() -> None:
    """A machine that counts in Vienna's time and one that counts in UTC fire one token; an hour later is another."""
    noon = datetime(2026, 7, 1, 12, 0, tzinfo=timezone.utc)
    in_vienna = noon.astimezone(ZoneInfo("Europe/Vienna"))
    assert fire_token("shop", "settle", noon) == fire_token("shop", "settle", in_vienna)
    assert fire_token("shop", "settle", noon) != fire_token("shop", "settle", noon + timedelta(hours=1))
