"""The C that every emitted file starts with: sections in order, and its functions against exact values over all floats."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, Final

import pytest
import tilelang.language as T
import torch

from mosaic.targets.cpu import compile as compiler
from mosaic.targets.cpu.runtime import prelude, section
from tests.targets.cpu.folds import reduced
from tests.targets.cpu.products import product
from tests.targets.cpu.running import bits, evaluate, run
from tests.targets.cpu.test_gemm import operands
from tests.targets.cpu.test_reductions import FOLDS
from tests.targets.cpu.test_scalars import near_the_edges

# A float's bits, every 4099th: all exponents and signs, subnormals, infinities, NaNs; 4099 is prime, so all low bits occur.
FLOATS: Final = torch.arange(-(2**31), 2**31, 4099, dtype=torch.int64).to(torch.int32).view(torch.float32)
_WORDS: Final = (
    "0.0 -0.0 1.0 -1.0 0.5 0.625 -0.625 1e-45 -1e-45 1.17549435e-38 88.72283 88.72284 -87.33655 -103.97208 -103.97209 127.99999 "
    "128.0 -126.0 -149.0 -149.5 -150.0 9.010913 3.919206 4.0 0.99999994 1.0000001 3.4028235e38 -3.4028235e38 inf -inf nan "
    "0.70710677 0.7071068 1.4142135 1.4142137"
)
EDGES: Final = torch.tensor([float(word) for word in _WORDS.split()])

FUNCTIONS: Final[dict[str, tuple[Callable[[Any], Any], Callable[[torch.Tensor], torch.Tensor], float]]] = {
    "exp": (T.exp, torch.exp, 1.5),
    "exp2": (T.exp2, torch.exp2, 1.5),
    "log": (T.log, torch.log, 1.5),
    "log2": (T.log2, torch.log2, 2.0),
    "tanh": (T.tanh, torch.tanh, 2.0),
    "erf": (T.erf, torch.erf, 1.5),
    "sigmoid": (T.sigmoid, torch.sigmoid, 2.5),
    "rsqrt": (T.rsqrt, torch.rsqrt, 1.6),
    "sqrt": (T.sqrt, torch.sqrt, 0.51),
    "sin": (T.sin, torch.sin, 1.0),
    "cos": (T.cos, torch.cos, 1.0),
    "exp10": (T.exp10, lambda x: torch.pow(torch.tensor(10.0, dtype=torch.float64), x), 1.0),
    "log10": (T.log10, torch.log10, 2.0),
    "log1p": (T.log1p, torch.log1p, 2.0),
    "tan": (T.tan, torch.tan, 1.0),
    "sinh": (T.sinh, torch.sinh, 3.0),
    "cosh": (T.cosh, torch.cosh, 3.0),
    "asin": (T.asin, torch.asin, 2.0),
    "acos": (T.acos, torch.acos, 2.0),
    "atan": (T.atan, torch.atan, 2.0),
    "floor": (T.floor, torch.floor, 0.0),
    "ceil": (T.ceil, torch.ceil, 0.0),
    "trunc": (T.trunc, torch.trunc, 0.0),
    "round": (T.round, torch.round, 0.0),
    "nearbyint": (T.nearbyint, torch.round, 0.0),
}
"""For each: TileLang's function, PyTorch's in double, and how many units in the last place the two may be apart.

The first eight are ours (at most 2 is promised, 2.5 of sigmoid); the bounds of the others are those that glibc keeps.
"""

OURS: Final = list(FUNCTIONS.values())[:8]


def units_apart(got: torch.Tensor, exact: torch.Tensor) -> torch.Tensor:
    """How far, in units in the last place of the exact value as a float, taking the subnormal spacing as the smallest unit."""
    _, exponent = torch.frexp(exact.abs().clamp_min(2.0**-126))
    return (got.double() - exact).abs() / torch.ldexp(torch.ones_like(exact), exponent - 24)


@pytest.fixture(scope="module")
def values() -> dict[str, torch.Tensor]:
    """Every function over all of `FLOATS` and `EDGES`, by one program."""
    rows = evaluate(lambda a, b, c: [function(a) for function, _, _ in FUNCTIONS.values()], "float32", torch.cat([FLOATS, EDGES]))
    return dict(zip(FUNCTIONS, rows, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_is_close_over_all_floats(name: str, values: dict[str, torch.Tensor]) -> None:
    _, reference, allowed = FUNCTIONS[name]
    x = torch.cat([FLOATS, EDGES])
    exact, got = reference(x.double()), values[name]
    assert torch.equal(got.isnan(), exact.isnan())
    beyond = exact.abs() >= 2.0**128 - 2.0**103  # what rounds to infinity
    assert torch.equal(got[beyond].double(), exact[beyond].sign() * float("inf"))
    inside = exact.isfinite() & ~beyond
    worst = units_apart(got[inside], exact[inside])
    at = x[inside][worst.argmax()]
    assert worst.max() <= allowed, f"{name}({at!r}) is {worst.max():.2f} units off"


def test_functions_of_two_arguments() -> None:
    a = torch.randn(4096).abs() * 5 + 1e-3
    b = torch.randn(4096) * 3
    rows = evaluate(lambda a, b, c: [T.pow(a, b), T.atan2(b, a), T.fmod(b, a), T.hypot(a, b), T.copysign(a, b)], "float32", a, b)
    exact = [a.double().pow(b.double()), torch.atan2(b.double(), a.double()), torch.fmod(b.double(), a.double())]
    exact += [torch.hypot(a.double(), b.double()), torch.copysign(a.double(), b.double())]
    for got, want in zip(rows, exact, strict=True):
        assert units_apart(got, want).max() <= 2


def test_double_precision() -> None:
    x = torch.randn(1000, dtype=torch.float64)
    rows = evaluate(lambda a, b, c: [T.exp(a), T.tanh(a), T.erf(a), T.sigmoid(a), T.max(a, T.sqrt(a))], "float64", x)
    exact = [x.exp(), x.tanh(), x.erf(), x.sigmoid(), torch.fmax(x, x.sqrt())]
    for got, want in zip(rows, exact, strict=True):
        assert torch.allclose(got, want, rtol=1e-14, atol=0)


def test_half_precision_rounds_the_function_once() -> None:
    x = torch.randn(4096).half()
    rows = evaluate(lambda a, b, c: [T.exp(a), T.tanh(a), T.sqrt(T.abs(a))], "float16", x)
    for got, want in zip(rows, [x.double().exp(), x.double().tanh(), x.double().abs().sqrt()], strict=True):
        assert (got != want.half()).float().mean() < 0.002, "only where the float lies next to a midpoint may it differ"


def test_sections_come_with_what_they_need_and_in_order() -> None:
    text = prelude(["gemm"])
    places = [text.index(section(name)) for name in ("base", "half", "bfloat16", "float8", "pack", "gemm")]
    assert places == sorted(places)
    assert section("math") not in text
    assert prelude([]) == section("base")


@pytest.mark.parametrize("machine", ["haswell", "x86-64"])
def test_narrower_machines(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same answers with vectors of 8 floats, and of 4 with no conversion of halves and no fused multiply-add."""
    if platform.machine() != "x86_64":
        pytest.skip("these are x86 machines")
    flags = tuple(f"-march={machine}" if flag == "-march=native" else flag for flag in compiler.FLAGS)
    monkeypatch.setattr(compiler, "FLAGS", flags)
    for shape, transposed in (((19, 37, 21), (False, True)), ((64, 64, 32), (True, False))):
        a, b, exact = operands(shape, "float16", transposed)
        c = torch.zeros(shape[:2])
        run(product(shape, "float16", "float32", transposed), a, b, c)
        assert torch.equal(c.double(), exact)
    for operation, fold in FOLDS.items():
        x, y = torch.randn(3, 77), torch.zeros(3)
        run(reduced((3, 77), 1, operation, "float32", "float32"), x, y)
        assert torch.allclose(y, fold(x, 1), rtol=1e-6)
    values = near_the_edges("float16")
    assert torch.equal(bits(evaluate(lambda a, b, c: [T.cast(a, "float16")], "float16", values)[0]), bits(values.half()))
    x = torch.cat([FLOATS[::16], EDGES])
    rows = evaluate(lambda a, b, c: [function(a) for function, _, _ in OURS], "float32", x)
    for got, (_, reference, allowed) in zip(rows, OURS, strict=True):
        exact = reference(x.double())
        inside = exact.isfinite() & (exact.abs() < 2.0**128 - 2.0**103)
        assert units_apart(got[inside], exact[inside]).max() <= allowed
