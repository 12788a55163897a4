"""What a list of steps knows of itself."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from mosaic.layouts.emit import interpret, text
from mosaic.layouts.emit.steps import WORD_BYTES, Program, Step


def test_a_word_holds_whole_elements() -> None:
    for slots in (1, 2, 4):
        program = Program((), 32, 32, slots, casts_first=True)
        assert program.element_bytes * slots == WORD_BYTES


def test_every_step_is_frozen_and_has_an_interpretation_and_a_text() -> None:
    kinds: tuple[Any, ...] = typing.get_args(Step)
    assert all(dataclasses.is_dataclass(kind) for kind in kinds)
    for each in kinds:
        assert each.__dataclass_params__.frozen
        assert hasattr(interpret._Machine, each.__name__.lower())
        assert hasattr(text._Printer, f"_{each.__name__.lower()}")
