"""The first and only migration."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Creates both tables; the router says where."""

    initial = True
    operations = [  # noqa: RUF012  # Django's way to declare them
        migrations.CreateModel(
            name="Entry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("number", models.IntegerField(unique=True)),
            ],
        ),
        migrations.CreateModel(
            name="Note",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("text", models.CharField(max_length=100)),
            ],
        ),
    ]
