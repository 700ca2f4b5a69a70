"""A server that does not start says why, and what helps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from persistconn.testing import MariaDB, ServerError, installation
from persistconn.testing.process import PortTaken, _advise, _explain_port

pytestmark = pytest.mark.server


def test_a_directory_that_cannot_be_written_to(server: MariaDB) -> None:
    """Its path, the system's reason, and the command that makes it ours; nobody may write there, root included."""
    own = MariaDB(directory=Path("/proc/self/persistconn"))
    with pytest.raises(ServerError, match=r"(?s)/proc/self/persistconn cannot be made.*sudo install -d -o \$USER"):
        own.start()
    own.close()


def test_no_place_for_temporary_files(server: MariaDB, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full or read-only: another one can be named."""
    monkeypatch.setattr("tempfile.tempdir", "/proc/self/none")
    with pytest.raises(ServerError, match=r"set TMPDIR to a directory.*export TMPDIR="):
        MariaDB()


def test_a_port_that_is_taken_is_found_by_a_command(server: MariaDB) -> None:
    """Of somebody whom we do not know."""
    with (
        pytest.raises(PortTaken, match=r"port is taken: end what listens there \(`ss -ltnp` shows it\)"),
        MariaDB(port=server.port),
    ):
        pass


@pytest.mark.parametrize(
    "said",
    [
        "[ERROR] Can't start server: Bind on TCP/IP port. Got error: 13: Permission denied",
        "[ERROR] [MY-010257] [Server] Can't start server: Bind on TCP/IP port: Permission denied",
    ],
)
def test_a_port_that_needs_root(said: str) -> None:
    """The tests may run as root, who may: these are the words of both servers."""
    error = _explain_port(said)
    assert not isinstance(error, PortTaken)
    assert "below 1024 needs root" in str(error)


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("mariadbd: unknown variable 'nope=1'", "check the name"),
        ("InnoDB: Error number 28 means 'No space left on device'", "make room"),
        ("mysqld: Can't create/write to file '/x' (OS errno 13 - Permission denied)", "AppArmor"),
        ("something else", "what it says last is the reason"),
    ],
)
def test_its_last_words_come_with_advice(said: str, advice: str) -> None:
    """By what both servers say."""
    assert advice in _advise(said)


@pytest.mark.parametrize(("user", "command"), [(0, "apt-get install"), (1000, "sudo apt-get install")])
def test_installing_needs_root(monkeypatch: pytest.MonkeyPatch, user: int, command: str) -> None:
    """The command is the one that this user would have to say."""
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr("sys.platform", "linux")
    assert installation.install_command().startswith(command)
