"""What the Executor refuses."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import pytest

import persistconn


@pytest.mark.parametrize("max_workers", [0, -1, 2.5, "8", True])
def test_bad_max_workers_is_refused(max_workers: Any) -> None:
    """By name and value."""
    with pytest.raises(persistconn.ConfigError, match=f"max_workers .* not {max_workers!r}"):
        persistconn.Executor(max_workers=max_workers)


def test_only_a_pool_of_threads_can_be_wrapped() -> None:
    """A process pool's workers are other processes, where nothing is kept."""
    pool: Any = ProcessPoolExecutor(1)
    with pytest.raises(persistconn.ConfigError, match="wraps a ThreadPoolExecutor"):
        persistconn.Executor(pool)
    pool.shutdown()


def test_wrapped_pool_brings_its_own_size() -> None:
    """Two sizes are one too many."""
    with ThreadPoolExecutor(2) as pool, pytest.raises(persistconn.ConfigError, match="max_workers is the wrapped pool"):
        persistconn.Executor(pool, max_workers=3)


def test_warm_takes_callables_and_aliases_only() -> None:
    """A mistake is told at construction, not by every thread."""
    with pytest.raises(persistconn.ConfigError, match="warm takes callables and Django aliases, not 7"):
        persistconn.Executor(max_workers=1, warm=[7])  # type: ignore[list-item]


def test_it_is_an_executor_of_concurrent_futures() -> None:
    """map, submit and the context manager behave as theirs do, errors included."""
    with persistconn.Executor(max_workers=2) as pool:
        assert [1, 4, 9] == list(pool.map(lambda number: number**2, [1, 2, 3]))
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 // 0).result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(print)
