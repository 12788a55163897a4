"""Cases of the kernels' tests: shapes and tunables that are drawn for each kernel, and what a case is checked for.

@on_cases("gemm", "gemm_nt")
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import TargetError
from mosaic.graph import Graph
from mosaic.graph.kernel import Kernel, Spec, Value, find
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.inputs import DISTRIBUTIONS
from mosaic.harness.verify import verify
from mosaic.kernels import load, unsupported
from mosaic.kernels.gemm import MAX_SHARED_BYTES
from mosaic.targets import find as find_target

load()

GPU_TARGETS: Final = ("sm_80", "sm_90a", "sm_100a", "gfx942", "gfx950")

FLOATS: Final = ("float16", "bfloat16", "float32")

# 1, primes, powers of two, their neighbours, multiples of tiles
SIZES: Final = (1, 2, 3, 5, 7, 16, 17, 31, 32, 33, 64, 67, 96, 97, 128, 131, 160)
ROWS: Final = (1, 2, 3, 7, 16, 33)
ROW_LENGTHS: Final = (*SIZES, 384, 509, 768, 1000)


SOME_DISTRIBUTIONS: Final = ("normal", "mixed", "infinite")


@dataclass(frozen=True)
class Case:
    """One kernel at one shape with one choice of tunables."""

    kernel: Kernel
    inputs: tuple[Spec, ...]
    attributes: Mapping[str, Value]
    tunables: Mapping[str, Value]
    distributions: tuple[str, ...] = SOME_DISTRIBUTIONS
    """Of the inputs, as `mosaic.harness.inputs` names them."""

    def __str__(self) -> str:
        return f"{self.kernel.name}({', '.join(map(str, self.inputs))}; {dict(self.attributes)}; {dict(self.tunables)})"

    @property
    def func(self) -> Any:
        """The kernel's PrimFunc."""
        return self.kernel.instantiate(self.kernel.bind(self.inputs, self.attributes), self.tunables)

    def graph(self) -> tuple[Graph, tuple[str, ...]]:
        """A graph of this kernel alone, with its outputs' names in order."""
        graph = Graph(self.kernel.name)
        tensors = [graph.input(role.name, spec.shape, spec.dtype) for role, spec in zip(self.kernel.inputs, self.inputs, strict=True)]
        result = graph.call(self.kernel, *tensors, name="result", **self.attributes)
        outputs = result if isinstance(result, tuple) else (result,)
        graph.output(*outputs)
        return graph, tuple(tensor.name for tensor in outputs)

    def check(self, run: Callable[..., None], device: str, seed: int, arithmetic: Arithmetic | None = None) -> None:
        """Compare with the float64 reference on inputs of the distributions. `run` takes all tensors in the order of the parameters."""
        graph, names = self.graph()

        def candidate(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            specs = [graph.tensors[name].spec for name in names]
            outputs = [torch.empty(spec.shape, dtype=find_dtype(spec.dtype).torch, device=device) for spec in specs]
            run(*(inputs[role.name].contiguous() for role in self.kernel.inputs), *outputs)
            return dict(zip(names, outputs, strict=True))

        # ids may point beyond the table's rows for the kernel, but not for PyTorch
        ranges = {"ids": (0, self.inputs[1].shape[0] - 1)} if self.kernel.name == "embedding" else None
        report = verify(graph, candidate, distributions=self.distributions, seed=seed, ranges=ranges, device=device, arithmetic=arithmetic)
        assert not report.failures, f"{self}\n{report.summary()}"

    def check_on_cpu(self, seed: int = 0) -> None:
        from mosaic.targets.cpu import compile_cpu

        self.check(compile_cpu(self.func), "cpu", seed)

    def check_lowers(self, target: str) -> None:
        """It lowers for the target, unless its tiles are larger than the target's shared memory."""
        from mosaic.targets.lower import lower

        try:
            lowered = lower(self.func, target, binary=False)
        except TargetError as error:
            if "shared memory" in str(error) and find_target(target).shared_per_block < MAX_SHARED_BYTES:
                return
            raise AssertionError(f"{self} for {target}: {error}") from error
        assert "__global__" in lowered.source, f"{self} for {target}"


Drawn = tuple[tuple[Spec, ...], dict[str, Value]]


class Chooser:
    """Draws sizes; a test draws from hypothesis, others from a seed."""

    def __init__(self, pick: Callable[[tuple[Any, ...]], Any]) -> None:
        self.pick = pick
        self.dtype = str(pick(FLOATS))

    def size(self, sizes: tuple[int, ...] = SIZES) -> int:
        return int(self.pick(sizes))

    def specs(self, *shapes: tuple[int, ...]) -> tuple[Spec, ...]:
        return tuple(Spec(shape, self.dtype) for shape in shapes)


def _product(c: Chooser, transposed: bool) -> Drawn:
    M, N, K = c.size(), c.size((*SIZES, 384)), c.size()
    return c.specs((M, K), (N, K) if transposed else (K, N)), {}


def _rows(c: Chooser, *vectors: str, **attributes: Value) -> Drawn:
    M, N = c.size(ROWS), c.size(ROW_LENGTHS)
    return c.specs((M, N), *[(N,)] * len(vectors)), dict(attributes)


def _tiles(c: Chooser, count: int = 1, **attributes: Value) -> Drawn:
    return c.specs(*[(c.size(), c.size((*SIZES, 384)))]) * count, dict(attributes)


def _bias(c: Chooser) -> Drawn:
    (x,), _ = _tiles(c)
    return (x, Spec(x.shape[1:], c.dtype)), {}


def _heads(c: Chooser, masked: bool = False) -> Drawn:
    B, S, L = c.size((1, 2)), c.size((1, 5, 33, 70)), c.size((1, 7, 32, 65))
    H, G = c.pick(((1, 1), (2, 2), (4, 2), (3, 1)))
    D = c.size((8, 16, 32, 33, 64, 80))
    mask = (Spec((B, L), "int32"),) if masked else ()
    return (*c.specs((B, S, H, D), (B, L, G, D), (B, L, G, D)), *mask), {}


def _embedding(c: Chooser) -> Drawn:
    M, V, N = c.size(), c.size(), c.size()
    return (Spec((M,), "int32"), Spec((V, N), c.dtype)), {}


def _positions(c: Chooser) -> Drawn:
    M, N, length = c.size(), c.size(), c.size((0, 1, 7, 16))
    return c.specs((M, N), ((length or M) + c.size((0, 5)), N)), {"S": length}


def _rope(c: Chooser) -> Drawn:
    B, S, H, half, start = c.size((1, 2)), c.size(ROWS), c.size((1, 3)), c.size((1, 5, 16, 32)), c.size((0, 3))
    table = Spec((S + start, half), str(c.pick(("float32", c.dtype))))
    return (Spec((B, S, H, 2 * half), c.dtype), table, table), {"start": start}


def _pool(c: Chooser) -> Drawn:
    window, stride = c.size((1, 2, 3)), c.size((1, 2, 3))
    return c.specs((c.size((1, 2)), c.size(SIZES) + window - 1, c.size())), {"window": window, "stride": stride}


def _convolution(c: Chooser) -> Drawn:
    W, stride, padding = c.size((1, 2, 3)), c.size((1, 2)), c.size((0, 1, 2))
    B, L, C, channels = c.size((1, 2)), c.size() + W - 1, c.size(), c.size()
    return c.specs((B, L, C), (W, C, channels)), {"stride": stride, "padding": padding}


def _int4(c: Chooser, product: bool) -> Drawn:
    N, group, groups = c.size(), c.size((2, 16, 32)), c.size((1, 2, 3, 5))
    K = group * groups
    weight = (Spec((N, K // 2), "uint8"), Spec((N, groups), c.dtype))
    return ((*c.specs((c.size(), K)), *weight) if product else weight), {"group": group}


def _fp8(c: Chooser) -> Drawn:
    M, N, K = c.size(), c.size(), c.size()
    narrow, wide = "float8_e4m3fn", "float32"
    return (Spec((M, K), narrow), Spec((M,), wide), Spec((N, K), narrow), Spec((N,), wide)), {"dtype": c.dtype}


def _pooled(c: Chooser) -> Drawn:
    B, S, D = c.size((1, 2, 3)), c.size(), c.size()
    return (Spec((B, S, D), c.dtype), Spec((B, S), "int32")), {}


def _masked_rows(c: Chooser) -> Drawn:
    M, N = c.size(ROWS), c.size(ROW_LENGTHS)
    return (Spec((M, N), c.dtype), Spec((M, N), "int32")), {}


def _any_copy(c: Chooser) -> Drawn:
    dtype = str(c.pick((*FLOATS, "int32", "int8", "uint8")))
    return (Spec((c.size(), c.size()), dtype),), {}


DRAW: Final[dict[str, Callable[[Chooser], Drawn]]] = {
    "add": lambda c: _tiles(c, 2),
    "add_positions": _positions,
    "argmax": _rows,
    "attention": _heads,
    "attention_causal": _heads,
    "attention_masked": lambda c: _heads(c, masked=True),
    "avg_pool1d": _pool,
    "bias": _bias,
    "cast": lambda c: _tiles(c, to=c.pick(FLOATS)),
    "conv1d": _convolution,
    "copy": _any_copy,
    "dequantize_int4": lambda c: _int4(c, product=False),
    "embedding": _embedding,
    "gemm": lambda c: _product(c, transposed=False),
    "gemm_fp8": _fp8,
    "gemm_int4": lambda c: _int4(c, product=True),
    "gemm_nt": lambda c: _product(c, transposed=True),
    "l2_normalize": _rows,
    "layer_norm": lambda c: _rows(c, "weight", "bias", eps=c.pick((1e-5, 1e-12))),
    "masked_mean_pool": _pooled,
    "max_pool1d": _pool,
    "multiply": lambda c: _tiles(c, 2),
    "quantize_fp8": _rows,
    "residual_add": lambda c: _tiles(c, 2),
    "rms_norm": lambda c: _rows(c, "weight"),
    "rope": _rope,
    "row_max": _rows,
    "row_mean": _rows,
    "row_sum": _rows,
    "scale": lambda c: _tiles(c, factor=c.pick((1.0, -0.37, 1024.0))),
    "silu_multiply": lambda c: _tiles(c, 2),
    "softmax": _rows,
    "softmax_masked": _masked_rows,
    "transpose": _any_copy,
}
"""How shapes and attributes are drawn; kernels that are not listed take one matrix."""


def _draw(name: str, pick: Callable[[tuple[Any, ...]], Any], distributions: tuple[str, ...]) -> Case:
    kernel = find(name)
    inputs, attributes = DRAW.get(name, _tiles)(Chooser(pick))
    choices = tuple(kernel.choices(kernel.bind(inputs, attributes)))
    assert choices, f"{name} has no tunables for {', '.join(map(str, inputs))}"
    return Case(kernel, inputs, attributes, pick(choices), distributions)


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """A kernel at a drawn shape with drawn tunables."""
    distributions = draw(st.permutations([each for each in DISTRIBUTIONS if each != "normal"]))[:2]
    return _draw(name, lambda options: draw(st.sampled_from(options)), ("normal", *distributions))


def seeded_case(name: str, seed: int | str) -> Case:
    """The case that a seed stands for, with inputs of every distribution."""
    return _draw(name, random.Random(f"{name}/{seed}").choice, tuple(DISTRIBUTIONS))


def on_cases(*names: str, count: int = 3) -> Callable[[Callable[..., None]], Any]:
    """The test runs for each kernel on `count` drawn cases, the same in every run."""

    def decorate(test: Callable[..., None]) -> Any:
        # shrinking would compile hundreds of programs; the case that fails is small enough to read
        quick = settings(
            max_examples=count,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        return pytest.mark.parametrize("name", names)(quick(given(data=st.data())(test)))

    return decorate


def targets_for(*names: str) -> Any:
    """The test runs for each kernel with two GPU targets, one of each maker, that change from kernel to kernel."""
    pairs = []
    for name in names:
        number = zlib.crc32(name.encode())
        pairs += [(name, GPU_TARGETS[number % 3]), (name, GPU_TARGETS[3 + number % 2])]
    return pytest.mark.parametrize(("name", "target"), [pair for pair in pairs if unsupported(*pair) is None])


def check_lowers(name: str, target: str, seed: int | str = 0) -> None:
    """A case drawn by the seed lowers for the target."""
    seeded_case(name, seed).check_lowers(target)
