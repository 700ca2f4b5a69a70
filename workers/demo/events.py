"""What the two service processes tell the demo: one JSON object a line."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from persistconn.errors import PersistconnError


@dataclass(frozen=True)
class Started:
    """The service is about to fire its first job."""


@dataclass(frozen=True)
class Run:
    """One run of a job that has ended."""

    job: str
    thread: str
    kind: str | None
    """The kind of error that came out of the job; None if none did."""
    text: str


@dataclass(frozen=True)
class Held:
    """One held connection, as far as the table shows it. Durations in seconds."""

    owner: str
    session_id: int | None
    state: str
    age: float | None
    idle: float
    recycles: dict[str, int]


@dataclass(frozen=True)
class Connections:
    """All connections that the service holds at a moment."""

    held: tuple[Held, ...]


Event = Started | Run | Connections


def run_event(job: str, thread: str, error: BaseException | None) -> Run:
    """Return the event of a run."""
    if error is None:
        return Run(job, thread, None, "")
    return Run(job, thread, kind_of(error), " ".join(str(error).split()))


def kind_of(error: BaseException) -> str:
    """Name the kind of an error for counting: its class, and the driver's number where that tells more."""
    name = type(error).__name__
    if isinstance(error, PersistconnError) or not error.args or not isinstance(error.args[0], int):
        return name
    # PyMySQL's (0, '') is what all statements get on a connection that it has given up.
    return f"{name} {error.args[0]}" if error.args[0] else f"{name} {error.args!r}"


def encode(event: Event) -> str:
    """Return the event as one line, without its end."""
    return json.dumps({"event": type(event).__name__, **dataclasses.asdict(event)})


def decode(line: str) -> Event | None:
    """Return the event of a line; None for one that is none, such as what a job printed."""
    try:
        fields = json.loads(line)
        kind = fields.pop("event")
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    if kind == Started.__name__:
        return Started()
    if kind == Run.__name__:
        return Run(**fields)
    if kind == Connections.__name__:
        return Connections(tuple(Held(**held) for held in fields["held"]))
    return None
