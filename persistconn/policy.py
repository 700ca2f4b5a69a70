"""The settings, and the one pure function that decides what a sweep does with a held connection."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from persistconn.errors import ConfigError

# The server closes a session at wait_timeout. Recycling at four fifths of it leaves room for a late sweep, and pinging
# three times within it leaves room for two pings that did not get through.
KEEPALIVE_SHARE = 0.8
PINGS_PER_WAIT_TIMEOUT = 3
# A replay may come late (a machine that was suspended), and the reconciler of workers looks back a day.
SHORTEST_RETENTION = 86400.0


@dataclass(frozen=True)
class Pool:
    """How sessions are lent from a bounded pool, one per set of connect arguments and process.

    Raises :class:`ConfigError` for an impossible value or pair, naming the setting, its value and the limit.
    """

    max_size: int
    """How many sessions there may be at once; those being opened count."""
    min_size: int = 0
    """How many the sweep keeps open although nobody wants them; above, they are closed once idle for ``keepalive``."""
    timeout: float = 30.0
    """Seconds for which a borrower waits for a session before ``PoolTimeout``."""
    leak_stacks: bool = False
    """Whether ``PoolTimeout`` tells in which functions the holders borrowed: some microseconds for each loan."""

    def __post_init__(self) -> None:
        checks = {"max_size": _count, "min_size": _size, "timeout": _duration, "leak_stacks": _switch}
        for name, check in checks.items():
            object.__setattr__(self, name, check(f"pool.{name}", getattr(self, name)))
        if self.min_size > self.max_size:
            raise ConfigError(f"pool.min_size ({self.min_size}) must not be over pool.max_size ({self.max_size})")

    @classmethod
    def from_settings(cls, name: str, value: Any) -> Pool | None:
        """Build it from a mapping of its settings; None (no pool) and what is one already come back as they are."""
        if value is None or isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            raise ConfigError(f"{name} must be a mapping of its settings, such as {{'max_size': 5}}, not {value!r}")
        known = [setting.name for setting in dataclasses.fields(cls)]
        if unknown := [key for key in value if key not in known]:
            raise ConfigError(f"unknown setting {name}.{unknown[0]}: the settings are {', '.join(known)}")
        if "max_size" not in value:
            raise ConfigError(f"{name} needs max_size: how many sessions this process may have open at once")
        return cls(**value)


@dataclass(frozen=True)
class Policy:
    """How connections are kept. All durations are float seconds; ``None`` means "no limit".

    Raises :class:`ConfigError` for an impossible value or pair, naming the setting, its value and the limit.
    """

    keepalive: float = 7 * 3600.0
    """Idle age at which a connection is recycled; never over 0.8 x the session's own ``@@wait_timeout``."""
    ping_every: float = 60.0
    """A connection idle this long is pinged by the sweep (NAT and load balancers cut at 240 s and up)."""
    ping_timeout: float = 2.0
    """A ping that is unanswered this long means that the connection is dead."""
    trust: float = 90.0
    """A connection that proved alive within this is only polled before use; otherwise it is pinged first."""
    max_lifetime: float | None = None
    """Age since connect at which an idle connection is replaced; jitter shortens it by up to 10 %."""
    connect_timeout: float = 10.0
    """The limit of one attempt to connect, handshake and login included."""
    give_up_after: float = 60.0
    """How long a caller waits for a database that is away before ``DatabaseUnavailable``."""
    max_connecting: int = 4
    """How many connects to one server may be under way at once in this process."""
    replay_reads: bool = True
    """Whether a read outside a transaction that was lost in the middle is read once more on a new connection."""
    fast_reads: bool = True
    """Whether an answer to PyMySQL that has arrived whole is read at one go; off, PyMySQL reads every answer itself."""
    retention: float = 7 * 86400.0
    """How long the ledger remembers a job's token; at least a day. Keys are remembered for ever."""
    pool: Pool | None = None
    """Lend from a bounded pool instead of keeping a connection for each thread; a mapping of :class:`Pool`'s settings."""

    def __post_init__(self) -> None:
        for setting in dataclasses.fields(self):
            value = getattr(self, setting.name)
            object.__setattr__(self, setting.name, _CHECKS[setting.name](setting.name, value))
        self._check_pair("ping_every", "keepalive", "an idle connection would be recycled before it is ever pinged")
        self._check_pair("ping_timeout", "ping_every", "a ping must be answered or given up before the next one is due")
        if self.max_lifetime is not None:
            self._check_pair(
                "keepalive", "max_lifetime", "no connection would live long enough to be recycled for idleness"
            )

    def _check_pair(self, shorter: str, longer: str, why: str) -> None:
        low, high = getattr(self, shorter), getattr(self, longer)
        if low > high:
            raise ConfigError(f"{shorter} ({low:g} s) must not be longer than {longer} ({high:g} s): {why}")

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> Policy:
        """Build a policy from a mapping, say Django's ``OPTIONS["persistconn"]``; refuse unknown keys."""
        if not isinstance(settings, Mapping):
            raise ConfigError(f"the persistconn settings must be a mapping of names to values, not {settings!r}")
        known = {setting.name: setting for setting in dataclasses.fields(cls)}
        for name in settings:
            if name not in known:
                raise ConfigError(f"unknown setting {name!r}: the settings are {', '.join(known)}")
        values = dict(settings)
        # ``keepalive=30`` alone is meant as it stands: the defaults of the others give way, a given pair does not.
        for name, limited_by in (
            ("keepalive", "max_lifetime"),
            ("ping_every", "keepalive"),
            ("ping_timeout", "ping_every"),
        ):
            limit = values.get(limited_by)
            if name not in values and _is_number(limit):
                values[name] = min(limit, getattr(cls, name))
        return cls(**values)

    def keepalive_under(self, wait_timeout: float | None) -> float:
        """Return the idle age at which a session with this ``@@wait_timeout`` is recycled."""
        return self.keepalive if wait_timeout is None else min(self.keepalive, KEEPALIVE_SHARE * wait_timeout)

    def ping_every_under(self, wait_timeout: float | None) -> float:
        """Return how often an idle session with this ``@@wait_timeout`` is pinged."""
        return self.ping_every if wait_timeout is None else min(self.ping_every, wait_timeout / PINGS_PER_WAIT_TIMEOUT)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _duration(name: str, value: Any) -> float:
    if not _is_number(value) or not math.isfinite(value):
        raise ConfigError(f"{name} must be a number of seconds, not {value!r}")
    if value <= 0:
        raise ConfigError(f"{name} ({value:g} s) must be greater than 0")
    return float(value)


def _optional_duration(name: str, value: Any) -> float | None:
    return None if value is None else _duration(name, value)


def _retention(name: str, value: Any) -> float:
    seconds = _duration(name, value)
    if seconds < SHORTEST_RETENTION:
        raise ConfigError(
            f"{name} ({seconds:g} s) must be at least {SHORTEST_RETENTION:g} s: what has been forgotten cannot be told from new"
        )
    return seconds


def _count(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ConfigError(f"{name} ({value}) must be at least 1")
    return value


def _size(name: str, value: Any) -> int:
    return 0 if value == 0 and not isinstance(value, bool) else _count(name, value)


def _switch(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be True or False, not {value!r}")
    return value


_CHECKS = {
    "keepalive": _duration,
    "ping_every": _duration,
    "ping_timeout": _duration,
    "trust": _duration,
    "max_lifetime": _optional_duration,
    "connect_timeout": _duration,
    "give_up_after": _duration,
    "max_connecting": _count,
    "replay_reads": _switch,
    "fast_reads": _switch,
    "retention": _retention,
    "pool": Pool.from_settings,
}


class Reason(Enum):
    """Why a raw connection was given up; the same word stands in the log, the figures and ``connections()``."""

    IDLE = "idle for keepalive"
    LIFETIME = "older than max_lifetime"
    HUNG_UP = "the server hung up"
    PING_FAILED = "a ping was not answered"
    LOST = "lost during a statement"
    ESCAPED = "an exception between send and reply"
    WRONG_SERVER = "the server refused to write"
    UNREAD = "rows left unread at the boundary"
    SESSION_STATE = "session state that cannot be rebuilt"
    OWNER_DIED = "its thread ended"
    FORKED = "the process forked"
    RETIRED = "given back for good"
    SHUTDOWN = "shutdown"


class Verdict(Enum):
    """What the sweep does with one held connection."""

    KEEP = "keep"
    PING = "ping"
    RECYCLE = "recycle"
    """Replace a live connection: make the new one before the old one is broken."""
    REPLACE = "replace"
    """The connection is dead: put a new one in its place before its owner needs it."""
    REAP = "reap"
    """Its owner is dead: close it."""


@dataclass(frozen=True)
class Condition:
    """What :func:`decide` needs to know of a held connection; stamps are of the keeper's monotonic clock."""

    owner_alive: bool = True
    busy: bool = False
    """In use by its owner, or reserved, or in a transaction, or with rows to read: not to be touched."""
    vacant: bool = False
    """No raw connection: the last one was lost and none has been made since."""
    hung_up: bool = False
    pinned: bool = False
    """It holds state that cannot be rebuilt: it is pinged, but never recycled."""
    connected_at: float = 0.0
    used_at: float = 0.0
    proved_at: float = 0.0
    """Proof of life: when the server last answered anything."""
    wait_timeout: float | None = None
    lifetime_jitter: float = field(default=0.0)
    """The share of ``max_lifetime``, 0 to 0.1, by which this connection is retired early."""


def decide(condition: Condition, policy: Policy, now: float) -> tuple[Verdict, Reason | None]:
    """Say what the sweep does with a held connection, and why."""
    if not condition.owner_alive:
        return Verdict.REAP, Reason.OWNER_DIED
    if condition.busy:
        return Verdict.KEEP, None
    if condition.vacant:
        return Verdict.REPLACE, None
    if condition.hung_up:
        # With state that cannot be rebuilt its owner must be told, by the statement that finds it.
        return (Verdict.KEEP, None) if condition.pinned else (Verdict.REPLACE, Reason.HUNG_UP)
    if not condition.pinned:
        if policy.max_lifetime is not None:
            lifetime = policy.max_lifetime * (1 - condition.lifetime_jitter)
            if now - condition.connected_at >= lifetime:
                return Verdict.RECYCLE, Reason.LIFETIME
        if now - condition.used_at >= policy.keepalive_under(condition.wait_timeout):
            return Verdict.RECYCLE, Reason.IDLE
    if now - condition.proved_at >= policy.ping_every_under(condition.wait_timeout):
        return Verdict.PING, None
    return Verdict.KEEP, None
