"""Where cases are run, and how one goes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from campaigns.cuts.bench import LIMIT, Bench, has_struck, shape_of
from campaigns.cuts.cases import HEALED, Case
from campaigns.cuts.conversation import TABLES, Script, Subject, first_unit, second_unit, speak
from campaigns.cuts.oracle import Finding, Mode, Record, Reply, Told, is_doubtful, judge
from campaigns.cuts.servers import Access
from persistconn.testing.faults import Packet

_SLOW = 0.35
"""A wait that is as long as the shortest time limit, if that is no longer than usual: what fails after it may have failed for
a busy machine."""
_RECORDINGS = 10

MakeSubject = Callable[[Mapping[str, Any]], Subject]
OBSTINATE = Script()


@dataclass(frozen=True)
class Recording:
    """The packets of a whole conversation: those of the connect, and those of the unit of work."""

    connect: list[Packet]
    unit: list[Packet]

    @property
    def packets(self) -> list[Packet]:
        """All of them."""
        return self.connect + self.unit

    @property
    def shape(self) -> list[tuple[object, ...]]:
        """What every conversation of the kind has in common."""
        return shape_of(self.packets)


@dataclass(frozen=True)
class Result:
    """A case, what is known of it and what is wrong with it; ``seconds`` is what it cost."""

    case: Case
    record: Record
    findings: tuple[Finding, ...]
    seconds: float
    again: int = 0
    """How often it had been run before, because the machine was too busy to tell."""
    longer: int = 1
    """How much longer the client's time limits were than usual."""

    @property
    def is_doubtful(self) -> bool:
        """Whether the machine was too busy to answer in time, and nothing else may be wrong."""
        return is_doubtful(self.record, self.findings, slow=_SLOW * self.longer)


class Station(Bench):
    """Runs cases, one at a time, on the thread that made it."""

    def __init__(self, access: Access) -> None:
        super().__init__(access, TABLES)

    # --- recording -------------------------------------------------------------------------------------------------

    def record(self, mode: Mode, make: MakeSubject, script: Script = OBSTINATE) -> Recording:
        """Record a conversation in which nothing is broken; raises AssertionError if no two of them are alike."""
        # The first fills caches (of MySQL's login, say) that later ones find filled, and a busy machine may spoil any.
        earlier: list[tuple[object, ...]] = []
        replies: tuple[Reply, ...] = ()
        for _ in range(_RECORDINGS):
            replies, recording = self._record(mode, make, script)
            shape = recording.shape
            if all(reply.told is Told.OK for reply in replies) and shape == earlier:
                return recording
            earlier = shape
        raise AssertionError(f"no two conversations were alike; the last one was {replies}")

    def _record(self, mode: Mode, make: MakeSubject, script: Script) -> tuple[tuple[Reply, ...], Recording]:
        subject = make(self.address)
        self._proxy.forget_trace()
        marker, row = self._prepare()
        connect, *steps = first_unit(subject, mode, marker, row, script)
        replies = speak(subject, [connect], is_polite=True, ends=False)
        before = len(self._proxy.trace)
        replies += speak(subject, steps, is_polite=script.is_polite)
        trace = self._proxy.trace
        subject.dispose()
        self._wait_for_quiet()
        return replies, Recording(trace[:before], trace[before:])

    # --- one case --------------------------------------------------------------------------------------------------

    def run(
        self,
        case: Case,
        make: MakeSubject,
        script: Script = OBSTINATE,
        *,
        limit: float = LIMIT,
        longer: int = 1,
    ) -> Result:
        """Run a case and judge it. ``longer`` is what the client's time limits have been multiplied by."""
        began = time.monotonic()
        mode = case.combination.mode
        subject = make(self.address)
        marker, row = self._prepare()
        with self._limited(limit) as hung:
            armed = self._proxy.arm(case.rule())
            with self._healing_soon(armed) if case.fault == "hiccup" else contextlib.nullcontext():
                steps = first_unit(subject, mode, marker, row, script)
                unit = speak(subject, steps, is_polite=script.is_polite)
                struck = has_struck(armed)
            if case.fault in HEALED:
                self._proxy.heal()
            next_marker = f"{marker}-next"
            next_unit = speak(subject, second_unit(subject, mode, next_marker, script), is_polite=True)
            subject.dispose()
        left_over = self._find_left_over(is_hole=case.fault == "hole")
        record = Record(
            mode,
            marker,
            unit,
            next_unit,
            next_marker,
            effects=self._effects(marker, row, next_marker),
            left_over=left_over,
            hung=hung.is_set(),
            struck=struck,
            must_be_silent=case.fault == "hiccup",
            has_setting=script.has_setting,
        )
        return Result(case, record, tuple(judge(record)), time.monotonic() - began, longer=longer)
