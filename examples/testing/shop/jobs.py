"""What the service does at night."""

from __future__ import annotations

import persistconn
from shop.models import Invoice, Settlement


@persistconn.job
def settle(number: int) -> int:
    """Settle one invoice, exactly once; return its amount."""
    invoice = Invoice.objects.select_for_update().get(pk=number)
    if not invoice.is_paid:
        Settlement.objects.create(invoice=invoice)
        invoice.is_paid = True
        invoice.save()
    return invoice.amount
