"""The plugin's servers: which one a test gets, and why it gets none."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from persistconn.testing import installation
from pytest_persistconn import asked

pytestmark = pytest.mark.server

Run = Callable[..., pytest.RunResult]


def test_a_run_that_does_not_use_it_pays_nothing(run: Run) -> None:
    """Whoever has persistconn installed has the plugin loaded: no driver, no Django, no containers, no thread."""
    code = """
        import sys, threading
        def test_nothing():
            heavy = {"persistconn", "django", "pymysql", "MySQLdb", "testcontainers", "docker", "apscheduler", "workers"}
            assert not heavy & set(sys.modules)
            assert threading.active_count() == 1
    """
    run(code, "-p", "no:django").assert_outcomes(passed=1)


def test_the_plugin_knows_all_kinds_of_servers() -> None:
    """It has a list of its own, so as not to import ours."""
    assert installation.KINDS == asked.KINDS


def test_all_tests_share_one_server(run: Run) -> None:
    """By whichever fixture they ask for it, and the session's own fixtures too."""
    code = """
        import pytest
        @pytest.fixture(scope="session")
        def of_the_session(mysql): return mysql.dsn
        def test_one(mysql, of_the_session): assert mysql.dsn == of_the_session
        def test_two(mysql_server, mysql_database, of_the_session):
            assert mysql_server.dsn == of_the_session
            assert mysql_database["port"] == mysql_server.port
    """
    run(code, "--persistconn-server=mariadb").assert_outcomes(passed=2)


def test_the_marker_gives_a_server_of_its_own(run: Run) -> None:
    """With the variables that it names, by each of the names that a fixture has, and for that test alone."""
    code = """
        import pytest
        ask = lambda server: server.ask("SELECT @@GLOBAL.wait_timeout, @@max_connections")
        seen = []
        def test_before(mysql): assert ask(mysql)[0][0] == 28800
        @pytest.mark.persistconn(wait_timeout=7, max_connections=20)
        def test_named(mysql, mysql_server): assert ask(mysql) == ask(mysql_server) == [(7, 20)]
        @pytest.mark.persistconn(wait_timeout=7, max_connections=20)
        def test_by_a_tool(sessions, mysql_under_test): assert ask(mysql_under_test) == [(7, 20)]
        @pytest.mark.persistconn(own_server=True)
        @pytest.mark.parametrize("case", [1, 2])
        def test_alone(mysql, case):
            assert ask(mysql)[0][0] == 28800 and mysql.directory not in seen
            seen.append(mysql.directory)
        def test_after(mysql): assert ask(mysql)[0][0] == 28800
        class TestOfOneKind:
            pytestmark = pytest.mark.persistconn(wait_timeout=9)
            def test_in_class(self, mysql): assert ask(mysql)[0][0] == 9
            @pytest.mark.persistconn(wait_timeout=8)
            def test_nearest_wins(self, mysql): assert ask(mysql)[0][0] == 8
    """
    run(code, "--persistconn-server=mariadb").assert_outcomes(passed=8)


def test_variables_of_all_servers(run: Run) -> None:
    """A fixture that a project overrides."""
    code = """
        import pytest
        @pytest.fixture(scope="session")
        def mysql_variables(): return {"wait_timeout": 33}
        def test_it(mysql): assert mysql.ask("SELECT @@GLOBAL.wait_timeout") == [(33,)]
    """
    run(code, "--persistconn-server=local").assert_outcomes(passed=1)


def test_a_dsn_names_a_server_that_is_there(run_here: Run) -> None:
    """It is used as it is; a test that wants variables is skipped, and one that restarts it is refused."""
    code = """
        import pytest
        from persistconn.testing import ServerError
        def test_it(mysql_database, sessions): assert mysql_database["host"] == "127.0.0.1"
        @pytest.mark.persistconn(wait_timeout=1)
        def test_variables(mysql): ...
        def test_restart(mysql):
            with pytest.raises(ServerError, match="not ours to restart"): mysql.restart()
    """
    result = run_here(code, "-rs")
    result.assert_outcomes(passed=2, failed=0, skipped=0, errors=1)
    result.stdout.fnmatch_lines(["*the one that a DSN names is not ours to set*"])


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("nearby", "*there are auto, local, mariadb, mysql, container, and DSNs*"),
        ("postgres://a:b@c/d", "*a server's DSN is written mysql://user:password@host:3306/database*"),
        ("mysql://nobody:secret@127.0.0.1:1/test", "*no login at 127.0.0.1:1 as 'nobody'*look at the DSN*"),
    ],
)
def test_a_wrong_option_is_told_without_its_password(run: Run, option: str, words: str) -> None:
    """What there is, or what the server says."""
    result = run("def test_it(mysql): ...", f"--persistconn-server={option}")
    assert result.ret != 0
    (result.stdout if "://" in option else result.stderr).fnmatch_lines([words])
    assert "secret" not in result.stdout.str().replace(option, "")


NO_MARIADB = """
    import pytest
    from persistconn.testing import ServerNotFound, mariadb
    @pytest.fixture(scope="session", autouse=True)
    def nothing_installed():
        patch = pytest.MonkeyPatch()
        def find(binary): raise ServerNotFound("no MariaDB: install it")
        patch.setattr(mariadb, "find_mariadbd", find)
        patch.setenv("PERSISTCONN_MYSQLD", "/nonexistent")
        patch.setenv("DOCKER_HOST", "unix:///nonexistent")
        yield
        patch.undo()
    def test_it(mysql): ...
"""


def test_without_a_server_it_is_skipped_with_what_helps(run: Run) -> None:
    """All that was looked for stands in the reason."""
    result = run(NO_MARIADB, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*install it; or: PERSISTCONN_MYSQLD names*; or: no co*"])


@pytest.mark.parametrize("why", ["named", "CI"])
def test_where_it_is_required_its_absence_fails(run: Run, monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    """In continuous integration, and where an option names it, a skipped test would prove nothing."""
    if why == "CI":
        monkeypatch.setenv("CI", "1")
    run(NO_MARIADB, *(["--persistconn-server=local"] if why == "named" else [])).assert_outcomes(errors=1)


def test_without_an_engine_the_container_is_skipped_with_the_reason(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether testcontainers is missing or the engine, and in CI too."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/engine")
    monkeypatch.setenv("CI", "1")
    result = run("def test_it(mysql_container): ...", "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no container*"])


def test_the_marker_refuses_what_it_cannot_do(run: Run) -> None:
    """A unittest.TestCase takes no parameters, and unknown faults are none."""
    code = """
        import pytest, unittest
        class Old(unittest.TestCase):
            @pytest.mark.persistconn(wait_timeout=1)
            def test_it(self): ...
        @pytest.mark.persistconn(faults="meteor")
        def test_unknown(mysql): ...
    """
    result = run(code)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines_random(
        ["*the marker persistconn is for test functions*", "*faults='meteor': there are 'idle'*"]
    )


def test_each_xdist_worker_has_a_server_of_its_own(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And no directory stays."""
    pytest.importorskip("xdist", reason="pytest-xdist is not installed")
    code = """
        import os, pathlib, pytest
        @pytest.mark.parametrize("n", range(4))
        def test_it(mysql, n, mysql_database):
            seen = pathlib.Path(os.environ["SEEN"])
            (seen / f"{os.environ['PYTEST_XDIST_WORKER']} {mysql.port}").touch()
    """
    seen = tmp_path / "seen"
    seen.mkdir()
    monkeypatch.setenv("SEEN", str(seen))
    run(code, "-p", "xdist", "-n", "2", "--dist", "each", "--persistconn-server=mariadb").assert_outcomes(passed=8)
    found = dict(name.split() for name in os.listdir(seen))
    assert {"gw0", "gw1"} == set(found)
    assert 2 == len(set(found.values()))
