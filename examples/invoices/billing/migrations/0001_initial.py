"""The tables."""

from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

BRANCHES = ("Aarhus", "Bremen", "Cork", "Dijon", "Espoo", "Faro")


def key() -> models.BigAutoField[int, int]:
    """Return the primary key that each table has."""
    return models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")


def reference(to: str, name: str) -> models.ForeignKey[models.Model, models.Model]:
    """Return a reference whose target cannot be deleted."""
    return models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name=name, to=to)


def moment() -> models.DateTimeField[str, str]:
    """Return a point in time, now if none is given."""
    return models.DateTimeField(default=django.utils.timezone.now)


class Migration(migrations.Migration):
    """Customers, invoices, settlements, reports."""

    initial = True
    dependencies = []  # noqa: RUF012 - Django's form
    operations = [  # noqa: RUF012 - Django's form
        migrations.CreateModel(
            name="Customer",
            fields=[
                ("id", key()),
                ("name", models.CharField(max_length=80)),
                (
                    "branch",
                    models.CharField(choices=[(each, each) for each in BRANCHES], db_index=True, max_length=20),
                ),
            ],
        ),
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", key()),
                ("written_at", moment()),
                ("invoices", models.PositiveIntegerField()),
                ("paid", models.PositiveIntegerField()),
                ("turnover", models.DecimalField(decimal_places=2, max_digits=14)),
            ],
        ),
        migrations.CreateModel(
            name="Invoice",
            fields=[
                ("id", key()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                ("created_at", moment()),
                ("is_paid", models.BooleanField(db_index=True, default=False)),
                ("customer", reference("billing.customer", "invoices")),
            ],
        ),
        migrations.CreateModel(
            name="Settlement",
            fields=[
                ("id", key()),
                ("amount", models.DecimalField(decimal_places=2, max_digits=10)),
                ("settled_at", moment()),
                ("invoice", reference("billing.invoice", "settlements")),
            ],
        ),
    ]
