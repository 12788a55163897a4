from __future__ import annotations

import itertools
import json
import os
import socket

import pytest

from mosaic.harness.wire import (
    ALIGNMENT,
    MAPPED,
    Channel,
    Gone,
    Mapped,
    Place,
    Segment,
    Silence,
    WireError,
    lay_out,
    pair,
    place,
    size_of,
    spread,
)  # fmt: skip


def channels() -> tuple[Channel, Channel]:
    one, other = pair()
    return Channel(one, "word"), Channel(other, "word")


def test_messages_and_files_arrive() -> None:
    one, other = channels()
    segment = Segment.make(64)
    one.send({"kind": "ping", "text": "ü"}, [segment.fd])
    message, fds = other.receive(1.0)
    assert (message["kind"], message["text"], message["number"]) == ("ping", "ü", 0)
    segment.memory[:4] = b"abcd"
    assert bytes(Segment(fds[0], 64).memory[:4]) == b"abcd"


def test_a_message_of_another_conversation_is_refused() -> None:
    one, other = channels()
    for forged in (b"{}", b"no json", json.dumps({"nonce": "word", "number": 7}).encode(), b"[" * 5000):
        one.end.send(forged)
        with pytest.raises(WireError, match="nonce and number"):
            other.receive(1.0)


def test_silence_and_a_closed_end_are_told_apart() -> None:
    one, other = channels()
    with pytest.raises(Silence):
        other.receive(0.01)
    one.end.close()
    with pytest.raises(Gone):
        other.receive(1.0)
    with pytest.raises(Gone):
        other.send({})


def test_a_message_that_is_too_long_is_not_sent() -> None:
    one, _ = channels()
    with pytest.raises(WireError, match="too long"):
        one.send({"text": "x" * 200_000})


def test_tensors_are_laid_out_aligned_and_apart() -> None:
    places, size = lay_out([("x", "float16", (3, 5)), ("y", "bool", ()), ("z", "int64", (2,))])
    assert [where.offset % ALIGNMENT for where in places] == [0, 0, 0]
    assert [where.bytes for where in places] == [30, 1, 16]
    assert all(one.offset + one.bytes <= other.offset for one, other in itertools.pairwise(places))
    assert size >= places[-1].offset + 16
    assert [place(json.loads(json.dumps(where.document()))) for where in places] == places
    assert size_of("float32", (0, 4)) == 0


def test_spread_repeats_places() -> None:
    (first, second) = spread([Place("x", "int8", (4,), 8).document()], 2, 100)
    assert (first[0].offset, second[0].offset) == (8, 108)


def test_a_segment_cannot_be_cut_off() -> None:
    segment = Segment.make(1000)
    for size in (10, 10_000):
        with pytest.raises(OSError, match="not permitted"):
            os.ftruncate(segment.fd, size)
    where = Place("x", "uint8", (3,), 5)
    segment.write(where, b"abc")
    assert segment.read(where) == b"abc"
    with pytest.raises(ValueError, match="has 3 bytes"):
        segment.write(where, b"abcd")
    segment.fill(where, 0xFF)
    assert segment.read(where) == b"\xff\xff\xff"
    segment.close()


def test_ends_are_message_sockets() -> None:
    assert all(end.type == socket.SOCK_SEQPACKET for end in pair())


def test_memory_that_comes_again_is_mapped_once() -> None:
    mapped, sent = Mapped(), [Segment.make(64) for _ in range(MAPPED + 1)]
    first = mapped.take(os.dup(sent[0].fd), keep=True)
    sent[0].memory[:4] = b"abcd"
    assert mapped.take(os.dup(sent[0].fd), keep=True) is first
    first.close()  # it will be used again
    assert first.memory[:4] == b"abcd"
    for segment in sent[1:]:
        assert mapped.take(os.dup(segment.fd), keep=True) is not first
    assert mapped.take(os.dup(sent[0].fd), keep=True) is not first  # too many came in between
    once = mapped.take(os.dup(sent[-1].fd), keep=False)
    assert once.kept  # it is the one that is held
    other = Segment.make(8)
    assert not mapped.take(os.dup(other.fd), keep=False).kept


def test_bytes_are_written_within_a_segment_only() -> None:
    segment = Segment.make(300)
    segment.fill_bytes(256, 44, 7)
    assert segment.memory[:] == bytes(256) + bytes([7]) * 44
    segment.fill_bytes(300, 0, 9)
    with pytest.raises(ValueError, match="not within 300"):
        segment.fill_bytes(256, 45, 7)
    segment.close()
