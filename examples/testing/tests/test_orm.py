"""Django's own test classes work as ever."""

from __future__ import annotations

from django.test import TestCase, TransactionTestCase
from shop.jobs import settle
from shop.models import Invoice


class InTransaction(TestCase):
    """Each test is rolled back."""

    def test_a_row(self) -> None:
        Invoice.objects.create(amount=1)
        assert Invoice.objects.count() == 1

    def test_no_row_of_the_other(self) -> None:
        assert Invoice.objects.count() == 0


class Committed(TransactionTestCase):
    """A job commits, so it takes this class."""

    def test_a_job(self) -> None:
        invoice = Invoice.objects.create(amount=7)
        assert settle(invoice.pk) == 7
