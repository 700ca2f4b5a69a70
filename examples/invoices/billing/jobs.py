"""The jobs. Nothing in here knows of lost connections: they are written as if there were none.

Each branch has two, which makes a dozen a second to run on the threads of the service.
"""

from __future__ import annotations

import random
import time
from decimal import Decimal

from django.db.models import Sum

from billing.models import BRANCHES, Customer, Invoice, Report, Settlement
from billing.once import once
from persistconn import cron

# Seconds first. Seven seconds of work and three of quiet, over and over: a small picture of days and nights, in which a
# session that nobody looks after is idle for longer than the server's wait_timeout.
OFFICE_HOURS = "0-6,10-16,20-26,30-36,40-46,50-56 * * * * *"
EVERY_OTHER_SECOND = "*/2 * * * * *"

MOST_AT_ONCE = 4
RECEIPT_TAKES = 0.05
"""Seconds to print a receipt: long enough for a transaction to be caught in the middle."""


@once
def create_invoices(branch: str) -> None:
    """Bill a few of the branch's customers, all of them or none."""
    customers = list(Customer.objects.filter(branch=branch))
    for customer in random.sample(customers, random.randint(1, MOST_AT_ONCE)):
        Invoice.objects.create(customer=customer, amount=Decimal(random.randint(500, 99_999)) / 100)


def settle_invoices(branch: str) -> None:
    """Settle what is open, the oldest first, each in a transaction of its own."""
    still_open = Invoice.objects.filter(customer__branch=branch, is_paid=False)
    for number in still_open.order_by("pk").values_list("pk", flat=True):
        settle(number)


@once
def settle(number: int) -> None:
    """Settle one invoice: its settlement is written and it is marked as paid, both or neither."""
    invoice = Invoice.objects.select_for_update().get(pk=number)
    if invoice.is_paid:
        return
    Settlement.objects.create(invoice=invoice, amount=invoice.amount)
    time.sleep(RECEIPT_TAKES)
    invoice.is_paid = True
    invoice.save(update_fields=["is_paid"])


@cron(EVERY_OTHER_SECOND, name="report")
@once
def write_report() -> None:
    """Write down how the business stands."""
    paid = Invoice.objects.filter(is_paid=True)
    turnover = Settlement.objects.aggregate(total=Sum("amount"))["total"]
    Report.objects.create(invoices=Invoice.objects.count(), paid=paid.count(), turnover=turnover or 0)


def register(branch: str) -> None:
    """Register the two jobs of a branch."""

    @cron(OFFICE_HOURS, name=f"create {branch}")
    def create() -> None:
        create_invoices(branch)

    @cron(OFFICE_HOURS, name=f"settle {branch}")
    def settle_open() -> None:
        settle_invoices(branch)


for each in BRANCHES:
    register(each)
