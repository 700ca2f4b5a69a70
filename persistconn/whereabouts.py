"""Where in the user's code a thread is, for people who look for a leak."""

from __future__ import annotations

import sys
from pathlib import PurePath
from types import FrameType

_LIBRARIES = (
    "persistconn",
    "django",
    "pymysql",
    "MySQLdb",
    "contextlib",
    "functools",
    "asgiref",
    "threading",
    "concurrent",
)
_DEPTH = 3


def whereabouts() -> str:
    """Name the innermost functions of the calling thread that are no library's, the callee first."""
    frame: FrameType | None = sys._getframe(1)
    places: list[str] = []
    while frame is not None and len(places) < _DEPTH:
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] not in _LIBRARIES:
            code = frame.f_code
            places.append(f"{module}.{code.co_name} ({PurePath(code.co_filename).name}:{frame.f_lineno})")
        frame = frame.f_back
    return " < ".join(places)
