"""``python -m workers demo``: the same jobs here and on stock Django, while a server of their own goes through the worst.

The faults are real: sessions that outlive ``wait_timeout``, an administrator's KILL, and ``kill -9`` of the server. What
came of it is read from the server at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from workers.demo.options import parse


def main(argv: Sequence[str]) -> int:
    """Run the demo; returns 0 if our side kept its promise, 1 if not, 2 if something has to be put right first."""
    try:
        options = parse(argv)
    except SystemExit as end:
        return int(end.code or 0)
    from workers.demo.conductor import conduct

    return conduct(options)
