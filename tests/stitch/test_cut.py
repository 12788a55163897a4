"""Kernels rebuilt with their fragments' versions."""

from __future__ import annotations

from typing import Any

from mosaic.stitch.cut import CALL, SOURCE, cut
from mosaic.stitch.uses import read_uses
from mosaic.stitch.versions import Level, split
from mosaic.targets.cpu import compile_cpu
from mosaic.tiles.anatomy import dissect
from tests.layouts.chain import Chain, build
from tests.layouts.checked import check


def cut_at(func: Any, level: Level = "products", **options: Any) -> tuple[Any, list[tuple[str, str]]]:
    root = read_uses(dissect(func).block.body)
    return cut(func, root, split(root, level), **options)


def test_each_version_is_a_fragment_and_each_handover_a_call() -> None:
    func = build(Chain("a", 64, 64, 64, 64, 128, "FullCol", "FullRow"))
    changed, pairs = cut_at(func)
    assert pairs == [("h", "h_as")]
    text = changed.script()
    assert f'T.call_extern("handle", "{CALL}0", h.data, h_as.data)' in text
    assert "T.gemm(T.region(h_as[0, 0], 1, 64, 64)" in text
    assert SOURCE not in text


def test_a_stage_is_an_argument_and_a_barrier_follows() -> None:
    func = build(Chain("a", 64, 64, 64, 64, 128, "FullCol", "FullRow"))
    changed, _ = cut_at(func, stages={0: 512}, text="// how")
    lines = [line.strip() for line in changed.script().splitlines()]
    position = next(i for i, line in enumerate(lines) if CALL in line)
    assert "conversion_stage_0" in lines[position]
    assert "tvm_storage_sync" in lines[position + 1]
    assert SOURCE in changed.script()


def test_the_processor_takes_handovers_as_copies() -> None:
    chain = Chain("both", 32, 48, 32, 64, 64, "FullCol")
    func = build(chain)
    for level in ("products", "reductions", "matrices", "everything"):
        changed, _ = cut_at(func, level)
        report = check(chain.tensors(), chain.steps(), compile_cpu(changed, poison=True), device="cpu", tf32=False)
        assert not report.failures, level


def test_the_kernel_itself_stays_as_it_was() -> None:
    func = build(Chain("a", 64, 64, 64, 64, 128, "FullCol", "FullRow"))
    before = func.script()
    cut_at(func, "everything")
    assert func.script() == before
