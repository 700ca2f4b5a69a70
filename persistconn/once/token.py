"""The token of a job: 32 bytes, equal for everything that must take effect once. Pure."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, NamedTuple

SIZE = 32
# The time goes first: rows that are written together lie together, and so do those that are purged together.
_STAMP_SIZE = 6


class Token(NamedTuple):
    """What names one effect in the ledger. ``issued`` is None for a key, which is remembered for ever."""

    digest: bytes
    job: str
    key: str | None = None
    issued: datetime | None = None
    scheduled: datetime | None = None

    def __str__(self) -> str:
        return self.digest.hex()

    def describe(self) -> str:
        """Name it for people: the job, its key or its time, and the beginning of the token."""
        if self.scheduled is not None:
            what = f"{self.job} scheduled {self.scheduled.isoformat(sep=' ', timespec='seconds')}"
        else:
            what = self.job if self.key is None else f"{self.job} [{self.key}]"
        return f"{what} (token {self})"


def random_token(job: str, now: datetime) -> Token:
    """Return the token of one call, which nobody else can have."""
    return Token(_stamp(now) + os.urandom(SIZE - _STAMP_SIZE), job, issued=now.astimezone(timezone.utc))


def key_token(job: str, key: str) -> Token:
    """Return the token of a job and a key of the caller's, the same on every machine and for ever."""
    return Token(_digest("key", job, key), job, key=key)


def fire_token(service: str, job: str, scheduled: datetime, *, wall: str | None = None) -> Token:
    """Return the token of one due time of a cron job, the same on every machine.

    ``wall`` is the local date and time for a job that runs once although the clock shows that time twice.
    """
    utc = scheduled.astimezone(timezone.utc)
    # By the wall clock the two times of one token have the same date, but not the same instant: no stamp goes first.
    digest = (
        _digest("wall", service, job, wall) if wall else _stamp(utc) + _digest("fire", service, job, utc.isoformat())
    )
    return Token(digest[:SIZE], f"{service}/{job}", issued=utc, scheduled=utc)


def fingerprint(job: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    """Return 32 bytes that tell a job and its arguments from others under the same token.

    What JSON cannot show counts by its type (and a model of Django by its primary key), so it must not depend on memory.
    """
    return _print_of(job, args, kwargs) if args or kwargs else _print_without_arguments(job)


@functools.lru_cache(maxsize=1024)
def _print_without_arguments(job: str) -> bytes:
    return _print_of(job, (), {})


def _print_of(job: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
    shown = json.dumps([job, _plain(args), _plain(kwargs)], default=_shown)
    return hashlib.sha256(shown.encode()).digest()


def _plain(value: Any) -> Any:
    """Return a value with its dictionaries and sets in an order that is always the same: their keys need not compare."""
    if isinstance(value, Mapping):
        return {"": sorted(json.dumps([_plain(key), _plain(value)], default=_shown) for key, value in value.items())}
    if isinstance(value, (set, frozenset)):
        return {"set": sorted(json.dumps(_plain(each), default=_shown) for each in value)}
    return [_plain(each) for each in value] if isinstance(value, (list, tuple)) else value


def _shown(value: Any) -> Any:
    kind = f"{type(value).__module__}.{type(value).__qualname__}"
    if isinstance(value, (datetime, bytes)) or type(value).__module__ in ("decimal", "uuid", "datetime"):
        return [kind, str(value)]
    return [kind, repr(value.pk)] if hasattr(value, "pk") else kind


def _stamp(moment: datetime) -> bytes:
    return int(moment.timestamp() * 1000).to_bytes(_STAMP_SIZE, "big", signed=False)


def _digest(*parts: str) -> bytes:
    # The lengths stand before the parts, so that no two lists of parts read alike.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).digest()
