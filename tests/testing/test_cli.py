"""`python -m persistconn.testing`, as people run it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from persistconn.testing import MariaDB, cli, eventually

pytestmark = pytest.mark.server

Start = Callable[..., Any]


def connect(dsn: str) -> Any:
    parts = urlsplit(dsn)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 0,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
    )


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_server_prints_its_dsn_and_runs_until_it_is_told(
    start: Start, server: MariaDB, tmp_path: Path, how: signal.Signals
) -> None:
    """With the variables that were asked for; Ctrl-C and SIGTERM end it in order, and nothing of it is left."""
    places = tmp_path / "places"
    places.mkdir()
    options = ["--kind", "mariadb", "--wait-timeout", "2", "--set", "max_connections=17"]
    program = start("-m", "persistconn.testing", "server", *options, temporary=places)
    dsn = program.line()
    with closing(connect(dsn)) as client, client.cursor() as cursor:
        cursor.execute("SELECT @@GLOBAL.wait_timeout, @@max_connections")
        assert (2, 17) == cursor.fetchone()
    assert (0, "") == program.end(how)
    assert [] == list(places.iterdir())
    with pytest.raises(pymysql.err.OperationalError):
        connect(dsn)


def test_proxy_cuts_after_commit(start: Start, server: MariaDB, database: dict[str, Any]) -> None:
    """The server commits, the client never hears of it, and stderr tells of it."""
    program = start("-m", "persistconn.testing", "proxy", "--to", f"127.0.0.1:{server.port}", "--cut-after", "COMMIT")
    host, port = program.line().split(":")
    with closing(pymysql.connect(**{**database, "host": host, "port": int(port)}, ssl_disabled=True)) as client:
        client.query("CREATE TABLE t (id INT) ENGINE=InnoDB")
        client.query("INSERT INTO t VALUES (1)")
        with pytest.raises(pymysql.err.OperationalError):
            client.commit()
    eventually(lambda: [(1,)] == server.ask(f"SELECT id FROM {database['database']}.t"))
    status, said = program.end(signal.SIGINT)
    assert (0, ["cut at 1: to the client"]) == (status, re.findall(r"cut at 1: to the client", said))


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["server", "--kind", "mariadb", "--set", "no_such=1"], 1, "check the name"),
        (["server", "--set", "wait_timeout"], 2, "write it NAME=VALUE"),
        (["server", "--kind", "mariadb", "--port", "{taken}"], 1, "port is taken"),
        (["proxy", "--to", "somewhere"], 2, "write it HOST:PORT"),
        (["proxy", "--to", "name.invalid:3306"], 1, "has no address"),
        (["proxy", "--to", "127.0.0.1:1", "--port", "{taken}"], 1, "take another --port"),
    ],
)
def test_what_cannot_start_says_why(
    server: MariaDB, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, words: str
) -> None:
    """In one message, without a traceback; the exit status tells a wrong call from a failure."""
    assert status == cli.main([argument.format(taken=server.port) for argument in arguments])
    assert words in capsys.readouterr().err


def test_rules_stand_for_what_was_asked() -> None:
    """Texts and numbers, before and after, and how often."""
    call = [
        "proxy",
        "--to",
        "h:1",
        "--cut-before",
        "3",
        "--stall-after",
        "UPDATE",
        "--times",
        "0",
        "--delay-after",
        "x",
    ]
    rules = list(cli._rules(cli._parser().parse_args(call)))
    assert ["Cut", "Stall", "Delay"] == [type(rule.fault).__name__ for rule in rules]
    assert [3, None, None] == [rule.where.statement for rule in rules]
    assert [None] * 3 == [rule.times for rule in rules]


def test_help_needs_no_server() -> None:
    """Nor a driver."""
    done = subprocess.run(
        [sys.executable, "-m", "persistconn.testing", "--help"], capture_output=True, text=True, check=True, timeout=600
    )
    assert {"server", "proxy"} <= set(done.stdout.split())
