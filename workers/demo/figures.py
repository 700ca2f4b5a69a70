"""What the server says of one side: rows by SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

# One row per invoice, with the number of its settlements; then counted.
_COUNT = """
    SELECT COUNT(*), SUM(due), SUM(due AND is_paid AND settlements = 1), SUM(settlements > 1),
           SUM(is_paid AND settlements = 0), SUM(NOT is_paid AND settlements > 0), SUM(due AND NOT is_paid)
    FROM (
        SELECT i.id, i.is_paid, i.created_at < %s AS due, COUNT(s.id) AS settlements
        FROM {database}.billing_invoice AS i LEFT JOIN {database}.billing_settlement AS s ON s.invoice_id = i.id
        GROUP BY i.id, i.is_paid, i.created_at
    ) AS invoice
"""


@dataclass(frozen=True)
class Figures:
    """The invoices of one side. *Due* are those that were created before the calm at the end began."""

    created: int
    due: int
    due_settled_once: int
    settled_twice: int
    paid_without_settlement: int
    settled_without_paid: int
    due_open: int


def read_figures(cursor: Any, database: str, calm_since: datetime) -> Figures:
    """Ask the server; ``calm_since`` is in UTC by the server's clock, without a time zone."""
    cursor.execute(_COUNT.format(database=database), (calm_since,))
    return Figures(*(int(count or 0) for count in cursor.fetchone()))


_LEDGER = """
    SELECT COUNT(*), SUM(state = 'done' AND attempts = 1), SUM(state = 'done' AND attempts > 1), SUM(state <> 'done')
    FROM {database}.persistconn_ledger
"""


@dataclass(frozen=True)
class Ledger:
    """The jobs of one side, as their rows in the ledger prove them."""

    jobs: int
    at_once: int
    replayed: int
    not_done: int


def read_ledger(cursor: Any, database: str) -> Ledger:
    """Ask the server."""
    cursor.execute(_LEDGER.format(database=database))
    return Ledger(*(int(count or 0) for count in cursor.fetchone()))
