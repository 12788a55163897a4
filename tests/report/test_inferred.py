"""Layouts for the report: of a GPU's kernels as compiled, of a processor's as they would be, and a sentence where there are none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mosaic.errors import TargetError
from mosaic.report import inferred as module
from mosaic.report.facts import Facts
from mosaic.report.inferred import inferred


def test_a_gpus_kernel(for_gpu: Facts) -> None:
    found = inferred(for_gpu.kernels[0])
    assert found.target.name == "sm_90a"
    assert found.note == ""
    assert {layout.kind for layout in found.layouts.values()} == {"fragment", "shared"}
    buffers = {buffer.name for buffer in for_gpu.kernels[0].launch.program.buffers}
    assert {layout.name for layout in found.layouts.values()} <= buffers


def test_a_processors_kernel_is_shown_for_a_gpu(fused: Facts) -> None:
    found = inferred(fused.kernels[0])
    assert found.target.name == "sm_90a"
    assert "this is what TileLang infers for sm_90a" in found.note
    assert found.layouts


def test_what_is_refused_is_a_note(fused: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise TargetError("no layout fits")

    monkeypatch.setattr(module, "read_layouts", refuses)
    found = inferred(fused.kernels[0])
    assert (found.layouts, found.note) == ({}, "No layout fits.")


def test_a_program_that_is_none_is_a_note_too(for_gpu: Facts) -> None:
    kernel = for_gpu.kernels[0]
    found = inferred(replace(kernel, lowered=replace(kernel.lowered, program=None)))
    assert found.layouts == {}
    assert found.note.startswith("TileLang infers no layouts for sm_90a: ")
