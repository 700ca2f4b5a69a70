"""A thousand greenlets play a move each: ``python play.py``."""

from __future__ import annotations

# First of all. What was imported before would keep real locks and sockets, and persistconn, which could not tell
# greenlets apart then, refuses to work.
from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402

import django  # noqa: E402

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
django.setup()

import gevent  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from game.models import Move, Payment  # noqa: E402

import persistconn  # noqa: E402

PLAYERS = 1000


# No request ends here, so nobody would give the two sessions back before the greenlet is gone. All that borrow from
# both pools do it in the same order: else two could wait for each other's, until ``timeout``.
@persistconn.unit_of_work
def play(player: int) -> None:
    """Pay a coin and make a move."""
    with transaction.atomic():
        Payment.objects.create(player=player)
    with connections["game"].cursor() as cursor:
        cursor.execute("SELECT SLEEP(0.01), CONNECTION_ID()")
        _, session = cursor.fetchone()
    Move.objects.using("game").create(player=player, session=session)


def main() -> int:
    """Play, and count what the databases have of it."""
    with persistconn.unit_of_work():
        for alias in connections:
            call_command("migrate", database=alias, run_syncdb=True, verbosity=0)
    greenlets = [gevent.spawn(play, player) for player in range(PLAYERS)]
    gevent.joinall(greenlets)
    with persistconn.unit_of_work():
        paid = Payment.objects.values("player").distinct().count()
        moved = Move.objects.using("game").values("player").distinct().count()
        sessions = Move.objects.using("game").values("session").distinct().count()
    failed = [greenlet for greenlet in greenlets if greenlet.exception]
    print(f"{paid} paid, {moved} moved on {sessions} sessions of the game, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
