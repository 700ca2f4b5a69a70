"""Our errors as Django's: what comes out is both the persistconn class and ``django.db.OperationalError``."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from django.db import OperationalError
from django.db.utils import DatabaseErrorWrapper

from persistconn.errors import LOSSES, bind

_DJANGO = bind(OperationalError)


class ErrorWrapper(DatabaseErrorWrapper):
    """Django's error wrapping, which alone would turn a ``TransactionLost`` into a plain ``OperationalError``."""

    wrapper: Any

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            return
        # One that has come through here already passes on as it is: an OperationalError of Django's is none of the driver's.
        if isinstance(exc_value, LOSSES) and not isinstance(exc_value, OperationalError):
            self.wrapper.errors_occurred = True
            raise _DJANGO.like(exc_value).with_traceback(traceback) from exc_value
        super().__exit__(exc_type, exc_value, traceback)
