"""What one case may end in: exactly one effect, and not a word to the caller. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from campaigns.cuts.oracle import DIGITS


class Flaw(Enum):
    """A promise that did not hold."""

    SURFACED = "error surfaced"
    WRONG_RESULT = "wrong result"
    LOST = "effect lost"
    DOUBLED = "effect doubled"
    TORN = "half an effect"
    LEDGER = "wrong ledger row"
    NOTICED = "replayed where nothing was lost"
    NEXT = "next job broken"
    OPEN = "transaction left open"
    LEFT_OVER = "session left over"
    HUNG = "hung"
    MISSED = "the fault never struck"


@dataclass(frozen=True)
class Said:
    """What a call returned, or the error that it raised, in words."""

    result: Any = None
    error: str | None = None


@dataclass(frozen=True)
class LedgerRow:
    """A row of the ledger: its state, the number of the attempt that wrote it, and the result that it keeps."""

    state: str
    attempts: int
    result: Any


@dataclass(frozen=True)
class Record:
    """All that is known of one case when it is over."""

    marker: str
    said: Said
    again: Said
    """Of the second call: under the same key, or of another job on the same connection."""
    is_keyed: bool
    effects: dict[str, int] = field(default_factory=dict)
    """How often each write is on the server: "insert", "update", and "next" for the second call's."""
    ledger: tuple[LedgerRow, ...] = ()
    next_ledger: tuple[LedgerRow, ...] = ()
    """The rows of the second call's own token; none for a key, which has one."""
    open_transactions: tuple[str, ...] = ()
    """What was still open when the first call had returned, but for what was healed or went on."""
    left_over: tuple[str, ...] = ()
    hung: bool = False
    struck: bool = True
    struck_twice: bool = False
    must_be_silent: bool = False
    mishaps: int = 0
    """Attempts that did not come to their end."""

    @property
    def is_proved(self) -> bool:
        """Whether a later attempt found that an earlier one had been committed."""
        return len(self.ledger) == 1 and self.mishaps + 1 > self.ledger[0].attempts


@dataclass(frozen=True)
class Finding:
    """A flaw, and the words for it."""

    flaw: Flaw
    text: str


EXCUSABLE = frozenset({Flaw.MISSED, Flaw.NOTICED})
"""What a machine that is too busy to answer in time can bring about; if it does so again, it is none of that."""


def is_doubtful(findings: Iterable[Finding]) -> bool:
    """Say whether a busy machine may be all that is wrong with a case."""
    flaws = {finding.flaw for finding in findings}
    return bool(flaws) and flaws <= EXCUSABLE


def result_of(marker: str) -> dict[str, Any]:
    """Return what a job returns."""
    return {"marker": marker, "hits": 1, "digits": list(range(DIGITS))}


def judge(record: Record) -> list[Finding]:
    """Return everything that is wrong with a case; nothing if the promise held."""
    return [
        *_judge_run(record),
        *_judge_call(record),
        *_judge_effects(record),
        *_judge_ledger(record),
        *_judge_next(record),
    ]


def _judge_run(record: Record) -> Iterator[Finding]:
    if record.hung:
        yield Finding(Flaw.HUNG, "the case was ended from outside")
    if not record.struck:
        yield Finding(Flaw.MISSED, "no packet of the conversation was the one")
    if record.open_transactions:
        yield Finding(Flaw.OPEN, f"behind the job: {'; '.join(record.open_transactions)}")
    if record.left_over:
        yield Finding(Flaw.LEFT_OVER, f"still on the server: {'; '.join(record.left_over)}")


def _judge_call(record: Record) -> Iterator[Finding]:
    said = record.said
    if said.error is not None:
        yield Finding(Flaw.SURFACED, said.error)
    elif said.result != result_of(record.marker):
        yield Finding(Flaw.WRONG_RESULT, f"it returned {said.result!r}")
    if record.must_be_silent and record.mishaps:
        yield Finding(Flaw.NOTICED, f"{record.mishaps} attempts failed")


def _judge_effects(record: Record) -> Iterator[Finding]:
    counts = {write: record.effects.get(write, 0) for write in ("insert", "update")}
    if len(set(counts.values())) > 1:
        yield Finding(Flaw.TORN, f"the writes are there {counts}")
    elif counts["insert"] == 0:
        yield Finding(Flaw.LOST, "nothing is there")
    if max(counts.values()) > 1:
        yield Finding(Flaw.DOUBLED, f"the writes are there {counts}")


def _judge_ledger(record: Record) -> Iterator[Finding]:
    if len(record.ledger) != 1:
        yield Finding(Flaw.LEDGER, f"there are {len(record.ledger)} rows: {record.ledger}")
    elif record.ledger[0].state != "done" or record.ledger[0].result != result_of(record.marker):
        yield Finding(Flaw.LEDGER, f"{record.ledger[0]}")


def _judge_next(record: Record) -> Iterator[Finding]:
    if record.again.error is not None:
        yield Finding(Flaw.NEXT, record.again.error)
        return
    marker = record.marker if record.is_keyed else f"{record.marker}-next"
    if record.again.result != result_of(marker):
        yield Finding(Flaw.NEXT, f"it returned {record.again.result!r}")
    wanted = 0 if record.is_keyed else 1
    if record.effects.get("next", 0) != wanted or len(record.next_ledger) != wanted:
        found = f"{record.effects.get('next', 0)} times, with the rows {record.next_ledger}"
        yield Finding(Flaw.NEXT, f"its effect is there {found}")
