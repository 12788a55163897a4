"""Layouts written into kernels are what TileLang then infers; what contradicts an instruction is found."""

from __future__ import annotations

import math
from typing import Any

import pytest
import tilelang
import tilelang.language as T
import torch

from mosaic.errors import ReadError
from mosaic.layouts.bridge import EMPTY, places
from mosaic.layouts.read import read_layouts, table
from mosaic.layouts.write import annotate, contradiction, spread
from tests.layouts.programs import product

SM_80 = {"kind": "cuda", "arch": "sm_80"}


def copied(m: int, n: int, threads: int = 128) -> Any:
    @T.prim_func
    def main(x: T.Tensor((m, n), "float32"), o: T.Tensor((m, n), "float32")) -> None:
        with T.Kernel(1, threads=threads) as _:
            a = T.alloc_fragment((m, n), "float32")
            T.copy(x, a)
            T.copy(a, o)

    return main


def test_what_was_asked_is_inferred() -> None:
    rows = tilelang.layout.Fragment([64, 32], forward_fn=lambda i, j: (i * 2 + j // 16, j % 16))
    changed = annotate(copied(64, 32), {"a": rows})
    assert contradiction({"a": rows}, read_layouts(changed, SM_80)) is None
    # Without it, TileLang would have chosen another.
    assert contradiction({"a": rows}, read_layouts(copied(64, 32), SM_80)) is not None


def test_an_annotation_that_contradicts_the_instruction_is_found() -> None:
    wrong = tilelang.layout.Fragment([64, 64], forward_fn=lambda i, j: ((i * 64 + j) % 128, (i * 64 + j) // 128))
    try:
        said = contradiction({"total": wrong}, read_layouts(annotate(product(64, 64, 64), {"total": wrong}), SM_80))
    except Exception as error:  # some releases refuse it themselves
        said = str(error)
    assert said is not None


def test_names_and_shapes_are_checked() -> None:
    fragment = tilelang.layout.Fragment([64, 32], forward_fn=lambda i, j: (i * 2 + j // 16, j % 16))
    with pytest.raises(ReadError, match="no on-chip buffers"):
        annotate(copied(64, 32), {"b": fragment})
    with pytest.raises(ReadError, match="shape"):
        annotate(copied(32, 32), {"a": fragment})
    assert "TileLang infers no layout" in (contradiction({"b": fragment}, {}) or "")


@pytest.mark.parametrize(("shape", "threads"), [((192,), 128), ((96,), 64), ((17, 5), 64), ((7,), 32), ((160, 12), 256)])
def test_a_tile_is_spread_evenly(shape: tuple[int, ...], threads: int) -> None:
    held = places(table("f", spread(shape, 32, threads), dtype="float32"), threads)
    used = held[:, (held != EMPTY).any(dim=0)]
    assert sorted(used.flatten().tolist()) == list(range(math.prod(shape)))
    assert math.prod(shape) % used.shape[1] == 0
    # Vectors: neighbours in memory are neighbours in a thread's registers, up to 16 bytes.
    width = math.gcd(len(held), 4)
    assert torch.equal(used[1:width] - used[: width - 1], torch.ones_like(used[1:width]))
