"""What all tests share: a compile cache of their own, no time limit on one example of a property, golden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import settings

GOLDENS: Final = Path(__file__).parent / "golden"
UPDATE: Final = "MOSAIC_UPDATE_GOLDENS"

# An example may wait for a compiler or for another process, so time says nothing; a failure is printed so that it can be repeated.
# `make test` takes the same examples each time, so that it fails for what was changed and for nothing else; `make fuzz` looks for new ones.
settings.register_profile("mosaic", deadline=None, print_blob=True, derandomize=True)
settings.register_profile("fresh", deadline=None, print_blob=True)
settings.load_profile("mosaic")


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A fresh cache, for this process and those it starts: nothing that is tested was compiled by an earlier version. And a ledger."""
    os.environ["MOSAIC_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["MOSAIC_LEDGER"] = str(tmp_path_factory.mktemp("ledger") / "ledger.db")


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compares a text with a file under tests/golden, given by its path there.

    With MOSAIC_UPDATE_GOLDENS set the file is written instead and the test fails, so that no run passes that compared nothing.
    """

    def compare(name: str, text: str) -> None:
        path = GOLDENS / name
        if os.environ.get(UPDATE):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            pytest.fail(f"{path} is now what is made; look at the difference, then run again without {UPDATE}")
        assert path.is_file(), f"run again with {UPDATE}=1 to write {path}"
        assert text == path.read_text(encoding="utf-8"), f"run again with {UPDATE}=1 if that is meant"

    return compare
