"""The library's one logger: messages for people, ``extra["action"]`` for machines, never a credential."""

from __future__ import annotations

import logging

logger = logging.getLogger("persistconn")
logger.addHandler(logging.NullHandler())

debug = logger.debug
info = logger.info
warning = logger.warning
exception = logger.exception

_told: set[object] = set()
"""The kinds of unexpected exceptions that are in the log already."""


def unexpected(what: str, error: BaseException) -> None:
    """Log an exception that is not known to happen: with its traceback, once for each kind and place in the code.

    ``what`` has failed. For work that is done again and again: it must neither stop nor fill the log.
    """
    kind = type(error), _raised_at(error)
    if kind in _told:
        logger.debug("%s again: %r", what, error, extra={"action": "defect"})
        return
    _told.add(kind)
    text = "%s unexpectedly (the next ones of this kind are logged at DEBUG): %r"
    logger.error(text, what, error, exc_info=error, extra={"action": "defect"})


def _raised_at(error: BaseException) -> object:
    traceback, at = error.__traceback__, None
    while traceback is not None:
        at, traceback = (traceback.tb_frame.f_code, traceback.tb_lineno), traceback.tb_next
    return at
