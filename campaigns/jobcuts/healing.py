"""Ends the faults of a case that are to end: a moment after they struck, or when the client has given up."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from types import TracebackType

from campaigns.cuts.bench import HICCUP
from campaigns.cuts.cases import HEALED
from campaigns.jobcuts.cases import Strike
from persistconn.testing.faults import Armed, FaultProxy

_LOOK = 0.002
_LATEST = 0.03
"""Seconds into the replay at which what was stalled arrives at last."""


class Healer:
    """Watches the armed strikes of one case, on a thread of its own between the ends of a ``with`` block."""

    def __init__(self, proxy: FaultProxy, strikes: Iterable[tuple[Strike, Armed]], rng: random.Random) -> None:
        self._proxy = proxy
        self._waiting = [(strike, armed) for strike, armed in strikes if strike.fault in HEALED]
        self._rng = rng
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cuts-healer", daemon=True)

    def __enter__(self) -> Healer:
        if self._waiting:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._waiting:
            self._thread.join()

    def _run(self) -> None:
        for strike, armed in self._waiting:
            while not armed.fired:
                if self._over.wait(_LOOK):
                    return
            if strike.fault == "hiccup":
                self._over.wait(HICCUP)
            else:
                self._wait_for_replay()
            self._proxy.heal()

    def _wait_for_replay(self) -> None:
        """Wait until the client has connected anew, and for some of the packets that it sends there."""
        known = self._newest()
        while self._newest() == known:
            if self._over.wait(_LOOK):
                return
        self._over.wait(self._rng.uniform(0.0, _LATEST))

    def _newest(self) -> int:
        return max((packet.conversation for packet in self._proxy.trace), default=0)
