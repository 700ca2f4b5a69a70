"""What is stored."""

from __future__ import annotations

from django.db import models
from django.utils import timezone

BRANCHES = ("Aarhus", "Bremen", "Cork", "Dijon", "Espoo", "Faro")
"""The company's branches; each bills its own customers."""


class Customer(models.Model):
    """Somebody who gets invoices, from one branch."""

    name = models.CharField(max_length=80)
    branch = models.CharField(max_length=20, choices=[(branch, branch) for branch in BRANCHES], db_index=True)

    def __str__(self) -> str:
        return self.name


class Invoice(models.Model):
    """What a customer owes. It is paid when, in the same transaction, its settlement was written."""

    customer = models.ForeignKey(Customer, models.PROTECT, related_name="invoices")
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    created_at = models.DateTimeField(default=timezone.now)
    is_paid = models.BooleanField(default=False, db_index=True)

    def __str__(self) -> str:
        return f"invoice {self.pk} of {self.customer_id}"


class Settlement(models.Model):
    """One settlement of an invoice.

    Not unique by invoice, on purpose: were one ever settled twice, it would show as two rows and not as an error.
    """

    invoice = models.ForeignKey(Invoice, models.PROTECT, related_name="settlements")
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    settled_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"settlement {self.pk} of invoice {self.invoice_id}"


class Report(models.Model):
    """How the business stood at one moment."""

    written_at = models.DateTimeField(default=timezone.now)
    invoices = models.PositiveIntegerField()
    paid = models.PositiveIntegerField()
    turnover = models.DecimalField(max_digits=14, decimal_places=2)

    def __str__(self) -> str:
        return f"{self.written_at:%F %T}: {self.paid} of {self.invoices} paid"
