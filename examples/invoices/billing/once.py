"""``once``: what makes a function one transaction. Exactly once on persistconn, at best once on stock Django."""

from __future__ import annotations

from django.conf import settings
from django.db import transaction

import persistconn

IS_KEPT = settings.DATABASES["default"]["ENGINE"] == "persistconn.backends.mysql"

# The demo runs the same jobs on both engines. A project of your own would write @persistconn.job.
once = persistconn.job if IS_KEPT else transaction.atomic
