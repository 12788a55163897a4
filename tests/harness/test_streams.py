from __future__ import annotations

import os
import time

import pytest

from mosaic.harness.streams import KEPT, Streams
from mosaic.harness.wire import Silence, WireError, pair


def streams() -> tuple[Streams, tuple[int, int, int]]:
    (out, out_end), (err, err_end), (status, status_end) = os.pipe(), os.pipe(), os.pipe()
    return Streams(out, err, status), (out_end, err_end, status_end)


def close(ends: tuple[int, int, int]) -> None:
    for end in ends:
        os.close(end)


def test_what_is_printed_is_counted_and_its_end_kept() -> None:
    made, ends = streams()
    one, other = pair()
    for _ in range(3):
        os.write(ends[0], b"x" * 60_000)
        before = made.printed
        while made.printed < before + 60_000:
            assert made.wait(one, time.perf_counter() + 5) is False
    os.write(ends[0], b"end")
    made.wait(one, time.perf_counter() + 5)
    other.close()
    assert made.printed == 180_003
    assert len(made.text["out"]) <= KEPT
    assert made.text["out"].endswith(b"end")
    close(ends)
    made.finish(0)


def test_an_answer_is_told_from_printing() -> None:
    made, ends = streams()
    one, other = pair()
    other.send(b"hello")
    assert made.wait(one, time.perf_counter() + 5) is True
    one.recv(10)
    with pytest.raises(Silence):
        made.wait(one, time.perf_counter() + 0.01)
    close(ends)
    made.finish(0)


def test_the_status_is_read() -> None:
    made, ends = streams()
    os.write(ends[2], b'{"keeper": 5, "init": 999999999}\nno json\n{"boundaries": ["a", "b"]}\n')
    assert made.boundaries(5) == ("a", "b")
    assert made.init == 999999999
    os.write(ends[2], b'{"signal": 11}\n')
    os.write(ends[1], b"one\ntwo\n")
    close(ends)
    made.drain(5)
    assert made.end == {"signal": 11}
    assert made.last_words == "one / two"
    made.finish(0)


def test_a_sandbox_that_could_not_be_made_is_an_error() -> None:
    made, ends = streams()
    os.write(ends[2], b'{"failed": "no room"}\n')
    with pytest.raises(WireError, match="no room"):
        made.boundaries(5)
    close(ends)
    made.finish(0)
