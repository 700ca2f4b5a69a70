"""The reader of packets: whatever pieces the bytes come in, the same frames come out."""

from __future__ import annotations

import random

import pytest

from persistconn.testing.faults import Frame, Framing, PacketReader
from persistconn.testing.faults.framing import LONGEST, PEEK


def packet(sequence: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + bytes([sequence]) + payload


def record(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(payload).to_bytes(2, "big") + payload


def read(reader: PacketReader, *segments: bytes) -> tuple[list[Frame], bytes]:
    pieces = [piece for segment in segments for piece in reader.feed(segment)]
    return [piece.frame for piece in pieces if piece.frame], b"".join(piece.data for piece in pieces)


STREAM = packet(0, b"\x03SELECT 1") + packet(1, b"") + packet(2, b"x" * 10_000) + packet(255, b"\xfe\0\0\2\0")


@pytest.mark.parametrize("seed", range(20))
def test_frames_do_not_depend_on_the_segments(seed: int) -> None:
    """However TCP splits the stream, the frames are the same, and so are the bytes that go on."""
    whole, _ = read(PacketReader(), STREAM)
    rng = random.Random(seed)
    cuts = sorted(rng.sample(range(len(STREAM)), rng.randrange(1, 200)))
    segments = [STREAM[start:end] for start, end in zip([0, *cuts], [*cuts, len(STREAM)], strict=True)]
    frames, data = read(PacketReader(), *segments)
    assert (frames, data) == (whole, STREAM)


def test_frames_come_out_of_single_bytes() -> None:
    """A stream that trickles in byte by byte is read as well."""
    frames, data = read(PacketReader(), *(bytes([byte]) for byte in STREAM))
    assert [frame.length for frame in frames] == [9, 0, 10_000, 5]
    assert [frame.sequence for frame in frames] == [0, 1, 2, 255]
    assert data == STREAM


def test_large_packet_is_told_by_its_first_bytes_and_not_kept() -> None:
    """A packet of 16 MB goes on in the pieces in which it comes; nothing waits for its end."""
    reader = PacketReader()
    header = LONGEST.to_bytes(3, "little") + b"\0"
    assert read(reader, header + b"q" * (PEEK - 1)) == ([], b"")
    frames, data = read(reader, b"q")
    assert [(frame.length, len(frame.head)) for frame in frames] == [(LONGEST, PEEK)]
    assert len(data) == 4 + PEEK
    assert read(reader, b"q" * 1000) == ([], b"q" * 1000)


def test_packet_behind_a_large_one_is_found() -> None:
    """16 MB are counted to the byte: the frame behind them is read as what it is."""
    large = LONGEST.to_bytes(3, "little") + b"\0" + b"q" * LONGEST
    frames, data = read(PacketReader(), large + packet(1, b"rest"))
    assert [(frame.sequence, frame.length) for frame in frames] == [(0, LONGEST), (1, 4)]
    assert len(data) == len(large) + 8


def test_framing_changes_with_the_next_frame_of_the_same_segment() -> None:
    """A request for TLS and the first record behind it may come in one segment."""
    reader = PacketReader()
    pieces = []
    for piece in reader.feed(packet(1, b"s" * 32) + record(22, b"hello") + record(23, b"")):
        pieces.append(piece)
        reader.framing = Framing.TLS
    frames = [piece.frame for piece in pieces if piece.frame]
    assert [(frame.framing, frame.length) for frame in frames] == [
        (Framing.MYSQL, 32),
        (Framing.TLS, 5),
        (Framing.TLS, 0),
    ]
    assert [frame.sequence for frame in frames] == [1, None, None]


def test_compressed_frames_have_seven_bytes_of_header() -> None:
    """The length before compression stands in the header too."""
    frames, _ = read(PacketReader(Framing.COMPRESSED), b"\x05\0\0\x07\x99\0\0zzzzz" + b"\x01\0\0\x08\0\0\0z")
    assert [(frame.length, frame.sequence) for frame in frames] == [(5, 7), (1, 8)]


def test_rest_gives_what_was_kept_back_of_a_frame_without_an_end() -> None:
    """A peer that hangs up in the middle of a header loses nothing of what it has sent."""
    reader = PacketReader()
    assert read(reader, packet(0, b"\x0e") + b"\x09\0")[1] == packet(0, b"\x0e")
    assert reader.rest() == b"\x09\0"
    assert reader.rest() == b""


def test_nothing_of_a_packet_is_shown() -> None:
    """A login's bytes appear in no repr."""
    (piece,) = PacketReader().feed(packet(1, b"secret"))
    assert "secret" not in repr(piece)
    assert "secret" not in repr(piece.frame)
