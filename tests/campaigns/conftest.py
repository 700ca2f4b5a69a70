"""The campaigns stand beside the package, not in its wheel: the tests find them in the tree, behind what is installed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from persistconn.testing import ServerNotFound, find_mariadbd

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)


@pytest.fixture(autouse=True)
def needs_a_server(request: pytest.FixtureRequest) -> None:
    """Skip on a laptop without a server; in CI a missing one fails: a skipped test proves nothing."""
    if request.node.get_closest_marker("server") is None:
        return
    try:
        find_mariadbd()
    except ServerNotFound as missing:
        if os.environ.get("CI") or os.environ.get("PERSISTCONN_REQUIRE_SERVER"):
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(params=["pymysql", "mysqlclient"])
def driver(request: pytest.FixtureRequest) -> str:
    """Each driver that is installed; where mysqlclient is required, its absence fails."""
    name = str(request.param)
    if name == "mysqlclient" and not os.environ.get("PERSISTCONN_REQUIRE_MYSQLCLIENT"):
        pytest.importorskip("MySQLdb", reason="mysqlclient is not installed")
    return name
