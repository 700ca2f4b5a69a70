"""Two tables."""

from __future__ import annotations

from django.db import models


class Invoice(models.Model):
    """What a customer owes."""

    amount = models.IntegerField()
    is_paid = models.BooleanField(default=False)


class Settlement(models.Model):
    """One row for each time that an invoice was settled: two for the same one would be money lost."""

    invoice = models.ForeignKey(Invoice, on_delete=models.CASCADE)
