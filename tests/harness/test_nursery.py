from __future__ import annotations

import pytest

from mosaic.harness.sandbox import Limits, Nursery, begin, nursery
from mosaic.harness.wire import WireError


def test_the_nursery_is_kept_and_forks() -> None:
    home = nursery(())
    assert nursery(()) is home
    assert home.is_alive()
    sessions = [begin(home, None, Limits(seconds=10), None, {"MARK": str(index)}) for index in range(2)]
    assert [session.ask({"kind": "ping"})["number"] for session in sessions] == [1, 1]
    for session in sessions:
        session.channel.end.close()
        session.streams.drain(5)


def test_it_ends_with_its_folder() -> None:
    made = Nursery(("decimal",), "mosaic.harness.worker:work")
    try:
        session = begin(made, None, Limits(seconds=10), None, {})
        assert session.ask({"kind": "look"})["observations"] == []
        session.channel.end.close()
    finally:
        made.close()
    assert not made.folder.exists()
    assert not made.is_alive()


def test_a_nursery_that_cannot_load_its_libraries_says_so() -> None:
    made = Nursery(("no_such_library",), "mosaic.harness.worker:work")
    try:
        with pytest.raises(WireError):
            begin(made, None, Limits(), None, {})
    finally:
        made.close()
    assert not made.is_alive()
