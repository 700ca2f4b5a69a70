"""The app."""

from __future__ import annotations

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """Customers, invoices, settlements, reports."""

    name = "billing"
