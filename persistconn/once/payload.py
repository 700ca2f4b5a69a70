"""What goes into a job and comes out of it: arguments that are copied for each attempt, and a result that the ledger keeps."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from typing import Any

from persistconn.errors import NotReplayable

RESULT_LIMIT = 65536
"""Bytes of a result as JSON: it is kept in the ledger with the job's outcome, not a place for data."""


class Arguments:
    """The arguments of one call; each attempt gets a copy of them as they were when the job was called."""

    def __init__(self, job: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raise NotReplayable for an argument that cannot be copied, naming it."""
        self._job = job
        self._pickled: bytes | None = None
        if not args and not kwargs:
            return
        try:
            self._pickled = pickle.dumps((args, dict(kwargs)), pickle.HIGHEST_PROTOCOL)
        except Exception as error:
            raise NotReplayable(_complaint(job, args, kwargs, error)) from error

    def copy(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return a fresh copy; raises NotReplayable for arguments that can be taken apart, but not put together."""
        if self._pickled is None:
            return (), {}
        try:
            args, kwargs = pickle.loads(self._pickled)  # noqa: S301 - what this very object has written
        except Exception as error:
            raise NotReplayable(
                f"the arguments of the job {self._job} cannot be put together again for an attempt ({error}):"
                " give it plain values, such as ids"
            ) from error
        return args, kwargs


def _complaint(job: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], error: Exception) -> str:
    named = {**{f"argument {place}": value for place, value in enumerate(args, 1)}, **kwargs}
    guilty = next((name for name, value in named.items() if not _can_be_copied(value)), "an argument")
    kind = type(named.get(guilty)).__name__
    return (
        f"{guilty} of the job {job} ({kind}) cannot be copied for a replay: {error}."
        " Give it plain values, such as ids, and make generators and open files inside the job"
    )


def _can_be_copied(value: object) -> bool:
    try:
        pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    except Exception:
        return False
    return True


def encode(job: str, result: Any) -> str | None:
    """Return a result as the ledger keeps it; raises NotReplayable for one that it cannot keep."""
    if result is None:
        return None
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise NotReplayable(
            f"the job {job} returned {_described(result)}, which is no JSON ({error}): the ledger keeps what a job returns,"
            " for callers who come after it. Return numbers, strings, lists and dictionaries, or nothing"
        ) from error
    if len(text) > RESULT_LIMIT:
        raise NotReplayable(
            f"the job {job} returned {len(text)} bytes of JSON, and the ledger keeps {RESULT_LIMIT}:"
            " write the data into a table of yours and return its key"
        )
    return text


def decode(text: str | None) -> Any:
    """Return the result that :func:`encode` was given: its JSON, so a tuple comes back as a list."""
    return None if text is None else json.loads(text)


def _described(result: Any) -> str:
    article = "an" if type(result).__name__[0].lower() in "aeiou" else "a"
    return f"{article} {type(result).__name__}"
