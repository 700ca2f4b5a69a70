"""Who takes part. A contestant is made once in its process, then once on each thread; what that returns is the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.contestants import django, raw

Task = Callable[[], object]
OnThread = Callable[[], Task]
"""Called on each thread, which does the returned task again and again."""
Make = Callable[[dict[str, Any]], OnThread]
"""Takes PyMySQL's arguments of ``connect()``."""

MAKERS: Mapping[str, Make] = {**raw.MAKERS, **django.MAKERS}
