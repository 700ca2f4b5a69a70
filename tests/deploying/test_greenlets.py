"""gevent, Django and PyMySQL: many greenlets, few sessions."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.needs("gevent")]
EXAMPLE = "greenlets"

IMPORT_FIRST = """
import pymysql, persistconn
from gevent import monkey
monkey.patch_all()
persistconn.manage(pymysql, pool={"max_size": 5}).connect(host="nowhere")
"""
WITHOUT_POOL = """
from gevent import monkey
monkey.patch_all()
import pymysql, persistconn
persistconn.manage(pymysql).connect(host="nowhere")
"""


def test_a_thousand_greenlets_have_the_sessions_of_their_pools_and_no_more(
    example: Any, database: Any, crowds: dict[str, int]
) -> None:
    """Five of one alias and three of the other, used to the full, and each greenlet's work is done once."""
    game = database.add(f"game_{database.name}")
    example.environment["GAME_DB_NAME"] = game
    assert "1000 paid, 1000 moved on 3 sessions of the game, 0 failed" in example.python("play.py")
    assert ((1000, 1000),) == database.ask(f"SELECT COUNT(*), COUNT(DISTINCT player) FROM {database.name}.game_payment")
    assert ((1000, 1000),) == database.ask(f"SELECT COUNT(*), COUNT(DISTINCT player) FROM {game}.game_move")
    assert {database.name: 5, game: 3} == crowds
    assert database.most() <= 8


@pytest.mark.parametrize(
    "case",
    [
        "killed_while_it_waits",
        "timed_out_while_it_waits",
        "killed_in_a_query",
        "timed_out_in_a_query",
        "killed_in_a_transaction",
    ],
)
def test_a_greenlet_that_is_torn_away_takes_nothing_with_it(scripts: Any, database: Any, case: str) -> None:
    """Its place is another's, and nobody reads what was meant for it."""
    scripts.python("torn.py", case)


def test_a_session_for_each_greenlet_is_refused(scripts: Any) -> None:
    """With the option to set."""
    said = scripts.python("-c", WITHOUT_POOL, succeeds=False)
    assert "gevent has made threads into greenlets" in said
    assert "OPTIONS['pool'] = {'max_size': 5} in Django, or manage(module, pool={'max_size': 5})" in said


def test_an_import_before_the_patch_is_refused(scripts: Any) -> None:
    """Greenlets could not be told apart: one would get another's session."""
    assert "persistconn was imported before threading was patched" in scripts.python("-c", IMPORT_FIRST, succeeds=False)
