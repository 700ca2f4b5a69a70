"""``manage()``: a PEP 249 module whose ``connect()`` gives each thread its one connection."""

from __future__ import annotations

import threading
from types import ModuleType
from typing import Any

from persistconn import greenlets
from persistconn.connection import PersistentConnection
from persistconn.drivers import Driver, driver_for
from persistconn.keeper import KEEPER
from persistconn.policy import Policy


class ManagedModule(ModuleType):
    """A driver module in whose place it can stand: everything but ``connect`` is the driver's own."""

    def __init__(self, module: ModuleType, driver: Driver, policy: Policy) -> None:
        super().__init__(module.__name__, module.__doc__)
        self.policy = policy
        self.managed = module
        self.driver = driver

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} managed by persistconn>"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.managed, name)

    def connect(self, *args: Any, **kwargs: Any) -> PersistentConnection:
        """Return this thread's one connection for these arguments, which are the driver's own.

        The first call on a thread connects. It blocks up to ``give_up_after`` seconds while the server is away, then
        raises ``DatabaseUnavailable``; a refusal (a wrong password, say) is raised at once, as the driver's error.
        """
        return KEEPER.connect(self.driver, self.policy, args, kwargs)

    Connect = connect

    def connect_for(self, place: object, alias: str, **kwargs: Any) -> PersistentConnection:
        """Do what ``connect()`` does, but for a place of its own on this thread (see :meth:`Keeper.connect`)."""
        return KEEPER.connect(self.driver, self.policy, (), kwargs, place, alias)


_lock = threading.Lock()
# By id, because what is given may not be hashable, let alone a module; a managed one is never let go.
_managed: dict[tuple[int, Policy], ManagedModule] = {}


def manage(module: ModuleType, **settings: Any) -> ManagedModule:
    """Wrap a PEP 249 module so that ``connect()`` keeps one connection per thread; the same wrapper for the same settings.

    The settings are those of :class:`persistconn.Policy`; durations are float seconds. Raises ``ConfigError`` for a
    module that is none, or for settings that cannot work, which under patched threading is any without a ``pool``. Safe
    to call from any thread.
    """
    policy = Policy.from_settings(settings)
    greenlets.check(policy.pool)
    inner = module.managed if isinstance(module, ManagedModule) else module
    with _lock:
        key = (id(inner), policy)
        if key not in _managed:
            _managed[key] = ManagedModule(inner, _driver_of(inner, policy.fast_reads), policy)
        return _managed[key]


def _driver_of(module: ModuleType, fast_reads: bool) -> Driver:
    """Return one driver for all wrappers of a module that read alike: it makes a connection class."""
    for wrapper in _managed.values():
        if wrapper.managed is module and wrapper.policy.fast_reads is fast_reads:
            return wrapper.driver
    return driver_for(module, fast_reads=fast_reads)
