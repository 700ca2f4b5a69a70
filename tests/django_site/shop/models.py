"""Two models on two databases."""

from __future__ import annotations

from django.db import models


class Entry(models.Model):
    """One number, which no two entries share."""

    number = models.IntegerField(unique=True)

    class Meta:
        """Said outright, because the project stands in no package of its own."""

        app_label = "shop"

    def __str__(self) -> str:
        return f"entry {self.number}"


class Note(models.Model):
    """One text, on the other database."""

    text = models.CharField(max_length=100)

    class Meta:
        """Said outright, because the project stands in no package of its own."""

        app_label = "shop"

    def __str__(self) -> str:
        return self.text
