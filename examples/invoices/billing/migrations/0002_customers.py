"""The first customers of each branch."""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

NAMES = ("Bakery", "Bicycle shop", "Bookbinder", "Pharmacy")


def add_customers(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:  # noqa: ARG001 - Django's signature
    """Give each branch its first four."""
    customer = apps.get_model("billing", "Customer")
    branches = [branch for branch, _ in customer._meta.get_field("branch").choices]
    customer.objects.bulk_create(
        customer(name=f"{name} {branch}", branch=branch) for branch in branches for name in NAMES
    )


class Migration(migrations.Migration):
    """Two dozen customers to bill."""

    dependencies = [("billing", "0001_initial")]  # noqa: RUF012 - Django's form
    operations = [migrations.RunPython(add_customers, migrations.RunPython.noop)]  # noqa: RUF012 - Django's form
