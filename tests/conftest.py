"""What all tests share: a compile cache of their own, and no time limit on one example of a property."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# An example may wait for a compiler or for another process, so time says nothing; a failure is printed so that it can be repeated.
settings.register_profile("mosaic", deadline=None, print_blob=True)
settings.load_profile("mosaic")


@pytest.fixture(scope="session", autouse=True)
def compile_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A fresh cache, for this process and those it starts: nothing that is tested was compiled by an earlier version."""
    os.environ["MOSAIC_CACHE"] = str(tmp_path_factory.mktemp("cache"))
