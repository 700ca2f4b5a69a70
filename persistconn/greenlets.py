"""What a patched ``threading`` means: threads are greenlets, thousands of them perhaps, and one connection each is wrong."""

from __future__ import annotations

import sys
import threading

from persistconn.errors import ConfigError
from persistconn.owner import local_class

# Module, function that tells whether threading is patched, its argument.
_PATCHERS = (("gevent.monkey", "is_module_patched", "threading"), ("eventlet.patcher", "is_monkey_patched", "thread"))


def patcher() -> str | None:
    """Return the name of the library that has put its greenlets in the place of threads, if one has."""
    for module, function, argument in _PATCHERS:
        if module in sys.modules and getattr(sys.modules[module], function)(argument):
            return module.partition(".")[0]
    return None


def check(pool: object) -> None:
    """Raise ConfigError, when the program starts and not with its first query, for what cannot work under greenlets."""
    if pool is None:
        _refuse_to_keep()
    else:
        _check_import_order()


def _refuse_to_keep() -> None:
    """Raise ConfigError where a connection for each thread would be one for each greenlet."""
    if (library := patcher()) is not None:
        raise ConfigError(
            f"{library} has made threads into greenlets, and each would hold a session of the server for itself: lend them"
            " from a bounded pool, OPTIONS['pool'] = {'max_size': 5} in Django, or manage(module, pool={'max_size': 5})"
        )


def _check_import_order() -> None:
    """Raise ConfigError if persistconn was imported before the patch: all greenlets of a thread would count as one owner."""
    if patcher() is not None and not issubclass(local_class(), threading.local):
        raise ConfigError(
            "persistconn was imported before threading was patched, so it cannot tell greenlets apart: patch first, as"
            " with `from gevent import monkey; monkey.patch_all()` at the top of the program"
        )
