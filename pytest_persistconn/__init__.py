"""The pytest plugin: options, the marker, and what pytest is told. docs/testing.md shows it at work.

It is loaded in every test run of whoever has installed persistconn, so until it is used it imports nothing but pytest:
that is also why it does not stand inside of persistconn, which would be imported with it (0.1 s).
"""

from __future__ import annotations

import dataclasses

import pytest

from pytest_persistconn.asked import ALIASES, KINDS, Asked, asked_by

pytest_plugins = [
    "pytest_persistconn.servers",
    "pytest_persistconn.tools",
    "pytest_persistconn.scenario",
    "pytest_persistconn.drop",
]

_HIDDEN = getattr(pytest, "HIDDEN_PARAM", None)  # pytest 8.4 and newer


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("persistconn")
    group.addoption(
        "--persistconn-server",
        default="auto",
        metavar="KIND|DSN",
        help="the server of the fixture mysql: auto (default: local, else container), local (MariaDB, else MySQL), mariadb,"
        " mysql, container, or a DSN (mysql://user:password@host:port/database)",
    )
    group.addoption(
        "--persistconn-mysql-image",
        metavar="IMAGE",
        help="the image of the fixture mysql_container (default: PERSISTCONN_MYSQL_IMAGE, else mysql:8.4)",
    )
    group.addoption(
        "--persistconn-seed", type=int, metavar="N", help="the seed of all tests with faults, in place of their own"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "persistconn(*, faults, seed, every, own_server, **variables): a test with a server of its own (own_server=True, or"
        " server variables such as wait_timeout=1), or under faults ('random', 'idle', 'lost', 'slow', or a list)",
    )
    _check_kind(config)


def _check_kind(config: pytest.Config) -> None:
    kind = config.getoption("--persistconn-server")
    if kind not in KINDS and "://" not in kind:
        raise pytest.UsageError(f"--persistconn-server={kind}: there are {', '.join(KINDS)}, and DSNs")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a marked test its own kind of server: the session's fixtures are set up anew around it."""
    asked = asked_by(metafunc.definition)
    if asked is None or not asked.needs_a_server:
        return
    names = [name for name in ALIASES if name in metafunc.fixturenames]
    if not names:
        # Not asked for by name, but by one of the tools, which look for it by this one.
        names = ALIASES[:1]
        metafunc.fixturenames.append(names[0])
    for name in names:
        ids = [_HIDDEN if _HIDDEN is not None else asked.label]
        metafunc.parametrize(name, [_one_of_its_kind(metafunc.config, asked)], indirect=True, scope="session", ids=ids)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Tell the cases of a parametrized test apart that wants a server of its own: each gets one."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    for name in ALIASES:
        asked = params.get(name)
        if isinstance(asked, Asked) and asked.own:
            params[name] = dataclasses.replace(asked, own=item.nodeid)


_ASKED: pytest.StashKey[dict[Asked, Asked]] = pytest.StashKey()


def _one_of_its_kind(config: pytest.Config, asked: Asked) -> Asked:
    """Return the same object for equal wishes: pytest keeps a fixture for the next test if its parameter is the same one."""
    known = config.stash.setdefault(_ASKED, {})
    of_server = asked.of_server
    return known.setdefault(of_server, of_server)
