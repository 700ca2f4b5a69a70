"""The benchmarks stand beside the package, not in its wheel: the tests find them in the tree, behind what is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from persistconn.testing import MariaDB

if TYPE_CHECKING:
    from campaigns.places import Private

ROOT = str(Path(__file__).resolve().parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)


@pytest.fixture(scope="session")
def place(server: MariaDB) -> Iterator[Private]:
    """A server of its own: what is counted is counted globally. Skips or fails as ``server`` does."""
    from benchmarks import ground

    with ground.private() as place:
        yield place


@pytest.fixture(scope="session")
def arguments(place: Private) -> dict[str, Any]:
    """Connect arguments for the tables of the benchmarks."""
    from benchmarks import ground

    return ground.furnish(place)
