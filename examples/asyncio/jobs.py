"""asyncio without a site: what blocks runs on four threads, each with its session: ``python jobs.py``."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pymysql

import persistconn

JOBS = 200
db = persistconn.manage(pymysql)
DATABASE = {
    "host": os.environ.get("SHOP_DB_HOST", "127.0.0.1"),
    "port": int(os.environ.get("SHOP_DB_PORT", "3306")),
    "user": os.environ.get("SHOP_DB_USER", "shop"),
    "password": os.environ.get("SHOP_DB_PASSWORD", ""),
    "database": os.environ.get("SHOP_DB_NAME", "shop"),
}


def job(number: int) -> tuple[int, int]:
    """Do one job; return its number and its session, as the server has them."""
    with db.connect(**DATABASE).cursor() as cursor:
        cursor.execute("SELECT %s, CONNECTION_ID(), SLEEP(0.005)", (number,))
        answer: tuple[Any, ...] = cursor.fetchone()
    # No close() needed: the task's end is the end of the unit of work.
    return answer[0], answer[1]


async def main() -> None:
    """Have all jobs under way at once, as far as the loop can see."""
    loop = asyncio.get_running_loop()
    with persistconn.Executor(max_workers=4) as pool:
        answers = await asyncio.gather(*(loop.run_in_executor(pool, job, number) for number in range(JOBS)))
    numbers, sessions = zip(*answers, strict=True)
    print(f"{len(set(numbers))} jobs on {len(set(sessions))} sessions")


if __name__ == "__main__":
    asyncio.run(main())
