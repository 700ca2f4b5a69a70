"""``OPTIONS["pool"]`` on a real server: what is lent for how long, in the engine, requests, tasks and units of work."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the project django_site stands

from django_site.fixtures import LIMIT, counter, on_another_thread, session_id, site  # noqa: F401

import persistconn
from persistconn.testing import MariaDB, eventually

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("site")]


@pytest.fixture(autouse=True)
def lent(site: MariaDB) -> Iterator[dict[str, Any]]:  # noqa: F811
    """An alias whose sessions are lent, three at most; a test may change its definition before it connects."""
    from django.db import connections

    definition = copy.deepcopy(connections.settings["default"])
    definition["OPTIONS"]["pool"] = {"max_size": 3, "timeout": LIMIT}
    connections.settings["lent"] = definition
    yield definition
    connections["lent"].close()
    del connections["lent"]
    del connections.settings["lent"]


def free() -> list[int | None]:
    """Return the sessions that are nobody's."""
    return [view.session_id for view in persistconn.connections() if "free to be lent" in view.owner]


def end_request() -> None:
    """End a request as Django's handler does."""
    from django.core.signals import request_finished

    request_finished.send(None)


class TestRequest:
    """A thread, or a greenlet, for each request."""

    def test_borrows_with_its_first_query_and_gives_back_at_its_end(self) -> None:
        """Whoever comes next has the same session."""
        mine = session_id("lent")
        assert free() == []
        end_request()
        assert free() == [mine]
        assert on_another_thread(lambda: session_id("lent")) == mine

    def test_opens_no_more_sessions_than_the_pool_has(self) -> None:
        """A new thread for each of a hundred, thirty at once: three sessions at most, and each is answered."""

        def request(number: int) -> tuple[int, int]:
            def serve() -> tuple[int, int]:
                from django.db import connections

                with connections["lent"].cursor() as cursor:
                    cursor.execute("SELECT %s, CONNECTION_ID()", (number,))
                    answer = cursor.fetchone()
                end_request()
                return answer

            return on_another_thread(serve)

        with ThreadPoolExecutor(30) as browsers:
            answers = list(browsers.map(request, range(100)))
        assert [number for number, _ in answers] == list(range(100))
        assert len({session for _, session in answers}) <= 3

    def test_sets_a_session_up_once(self) -> None:
        """The next ones find it as it was left: one query, one round trip."""
        mine, before = session_id("lent"), counter("Questions", "lent")
        end_request()

        def request() -> int:
            session = session_id("lent")
            end_request()
            return session

        assert [on_another_thread(request) for _ in range(5)] == [mine] * 5
        asked_by_us = 1
        assert counter("Questions", "lent") - before - asked_by_us == 5

    def test_has_its_session_set_up_also_on_a_thread_that_had_another(self) -> None:
        """Whoever had a session that is somebody else's now gets one that Django has set up, too."""
        from django.db import connections

        session_id("lent")
        end_request()
        with ThreadPoolExecutor(1) as other:
            taken = other.submit(session_id, "lent").result(LIMIT)
            with connections["lent"].cursor() as cursor:
                cursor.execute("SELECT CONNECTION_ID(), @@session.tx_isolation")
                session, isolation = cursor.fetchone()
        assert session != taken
        assert isolation == "READ-COMMITTED"

    def test_leaves_no_transaction_and_no_setting_behind(self) -> None:
        """What is open is rolled back, and a session whose settings were changed is not lent again."""
        from django.db import connections
        from django_site.shop.models import Entry

        connections["lent"].set_autocommit(False)
        Entry.objects.using("lent").create(number=1)
        end_request()
        before = session_id("lent")
        with connections["lent"].cursor() as cursor:
            cursor.execute("SET SESSION sql_mode = ''")
        end_request()

        def look() -> tuple[int, str]:
            with connections["lent"].cursor() as cursor:
                cursor.execute("SELECT CONNECTION_ID(), @@session.sql_mode")
                return cursor.fetchone()

        session, mode = on_another_thread(look)
        assert session != before
        assert "STRICT" in mode
        assert not Entry.objects.exists()

    def test_inside_an_atomic_block_keeps_what_it_has(self) -> None:
        """``close_old_connections`` in the middle of a transaction must not end it."""
        from django.db import close_old_connections, transaction
        from django_site.shop.models import Entry

        with transaction.atomic(using="lent"):
            Entry.objects.using("lent").create(number=1)
            close_old_connections()
            Entry.objects.using("lent").create(number=2)
        assert Entry.objects.count() == 2


def test_an_alias_has_a_pool_of_its_own(lent: dict[str, Any]) -> None:
    """Even for the same database: who holds one of the one must not wait for the other."""
    from django.db import connections

    lent["OPTIONS"]["pool"]["max_size"] = 1
    connections.settings["lent too"] = copy.deepcopy(lent)
    try:
        assert session_id("lent") != session_id("lent too")
    finally:
        connections["lent too"].close()
        del connections["lent too"], connections.settings["lent too"]


def test_who_waits_too_long_is_told_as_django_s_operational_error(lent: dict[str, Any]) -> None:
    """So that a view can answer 503."""
    from django.db import OperationalError

    lent["OPTIONS"]["pool"].update(max_size=1, timeout=0.1)
    session_id("lent")
    with pytest.raises(OperationalError, match=r"lent \(.*\) became free within 0\.1 s .* MainThread") as caught:
        on_another_thread(lambda: session_id("lent"))
    assert isinstance(caught.value, persistconn.PoolTimeout)


def test_a_thread_that_ends_without_a_request_s_end_leaves_its_session(lent: dict[str, Any]) -> None:
    """Its place is free again."""
    lent["OPTIONS"]["pool"]["max_size"] = 1
    for _ in range(5):
        on_another_thread(lambda: session_id("lent"))


def test_a_task_of_the_executor_gives_back(lent: dict[str, Any]) -> None:
    """Eight threads do with one session."""
    lent["OPTIONS"]["pool"]["max_size"] = 1
    with persistconn.Executor(max_workers=8) as pool:
        assert len({future.result(LIMIT) for future in [pool.submit(session_id, "lent") for _ in range(40)]}) == 1
    eventually(lambda: len(free()) == 1)


def test_a_unit_of_work_gives_back() -> None:
    """Outside requests and tasks."""
    session = persistconn.unit_of_work(session_id)("lent")
    assert free() == [session]


def test_a_wrapper_that_threads_share_borrows_for_whoever_uses_it() -> None:
    """As Django's live server does."""
    from django.db import connections

    wrapper = connections["lent"]
    wrapper.inc_thread_sharing()
    try:
        wrapper.ensure_connection()
        seen: list[int] = []

        def use() -> None:
            with wrapper.cursor() as cursor:
                cursor.execute("SELECT CONNECTION_ID()")
                seen.append(cursor.fetchone()[0])

        thread = threading.Thread(target=use)
        thread.start()
        thread.join(LIMIT)
        assert seen == [session_id("lent")]
    finally:
        wrapper.dec_thread_sharing()
