"""What a test's marker asks for."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

#: The fixtures that a test may know its server by; the first one is what the tools take if it knows none.
ALIASES = ["mysql", "mysql_server", "mysql_container"]
MARKER = "persistconn"

#: How a test run names its server, beside a DSN: those of persistconn.testing.installation.
KINDS = ("auto", "local", "mariadb", "mysql", "container")


@dataclass(frozen=True)
class Asked:
    """The arguments of the marker, checked as far as that can be done without importing anything."""

    variables: tuple[tuple[str, Any], ...] = ()
    faults: str | tuple[str, ...] | None = None
    seed: int | None = None
    every: int | None = None
    own: str | None = None

    @property
    def needs_a_server(self) -> bool:
        """Whether the shared one as it is will not do."""
        return bool(self.variables or self.faults or self.own)

    @property
    def of_server(self) -> Asked:
        """What matters to the server: equal for tests that can have the same one, one after the other."""
        return dataclasses.replace(self, faults="any" if self.faults else None, seed=None, every=None)

    @property
    def label(self) -> str:
        """What stands in the test's id."""
        words = [f"{name}={value}" for name, value in self.variables]
        return ",".join([*words, *(["faults"] if self.faults else []), *(["own"] if self.own else [])])


def asked_by(item: Any) -> Asked | None:
    """Return what the markers of a test, its class and its module ask for, the nearest one first; None without any."""
    markers = list(item.iter_markers(MARKER))
    if not markers:
        return None
    settings: dict[str, Any] = {}
    for marker in reversed(markers):
        if marker.args:
            raise pytest.UsageError(
                f"{item.nodeid}: the marker persistconn takes keyword arguments alone, not {marker.args!r}"
            )
        settings.update(marker.kwargs)
    return _read(item, settings)


def _read(item: Any, settings: dict[str, Any]) -> Asked:
    faults, seed, every = (settings.pop(name, None) for name in ("faults", "seed", "every"))
    is_own = settings.pop("own_server", False)
    for name, value in (("seed", seed), ("every", every)):
        if value is not None and (not isinstance(value, int) or value < (1 if name == "every" else 0)):
            raise pytest.UsageError(f"{item.nodeid}: {name}={value!r} must be a whole number")
    return Asked(
        variables=tuple(sorted(settings.items())),
        faults=faults if isinstance(faults, str) or not faults else tuple(faults),
        seed=seed,
        every=every,
        own=item.nodeid if is_own else None,
    )
