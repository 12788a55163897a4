"""Programs that are sound pass; each way of being broken is found by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import pytest
import tilelang.language as T
from tvm import tirx

import mosaic.kernels
from mosaic.errors import VerificationError
from mosaic.graph.kernel import registered
from mosaic.stitch.library import as_prim_func
from mosaic.tiles.anatomy import LAUNCH, dissect
from mosaic.tiles.anatomy import assemble as assemble_parts
from mosaic.tiles.read import read
from mosaic.tiles.verify import Defect, defects, verify
from tests.tiles.test_extents import copied
from tests.tiles.test_read import FOREIGN, SHIPPED, sampled, specs_of

mosaic.kernels.load()


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_kernels_are_sound(name: str) -> None:
    verify(FOREIGN[name][0]())


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_kernels_are_sound(name: str) -> None:
    kernel = registered()[name]
    binding = kernel.bind(specs_of(kernel))
    for choice in sampled(kernel, binding):
        verify(read(as_prim_func(kernel.instantiate(binding, choice), name)))


# Broken programs: a sound one, with one thing changed


def sound() -> Any:
    @T.prim_func
    def main(A: T.Tensor((64, 64), "float32"), C: T.Tensor((64, 64), "float32")) -> None:
        with T.Kernel(4, 2, threads=32) as (bx, by):
            tile = T.alloc_shared((16, 32), "float32")
            T.copy(A[bx * 16, by * 32], tile)
            for i, j in T.Parallel(16, 32):
                C[bx * 16 + i, by * 32 + j] = tile[i, j] * 2.0

    return main


def rebuilt(
    *,
    body: Callable[[Sequence[Any]], Sequence[Any]] = list,
    allocations: Callable[[Sequence[Any]], Sequence[Any]] = list,
    notes: dict[str, Any] | None = None,
) -> Any:
    func = sound()
    anatomy = dissect(func)
    return assemble_parts(
        anatomy,
        params=[(p, func.buffer_map[p]) for p in func.params],
        body=body(anatomy.body),
        allocations=allocations(anatomy.allocations),
        annotations={LAUNCH: [32, 1, 1], **(notes or {})},
    )


def number(value: int) -> Any:
    return tirx.IntImm("int32", value)


def store(*indices: Any, value: Any = None) -> Any:
    """C[indices] = value."""
    buffer = sound_buffer("C")
    return tirx.BufferStore(buffer, tirx.FloatImm("float32", 0.0) if value is None else value, list(indices))


_SOUND: Final = sound()


def sound_buffer(name: str) -> Any:
    return next(b for b in [*_SOUND.buffer_map.values(), *dissect(_SOUND).allocations] if str(b.name) == name)


def changed(body: Callable[[Sequence[Any]], Sequence[Any]] = list, allocations: Callable[[Sequence[Any]], Sequence[Any]] = list) -> Any:
    """`_SOUND` with another body or other allocations, of its own buffers."""
    anatomy = dissect(_SOUND)
    return assemble_parts(
        anatomy,
        params=[(p, _SOUND.buffer_map[p]) for p in _SOUND.params],
        body=body(anatomy.body),
        allocations=allocations(anatomy.allocations),
        annotations={LAUNCH: [32, 1, 1]},
    )


def region(buffer: Any, starts: Sequence[int], extents: Sequence[int], mode: int) -> Any:
    load = tirx.BufferLoad(buffer, [number(s) for s in starts])
    return tirx.call_intrin("handle", tirx.op.Op.get("tl.region"), load, mode, *extents)


def fill(buffer: Any, starts: Sequence[int], extents: Sequence[int]) -> Any:
    call = tirx.call_intrin("handle", tirx.op.Op.get("tl.tileop.fill"), region(buffer, starts, extents, 2), tirx.FloatImm("float32", 0.0))
    return tirx.Evaluate(call)


def loop(variable: Any, extent: int, body: Any) -> Any:
    return tirx.For(variable, number(0), number(extent), tirx.ForKind.SERIAL, body)


def guarded(stmt: Any) -> Any:
    return tirx.IfThenElse(tirx.LT(dissect(_SOUND).grid[0].loop_var, number(1)), stmt, None)


_STRAY: Final = tirx.Var("stray", "int32")
_OTHER: Final = tirx.decl_buffer((16, 32), "float32", "other", scope="shared.dyn")

BROKEN: Final[dict[str, tuple[Callable[[], Any], str, str]]] = {
    "a variable of nowhere": (lambda: changed(lambda b: [*b, store(_STRAY, 0)]), "variables", "stray is used where it is not defined"),
    "a variable after its loop": (
        lambda: changed(lambda b: [*b, loop(_STRAY, 4, store(_STRAY, 0)), store(_STRAY, 1)]),
        "variables",
        "stray is used where it is not defined",
    ),
    "a body twice": (lambda: changed(lambda b: [*b, *b]), "variables", "is defined twice"),
    "no allocation": (lambda: changed(allocations=lambda _: []), "buffers", "tile is neither a parameter nor allocated"),
    "two allocations": (lambda: changed(allocations=lambda a: [*a, *a]), "buffers", "tile is allocated twice"),
    "a region beyond its buffer": (
        lambda: changed(lambda b: [fill(sound_buffer("tile"), (1, 0), (16, 32)), *b]),
        "bounds",
        "dim 0 of tile has 16 elements, and 1 to 16 are touched",
    ),
    "an index before its buffer": (
        lambda: changed(
            lambda b: [loop(_STRAY, 4, tirx.BufferStore(sound_buffer("tile"), tirx.FloatImm("float32", 0.0), [_STRAY - 1, 0])), *b]
        ),
        "bounds",
        "dim 0 of tile has 16 elements, and -1 to 2 are touched",
    ),
    "a read before the write": (lambda: changed(lambda b: b[1:]), "uninitialised", "tile is read before it is written"),
    "an allocated buffer nobody fills": (
        lambda: changed(lambda b: [*b, store(0, 0, value=tirx.BufferLoad(_OTHER, [0, 0]))], lambda a: [*a, _OTHER]),
        "uninitialised",
        "other is read before it is written",
    ),
    "an annotation of nothing": (
        lambda: rebuilt(notes={"safe_value_map": {_OTHER.data: tirx.FloatImm("float32", 1.0)}}),
        "buffers",
        "other is annotated (safe_value_map), and neither a parameter nor allocated",
    ),
    "extents of fragments": (copied, "fragment-extents", "loops over the fragment f go through 100 and through 256"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_found(name: str) -> None:
    make, check, reason = BROKEN[name]
    func = make()
    found = list(defects(func))
    assert any(d.check == check and reason in d.reason for d in found), found
    with pytest.raises(VerificationError, match=r"kernel '\w+' is no sound program, [a-z-]+: ") as error:
        verify(func)
    assert "\n" not in str(error.value)


def test_the_programs_these_were_made_from_are_sound() -> None:
    verify(_SOUND)
    verify(changed())
    verify(rebuilt())


def test_what_a_guard_keeps_out_is_no_defect() -> None:
    """Guards are not solved: what stands under one is not judged."""
    verify(changed(lambda b: [*b, guarded(fill(sound_buffer("tile"), (1, 0), (16, 32)))]))
    verify(changed(lambda b: [guarded(store(0, 0, value=tirx.BufferLoad(_OTHER, [0, 0]))), *b], lambda a: [*a, _OTHER]))


def test_a_tile_program_must_be_that_of_its_function() -> None:
    program = read(_SOUND)
    verify(program)
    for stale in (replace(program, accesses=()), replace(program, grid=program.grid[:1]), replace(program, params=program.params[:1])):
        assert [d.check for d in defects(stale)] == ["parameters"]


def test_tensors_of_one_name() -> None:
    params = [(p, _SOUND.buffer_map[p]) for p in _SOUND.params]
    twin = tirx.decl_buffer((64, 64), "float32", "A")
    anatomy = dissect(_SOUND)
    func = assemble_parts(
        anatomy,
        params=[*params, (tirx.Var("A_handle", "handle"), twin)],
        body=anatomy.body,
        allocations=anatomy.allocations,
        annotations={LAUNCH: [32, 1, 1]},
    )
    assert Defect("parameters", "two tensors are named A") in list(defects(func))


def accumulate(*, clear: bool, first: bool = False) -> Any:
    @T.prim_func
    def main(A: T.Tensor((32, 32), "float16"), C: T.Tensor((32, 32), "float32"), R: T.Tensor((32,), "float32")) -> None:
        with T.Kernel(1, threads=64):
            a = T.alloc_shared((32, 32), "float16")
            acc = T.alloc_fragment((32, 32), "float32")
            total = T.alloc_fragment((32,), "float32")
            T.copy(A, a)
            if first:
                T.clear(acc)
                T.clear(total)
            T.gemm(a, a, acc, clear_accum=clear)
            T.reduce_sum(acc, total, dim=1, clear=clear)
            T.copy(acc, C)
            T.copy(total, R)

    return main


def test_what_is_added_to_must_hold_something() -> None:
    verify(accumulate(clear=True))
    verify(accumulate(clear=False, first=True))
    reasons = [d.reason for d in defects(accumulate(clear=False))]
    assert reasons == ["acc is read before it is written", "total is read before it is written"]
