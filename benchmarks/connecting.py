"""The processor time of a connect on a server that offers TLS, with the driver's own settings."""

from __future__ import annotations

import ssl
from dataclasses import replace

from benchmarks.arena import Played, Scale, play
from benchmarks.contests import CONNECTS
from benchmarks.ground import furnish
from benchmarks.rows import Row, Spread, Verdict, ratios, spread
from campaigns.comeback import _serving as serving

LIMIT = 0.1
_LONGER = 4
"""Bursts are so much longer than elsewhere: bare PyMySQL connects some twenty times in one."""


def run(scale: Scale) -> Row:
    """Measure on a private server with a certificate. Blocks."""
    brief = replace(scale, sittings=1, rounds=(scale.rounds + 1) // 2, threads=1, many=_LONGER * scale.many, one=0.01)
    with serving(True, 10) as place:
        furnish(place)
        played = play(CONNECTS, place.connect_args(autocommit=True), brief)
    pairs = {"managed connect": "connect", "managed connect mysqlclient": "connect mysqlclient"}
    lines, ratio = [], {}
    for ours, bare in pairs.items():
        if ours in played and bare in played:
            ratio[ours] = _against(played, ours, bare)
            name = CONNECTS.entry(ours).name
            lines.append((name, _milliseconds(played, ours), _milliseconds(played, bare), str(ratio[ours])))
    trusted = ssl.create_default_context().cert_store_stats()["x509_ca"]
    measured = ratio["managed connect"]
    return Row(
        "connect",
        CONNECTS.title,
        (("", "ms", "ms, bare", "against bare"), *lines),
        (
            Verdict(
                "connect with TLS on offer, processor time, `manage(pymysql)` against bare",
                f"<= {LIMIT:g}",
                str(measured),
                measured.median <= LIMIT,
            ),
        ),
        (
            f"{trusted} certificates are trusted by the system; bare PyMySQL loads them for each connect, persistconn once",
            "where the system trusts none, as in a slim container, the two cost nearly the same",
            "mysqlclient's library loads them by itself",
        ),
    )


def _against(played: Played, ours: str, bare: str) -> Spread:
    return ratios(*(played[maker].of(lambda burst: burst.cpu_of_a_task) for maker in (ours, bare)))


def _milliseconds(played: Played, maker: str) -> str:
    return f"{spread(played[maker].of(lambda burst: burst.cpu_of_a_task * 1000).values()).median:.2f}"
