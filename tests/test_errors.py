"""Errors that a user can cause, and what the command line returns for them."""

from __future__ import annotations

import inspect
from typing import Any

from mosaic import errors

ALL: list[Any] = [found for _, found in inspect.getmembers(errors, inspect.isclass) if found.__module__ == errors.__name__]


def test_every_error_is_mosaics_and_says_what_it_is() -> None:
    assert len(ALL) > 5
    assert all(issubclass(found, errors.MosaicError) and found.__doc__ for found in ALL)


def test_a_shell_can_tell_the_kinds_apart() -> None:
    """Errors of one kind share a code; none is 0, which means success, nor one that shells use themselves."""
    own = {found: found.exit_code for found in ALL if "exit_code" in vars(found)}
    assert len(set(own.values())) == len(own)
    assert all(0 < found.exit_code < 126 for found in ALL)
