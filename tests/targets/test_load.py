"""Lowered programs that run: on the CPU, and (marked gpu) on the GPU that is there, where the answers are compared."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.errors import TargetError
from mosaic.targets.load import Parameter, complaint, parameters_of
from mosaic.targets.lower import load, lower
from mosaic.targets.target import default_target
from tests.targets import programs

NEEDS_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
Reference = Callable[[Sequence[torch.Tensor]], torch.Tensor]


def tensors(program: Any, device: str) -> list[torch.Tensor]:
    """An argument for each parameter: values in [-½, ½), integers in [-100, 100)."""
    torch.manual_seed(0)
    made = []
    for parameter in parameters_of(program):
        assert parameter.shape is not None
        shape = tuple(int(extent) for extent in parameter.shape)
        if parameter.dtype == "int32":
            made.append(torch.randint(-100, 100, shape, dtype=torch.int32, device=device))
        else:
            made.append((torch.rand(shape, device=device) - 0.5).to(getattr(torch, parameter.dtype)))
    return made


def error(program: Any, reference: Reference, device: str, target: str, *, times: int = 1) -> float:
    """The largest relative error ‖got - want‖ / ‖want‖ of the last argument over some runs, each on a poisoned output."""
    arguments = tensors(program, device)
    want = reference([argument.double() for argument in arguments])
    kernel = load(program, target)
    worst = 0.0
    for _ in range(times):
        arguments[-1].fill_(math.nan if arguments[-1].is_floating_point() else -1)
        kernel(*arguments)
        found = float((arguments[-1].double() - want).norm() / want.norm())
        worst = max(worst, math.inf if math.isnan(found) else found)
    return worst


def nest_reference(given: Sequence[torch.Tensor]) -> torch.Tensor:
    a, b, w, _ = given
    return (a @ b).relu() @ w


def last_tile_reference(given: Sequence[torch.Tensor]) -> torch.Tensor:
    a, b, w, _ = given
    return (a @ b[:, -64:]).relu() @ w[-64:]


CASES: dict[str, tuple[Callable[[], Any], Reference]] = {
    "gemm": (programs.gemm, lambda x: x[0] @ x[1]),
    "gemm, sizes that do not divide": (lambda: programs.gemm(M=250, N=190, K=200), lambda x: x[0] @ x[1]),
    "gemm, primes": (lambda: programs.gemm(M=251, N=191, K=197), lambda x: x[0] @ x[1]),
    "gemm, one iteration": (lambda: programs.gemm(K=32), lambda x: x[0] @ x[1]),
    "sequence": (programs.sequence, lambda x: (x[0] @ x[1]).relu() @ x[2]),
    "nest": (programs.nest, nest_reference),
    "nest, both pipelined": (lambda: programs.nest(outer=2), nest_reference),
    "nest, outer pipelined": (lambda: programs.nest(outer=2, inner=0), nest_reference),
    "nest, nothing carried": (lambda: programs.nest(carried=False), last_tile_reference),
    "prologue in place": (lambda: programs.prologue("in place"), lambda x: (x[0] ** 2 + 1) @ x[1]),
    "prologue to shared": (lambda: programs.prologue("to shared"), lambda x: (x[0] ** 2 + 1) @ x[1]),
    "prologue to shared, 3 stages": (lambda: programs.prologue("to shared", stages=3), lambda x: (x[0] ** 2 + 1) @ x[1]),
    "prologue to fragment": (lambda: programs.prologue("to fragment"), lambda x: (x[0] ** 2 + 1) @ x[1]),
    "row norm": (programs.row_norm, lambda x: x[0] * torch.rsqrt((x[0] ** 2).mean(-1, keepdim=True) + 1e-6)),
    "reads before it refills": (programs.refill, lambda x: x[1] + x[0][:-1].sum(0)),
    "refills before it reads": (lambda: programs.refill(read_first=False), lambda x: x[0].sum(0)),
}

# Half precision in and out, and handed over once on the way: the results are sums of up to 256 products.
TOLERANCE = 1e-3


@NEEDS_GCC
@pytest.mark.parametrize("case", ["gemm, primes", "sequence", "nest", "row norm", "reads before it refills"])
def test_on_the_cpu(case: str) -> None:
    build, reference = CASES[case]
    assert error(build(), reference, "cpu", "cpu") < TOLERANCE


@NEEDS_GCC
def test_wrong_arguments_on_the_cpu_are_one_sentence() -> None:
    kernel = load(lower(programs.gemm(), "cpu"))
    assert kernel.params == ("A", "B", "C")
    a, b, c = tensors(programs.gemm(), "cpu")
    with pytest.raises(TargetError, match=r"kernel 'gemm': 'B' must have the dtype float16, not float32"):
        kernel(a, b.float(), c)


def test_a_program_for_another_machine_is_not_loaded() -> None:
    other = "gfx942" if torch.version.hip is None else "sm_90a"
    with pytest.raises(TargetError, match=rf"a program for {other} needs a machine with that GPU"):
        load(programs.row_norm(), other)


FIXED = (Parameter("A", "float16", (64, 32)), Parameter("B", "float16", (32, 16)))
FREE = (Parameter("A", "float32", ("rows", 8)), Parameter("factor", "float32", None), Parameter("B", "float32", ("rows", 8)))


def half(*shape: int) -> torch.Tensor:
    return torch.zeros(shape, dtype=torch.float16)


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((half(64, 32), half(32, 16)), None),
        ((half(64, 32),), "kernel 'k' takes 2 arguments (A, B), not 1"),
        ((half(64, 31), half(32, 16)), "kernel 'k': 'A' must have size 32 in dimension 1, not 31"),
        ((half(64), half(32, 16)), "kernel 'k': 'A' must have 2 dimensions, not 1"),
        ((half(64, 32), half(32, 16).float()), "kernel 'k': 'B' must have the dtype float16, not float32"),
        ((half(64, 32), None), "kernel 'k': 'B' must be a tensor, not NoneType"),
        ((half(32, 64).T, half(32, 16)), "kernel 'k': 'A' is not contiguous; call .contiguous() on it"),
        ((half(64, 32).to("meta"), half(32, 16)), "kernel 'k': 'A' is on meta; move it to cpu, for which this kernel is compiled"),
    ],
)
def test_what_is_wrong_with_arguments(arguments: tuple[Any, ...], wanted: str | None) -> None:
    assert complaint("k", FIXED, arguments, "cpu") == wanted


def test_free_sizes_must_agree() -> None:
    assert complaint("k", FREE, (torch.zeros(5, 8), 2.0, torch.zeros(5, 8)), "cpu") is None
    wrong = complaint("k", FREE, (torch.zeros(5, 8), 2.0, torch.zeros(6, 8)), "cpu")
    assert wrong == "kernel 'k': 'B' must have size 5 in dimension 0, not 6"
    wrong = complaint("k", FREE, (torch.zeros(5, 8), torch.zeros(1), torch.zeros(5, 8)), "cpu")
    assert wrong == "kernel 'k': 'factor' is a float32 number, not a tensor"


def test_parameters_are_read_of_the_program() -> None:
    rows, factor, out = parameters_of(programs.free_sizes())
    assert (rows.name, rows.dtype, rows.shape) == ("A", "float32", ("rows", 64))
    assert (factor.name, factor.dtype, factor.shape) == ("factor", "float32", None)
    assert out.shape == rows.shape


@pytest.mark.gpu
@pytest.mark.parametrize("case", CASES)
def test_on_the_gpu(case: str) -> None:
    build, reference = CASES[case]
    assert error(build(), reference, "cuda", "auto", times=20) < TOLERANCE


@pytest.mark.gpu
def test_branches_on_the_gpu() -> None:
    for threads in (128, 256):
        a, b, c, x, y = tensors(programs.branches(threads=threads), "cuda")
        x = x.abs()
        load(programs.branches(threads=threads))(a, b, c, x, y)
        product = a.double() @ b.double()
        tiles = x.double().view(256, 4, 64)
        scaled = (tiles * torch.rsqrt(tiles.sum(-1, keepdim=True))).view(256, 256)
        assert float((c.double() - product).norm() / product.norm()) < TOLERANCE
        assert float((y.double() - scaled).norm() / scaled.norm()) < TOLERANCE


@pytest.mark.gpu
@pytest.mark.parametrize("where", ["before", "after", "kept"])
def test_a_pipelined_buffer_that_others_borrow_on_the_gpu(where: str) -> None:
    program = programs.borrowed(where)
    a, b, x, d, c = tensors(program, "cuda")
    load(program)(a, b, x, d, c)
    product = a.double() @ b.double()
    assert float((c.double() - product).norm() / product.norm()) < TOLERANCE
    assert torch.equal(d, a[:, -32:] if where == "kept" else x * 2)


@pytest.mark.gpu
@pytest.mark.parametrize(("case", "why"), [("nest", "resets the sum"), ("reads before it refills", "loses the wait")])
def test_the_hazards_are_real(case: str, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without the detection these programs come out wrong. If this fails, TileLang is repaired, and `hazards` can go."""
    from mosaic.targets import lower as lowering
    from mosaic.targets.cache import Cache

    if not default_target().specializes_warps:
        pytest.skip("needs Hopper or later")
    monkeypatch.setattr(lowering, "specialization_hazard", lambda program: None)
    monkeypatch.setattr(lowering, "drop_unsafe_pipelines", lambda program: (program, ()))
    build, reference = CASES[case]
    arguments = tensors(build(), "cuda")
    want = reference([argument.double() for argument in arguments])
    load(lower(build(), "auto", binary=False, cache=Cache(tmp_path)))(*arguments)
    assert float((arguments[-1].double() - want).norm() / want.norm()) > 0.1, why


@pytest.mark.gpu
def test_wrong_arguments_on_the_gpu_are_one_sentence() -> None:
    program = programs.gemm()
    kernel = load(program)
    a, b, c = tensors(program, "cuda")
    kernel(a, b, c)
    for wrong, message in (
        ((a[:128], b, c), "'A' must have size 256 in dimension 0, not 128"),
        ((a.float(), b, c), "'A' must have the dtype float16, not float32"),
        ((a.cpu(), b, c), "'A' is on cpu; move it to cuda"),
        ((a.T, b, c), "'A' is not contiguous"),
        ((a.view(-1), b, c), "'A' must have 2 dimensions, not 1"),
        ((None, b, c), "'A' must be a tensor, not NoneType"),
        ((a, b), "takes 3 arguments"),
    ):
        with pytest.raises(TargetError, match=message):
            kernel(*wrong)


@pytest.mark.gpu
def test_free_sizes_on_the_gpu() -> None:
    kernel = load(programs.free_sizes())
    for rows in (1, 8, 37):
        x, y = torch.rand(rows, 64, device="cuda"), torch.empty(rows, 64, device="cuda")
        kernel(x, 3.0, y)
        assert torch.equal(y, x * 3.0)
    with pytest.raises(TargetError, match="'B' must have size 37 in dimension 0, not 36"):
        kernel(x, 3.0, y[:36])


@pytest.mark.gpu
def test_a_call_is_queued_on_the_current_stream_and_can_be_captured() -> None:
    program = programs.row_norm()
    kernel = load(program)
    x, y = tensors(program, "cuda")
    kernel(x, y)
    wanted = y.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        kernel(x, y)
    y.zero_()
    torch.cuda.synchronize()
    assert not y.any()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(y, wanted)


def test_importing_the_targets_does_not_load_tilelang() -> None:
    script = "import sys, mosaic.targets, mosaic.targets.doctor; print('tilelang' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
