"""What one case may end in: what the client was told, against the rows on the server. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum

Answer = tuple[tuple[object, ...], ...] | int | None
"""Rows, the number of rows that a write has touched, or nothing (``commit()``)."""

DIGITS = 5
READ_DIGIT = 3
SETTING, SET_AT_CONNECT = 77, 5
WRITES = ("insert", "update")


class Mode(Enum):
    """How the client keeps its writes together."""

    AUTOCOMMIT = "autocommit"
    TRANSACTION = "transaction"
    """``autocommit=0``: the first statement opens a transaction."""
    BLOCK = "block"
    """``BEGIN`` under autocommit, which is what Django does."""

    @property
    def is_atomic(self) -> bool:
        """Whether the writes of a unit take effect together."""
        return self is not Mode.AUTOCOMMIT


class Told(Enum):
    """What the client was told about one step."""

    OK = "answered"
    TRANSACTION_LOST = "TransactionLost"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    NOTHING_CHANGED = "another typed error"
    RAW = "a raw error"

    @property
    def is_typed(self) -> bool:
        """Whether it is an error that says what was lost."""
        return self not in (Told.OK, Told.RAW)


class Flaw(Enum):
    """A promise that did not hold."""

    RAW_ERROR = "raw error surfaced"
    NOTICED = "error where nothing was lost"
    WRONG_ROWS = "wrong rows"
    LOST = "lost row"
    DOUBLED = "doubled row"
    GHOST = "told as undone, but there"
    TORN = "half a transaction"
    WENT_ON = "went on after a lost transaction"
    NEXT_UNIT = "next unit broken"
    LEFT_OVER = "session left over"
    HUNG = "hung"
    MISSED = "the fault never struck"


@dataclass(frozen=True)
class Reply:
    """What came of one step of the conversation; ``waited`` is seconds."""

    step: str
    told: Told
    answer: Answer = None
    text: str = ""
    waited: float = 0.0


@dataclass(frozen=True)
class Record:
    """All that is known of one case when it is over."""

    mode: Mode
    marker: str
    unit: tuple[Reply, ...]
    next_unit: tuple[Reply, ...]
    next_marker: str
    effects: dict[str, int] = field(default_factory=dict)
    """How often each write is on the server: "insert", "update", and "next" for the next unit's."""
    left_over: tuple[str, ...] = ()
    """The sessions that were still on the server at the end, in words."""
    hung: bool = False
    struck: bool = True
    must_be_silent: bool = False
    """The fault was one that no client may notice."""
    has_setting: bool = True
    """Whether the conversation has a step that sets a variable of the session."""

    def told(self, step: str) -> Told | None:
        """Return what was told about a step; None if it was not reached."""
        return next((reply.told for reply in self.unit if reply.step == step), None)


@dataclass(frozen=True)
class Finding:
    """A flaw, and the words for it."""

    flaw: Flaw
    text: str


EXCUSABLE = frozenset({Flaw.MISSED, Flaw.NOTICED, Flaw.NEXT_UNIT})
"""What a machine that is too busy to answer in time can bring about; if it does so again, it is none of that."""


def is_doubtful(record: Record, findings: Iterable[Finding], *, slow: float) -> bool:
    """Say whether a machine that let a statement wait for ``slow`` seconds may be all that is wrong with a case."""
    flaws = {finding.flaw for finding in findings}
    waits = [reply.waited for reply in (*record.unit, *record.next_unit) if reply.told is not Told.OK]
    return Flaw.MISSED in flaws or (bool(flaws) and flaws <= EXCUSABLE and max(waits, default=0.0) >= slow)


def judge(record: Record) -> list[Finding]:
    """Return everything that is wrong with a case; nothing if the promise held."""
    return [
        *_judge_run(record),
        *_judge_answers(record),
        *(_judge_transaction(record) if record.mode.is_atomic else _judge_autocommit(record)),
        *_judge_next(record),
    ]


def _judge_run(record: Record) -> Iterator[Finding]:
    if record.hung:
        yield Finding(Flaw.HUNG, "the case was ended from outside")
    if not record.struck:
        yield Finding(Flaw.MISSED, "no packet of the conversation was the one")
    if record.left_over:
        yield Finding(Flaw.LEFT_OVER, f"still on the server: {'; '.join(record.left_over)}")


def _judge_answers(record: Record) -> Iterator[Finding]:
    for reply in record.unit:
        if reply.told is Told.RAW:
            yield Finding(Flaw.RAW_ERROR, f"{reply.step}: {reply.text}")
        elif reply.told is not Told.OK and record.must_be_silent:
            yield Finding(Flaw.NOTICED, f"{reply.step} failed, although nothing was lost: {reply.text}")
        elif reply.told is Told.OK and reply.answer not in _right_answers(record, reply.step):
            yield Finding(Flaw.WRONG_ROWS, f"{reply.step} answered {reply.answer!r}")


def _right_answers(record: Record, step: str) -> tuple[Answer, ...]:
    marker = record.marker
    if step == "read":
        return (((marker, READ_DIGIT),),)
    if step in WRITES:
        return (1,)
    if step == "many":
        return (tuple((marker, digit) for digit in range(DIGITS)),)
    if step == "locked":
        hits = (1,) if record.told("update") is Told.OK else (0, 1)
        return tuple(((marker, number),) for number in hits)
    return (None,)


# --- the rows ----------------------------------------------------------------------------------------------------------


def _judge_autocommit(record: Record) -> Iterator[Finding]:
    for write in WRITES:
        yield from _judge_write(write, record.told(write), record.effects[write])


def _judge_write(write: str, told: Told | None, count: int) -> Iterator[Finding]:
    if count > 1:
        yield Finding(Flaw.DOUBLED, f"the {write} is there {count} times")
    elif told is Told.OK and count == 0:
        yield Finding(Flaw.LOST, f"the {write} was acknowledged and is not there")
    elif told in (None, Told.TRANSACTION_LOST, Told.NOTHING_CHANGED) and count:
        why = "was never sent" if told is None else f"was told as {told.value}"
        yield Finding(Flaw.GHOST, f"the {write} {why} and is there")


def _judge_transaction(record: Record) -> Iterator[Finding]:
    yield from _judge_refusal(record.unit)
    commit = record.told("commit")
    if commit is Told.OK:
        for write in WRITES:
            yield from _judge_write(write, record.told(write), record.effects[write])
    elif commit in (Told.OUTCOME_UNKNOWN, Told.RAW):
        yield from _judge_unknown(record)
    else:
        for write in WRITES:
            yield from _judge_write(write, Told.TRANSACTION_LOST, record.effects[write])


def _judge_unknown(record: Record) -> Iterator[Finding]:
    said = [write for write in WRITES if record.told(write) is Told.OK]
    counts = {write: record.effects[write] for write in WRITES}
    if len({counts[write] for write in said}) > 1:
        yield Finding(Flaw.TORN, f"all or nothing was to be there, not {counts}")
    for write in WRITES:
        yield from _judge_write(write, Told.OUTCOME_UNKNOWN, counts[write])


def _judge_refusal(unit: Iterable[Reply]) -> Iterator[Finding]:
    is_lost = False
    for reply in unit:
        if is_lost and reply.told is not Told.TRANSACTION_LOST:
            yield Finding(Flaw.WENT_ON, f"{reply.step} after a lost transaction: {reply.told.value}")
        is_lost = is_lost or reply.told is Told.TRANSACTION_LOST


# --- the unit behind it ------------------------------------------------------------------------------------------------


def _judge_next(record: Record) -> Iterator[Finding]:
    for reply in record.next_unit:
        if reply.told is not Told.OK:
            yield Finding(Flaw.NEXT_UNIT, f"{reply.step}: {reply.told.value}: {reply.text}")
        elif not _is_right_next(record, reply):
            yield Finding(Flaw.NEXT_UNIT, f"{reply.step} answered {reply.answer!r}")
    if all(reply.told is Told.OK for reply in record.next_unit) and record.effects["next"] != 1:
        yield Finding(Flaw.NEXT_UNIT, f"its row is there {record.effects['next']} times")


def _is_right_next(record: Record, reply: Reply) -> bool:
    marker = record.next_marker
    if reply.step == "read":
        return reply.answer == ((marker, READ_DIGIT),)
    if reply.step == "settings":
        # What a SET that was acknowledged has set must be there on whatever session came after it.
        is_set = record.has_setting and record.told("setting") is Told.OK
        wanted = {marker, SET_AT_CONNECT, *([SETTING] if is_set else [])}
        return isinstance(reply.answer, tuple) and len(reply.answer) == 1 and wanted <= set(reply.answer[0])
    return reply.answer == (1 if reply.step == "insert" else None)
