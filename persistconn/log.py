"""The library's one logger: messages for people, ``extra["action"]`` for machines, never a credential."""

from __future__ import annotations

import logging

logger = logging.getLogger("persistconn")
logger.addHandler(logging.NullHandler())

debug = logger.debug
info = logger.info
warning = logger.warning
exception = logger.exception
