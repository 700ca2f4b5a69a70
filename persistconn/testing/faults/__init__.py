"""A proxy that speaks enough of the MySQL protocol to break a connection at the very packet that a test is about.

Point a client at it, tell it what shall go wrong and where, and look at what the client makes of it:

    with FaultProxy("127.0.0.1", 3306) as proxy:
        proxy.arm(Rule(Cut(), to_client("COMMIT")))     # the server commits, the client never hears of it
        ...

docs/faults.md shows it at work.
"""

from __future__ import annotations

from persistconn.testing.faults.armed import Armed
from persistconn.testing.faults.conversation import Conversation
from persistconn.testing.faults.framing import Frame, Framing, PacketReader, Piece
from persistconn.testing.faults.packet import Direction, Kind, Packet, Sighting
from persistconn.testing.faults.proxy import FaultProxy
from persistconn.testing.faults.rules import (
    Action,
    Cut,
    Delay,
    Drop,
    Fault,
    HalfClose,
    Hold,
    Place,
    Reset,
    Rule,
    Side,
    Stall,
    Where,
    decide,
    to_client,
    to_server,
)

__all__ = [
    "Action",
    "Armed",
    "Conversation",
    "Cut",
    "Delay",
    "Direction",
    "Drop",
    "Fault",
    "FaultProxy",
    "Frame",
    "Framing",
    "HalfClose",
    "Hold",
    "Kind",
    "Packet",
    "PacketReader",
    "Piece",
    "Place",
    "Reset",
    "Rule",
    "Side",
    "Sighting",
    "Stall",
    "Where",
    "decide",
    "to_client",
    "to_server",
]
