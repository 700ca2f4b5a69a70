"""What is stored: payments in the database ``default``, moves in the database ``game``."""

from __future__ import annotations

from django.db import models


class Payment(models.Model):
    """A coin."""

    player = models.IntegerField()


class Move(models.Model):
    """What was had for it."""

    player = models.IntegerField()
    session = models.BigIntegerField()
    """Which session of the server wrote it: its CONNECTION_ID()."""
