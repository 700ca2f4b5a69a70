"""``manage()``: a PEP 249 module whose ``connect()`` gives each thread its one connection."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from persistconn.connection import PersistentConnection
from persistconn.drivers import driver_for
from persistconn.errors import ConfigError
from persistconn.keeper import KEEPER
from persistconn.policy import Policy


class ManagedModule(ModuleType):
    """A driver module in whose place it can stand: everything but ``connect`` is the driver's own."""

    def __init__(self, module: ModuleType, policy: Policy) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.policy = policy
        self.managed = module
        self._driver = driver_for(module)

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} managed by persistconn>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.managed, name)

    def connect(self, *args: Any, **kwargs: Any) -> PersistentConnection:
        """Return this thread's one connection for these arguments, which are the driver's own.

        The first call on a thread connects. It blocks up to ``give_up_after`` seconds while the server is away, then
        raises ``DatabaseUnavailable``; a refusal (a wrong password, say) is raised at once, as the driver's error.
        """
        return KEEPER.connect(self._driver, self.policy, args, kwargs)

    Connect = connect


_lock = threading.Lock()
_managed: dict[tuple[ModuleType, Policy], ManagedModule] = {}


def manage(module: ModuleType, **settings: Any) -> ManagedModule:
    """Wrap a PEP 249 module so that ``connect()`` keeps one connection per thread; the same wrapper for the same settings.

    The settings are those of :class:`persistconn.Policy`; durations are float seconds. Raises ``ConfigError`` for a
    module that is none, or for settings that cannot work. Safe to call from any thread.
    """
    policy = Policy.from_settings(settings)
    inner = module.managed if isinstance(module, ManagedModule) else module
    try:
        known = _managed.get((inner, policy))
    except TypeError:
        raise ConfigError(f"manage() takes a PEP 249 module such as pymysql, not {module!r}") from None
    if known is not None:
        return known
    made = ManagedModule(inner, policy)
    with _lock:
        return _managed.setdefault((inner, policy), made)
