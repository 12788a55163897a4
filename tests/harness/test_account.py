from __future__ import annotations

import time

import pytest

from mosaic.harness.account import Account


def test_steps_add_up_however_they_end() -> None:
    account = Account()
    for _ in range(2):
        with pytest.raises(ValueError, match="early"), account.of("one"):
            _ends_early()
    account.add("two", 1.5)
    account.add("two", 1.0)
    assert account.seconds["two"] == 2.5
    assert account.seconds["one"] >= 0.02
    assert list(account.seconds) == ["one", "two"]


def _ends_early() -> None:
    time.sleep(0.01)
    raise ValueError("early")
