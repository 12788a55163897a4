"""Sums and products: honest orders of addition stay within the bound, wrong terms don't."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.rules_sums import repeats
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import FINITE, PRODUCTS, numbers, product_tf32, store, violation

NARROW: Final = ("float16", "bfloat16")
REDUCTIONS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "sum": lambda x: x.sum(-1),
    "sum_all": lambda x: x.sum(),
    "sum_two": lambda x: x.sum((0, 2), keepdim=True),
    "mean": lambda x: x.mean(1),
    "var": lambda x: x.var(-1),
    "var_population": lambda x: x.var(-1, unbiased=False),
    "std": lambda x: (x + 3).std((1, 2)),
    "var_mean": lambda x: torch.var_mean(x, -1)[0] + torch.var_mean(x, -1)[1],
    "norm": lambda x: x.norm(dim=-1),
    "norm_1": lambda x: torch.linalg.vector_norm(x, 1, dim=-1),
    "norm_inf": lambda x: torch.linalg.vector_norm(x, math.inf, dim=-1),
    "normalize": lambda x: functional.normalize(x + 2, dim=-1),
    "cumsum": lambda x: x.cumsum(-1),
    "prod": lambda x: (1 + 0.01 * x).prod(-1),
    "squares": lambda x: x.pow(2).mean(-1, keepdim=True),
    "average_pool": lambda x: functional.avg_pool1d(x, 3),
    "average_pool_2d": lambda x: functional.avg_pool2d(x, 2),
}


@pytest.mark.parametrize("distribution", FINITE)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_float32_reductions_are_within_the_bound(name: str, distribution: str) -> None:
    x = numbers((3, 8, 96), "float32", distribution, seed=name)
    (bound,) = bounds_of(REDUCTIONS[name], [x], ["float32"])
    comparison = bound.compare(REDUCTIONS[name](x))
    assert comparison.passed, (comparison.worst, float(comparison.ratio.max()))


@pytest.mark.parametrize("size", [1e-6, 1e-2])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_propagated_errors_of_reductions(name: str, size: float) -> None:
    x = numbers((3, 8, 24), "float32", seed=name)
    error = numbers((3, 8, 24), "float32", "uniform", seed="error").double().abs() * size
    assert violation(REDUCTIONS[name], [x], [error], 5) <= 1.0


@pytest.mark.parametrize("size", [1e-6, 1e-2])
def test_propagated_errors_of_products(size: float) -> None:
    a, b = numbers((2, 9, 33), "float32", seed=1), numbers((2, 33, 7), "float32", seed=2)
    errors = [numbers(t.shape, "float32", "uniform", seed=3).double().abs() * size for t in (a, b)]
    for function in (torch.matmul, lambda x, y: torch.einsum("bik,bkj->bji", x, y), lambda x, y: torch.baddbmm(x[..., :7], x, y, beta=0.5)):
        assert violation(function, [a, b], errors, 5) <= 1.0
    vector = [numbers((33,), "float32", seed=4)]
    assert violation(lambda x, v: x[0] @ v, [a, *vector], [errors[0], torch.full((33,), size)], 6) <= 1.0


def test_propagated_errors_of_convolutions() -> None:
    x, w, b = (numbers(s, "float32", seed=str(s)) for s in ((2, 4, 9, 10), (6, 2, 3, 2), (6,)))
    errors = [torch.full(t.shape, 1e-3) for t in (x, w, b)]
    assert violation(lambda s, k, c: functional.conv2d(s, k, c, stride=(2, 1), padding=1, groups=2), [x, w, b], errors, 5) <= 1.0
    signal, kernel = numbers((2, 4, 20), "float32", seed=1), numbers((5, 4, 3), "float32", seed=2)
    errors = [torch.full(t.shape, 1e-3) for t in (signal, kernel)]
    assert violation(lambda s, k: functional.conv1d(s, k, dilation=2), [signal, kernel], errors, 5) <= 1.0


@settings(max_examples=40)
@given(
    st.sampled_from((*NARROW, "float32")), st.integers(1, 24), st.sampled_from((1, 2, 3, 16, 17, 64, 257, 1024)), st.integers(1, 24),
    st.sampled_from(FINITE), st.sampled_from(FINITE), st.sampled_from(tuple(PRODUCTS)), st.integers(0, 1000),
)  # fmt: skip
def test_products_in_any_order_are_within_the_bound(
    dtype: str, rows: int, reduction: int, columns: int, first: str, second: str, order: str, seed: int
) -> None:
    a, b = numbers((rows, reduction), dtype, first, f"a{seed}"), numbers((reduction, columns), dtype, second, f"b{seed}")
    (bound,) = bounds_of(torch.matmul, [a, b], [dtype])
    comparison = bound.compare(store(PRODUCTS[order](a, b), dtype))
    assert comparison.passed, (comparison.worst, float(comparison.ratio.max()))


@pytest.mark.parametrize("reduction", [16, 64, 1024, 8192])
def test_long_sums_of_equal_terms_drift_in_one_direction(reduction: int) -> None:
    """Equal terms round alike, so that errors add up: the square root of the length would be too little."""
    for value in (0.1, 0.3, 1 / 3, 0.7, 1.1):
        a, b = torch.full((1, reduction), value), torch.full((reduction, 1), 1.7)
        (bound,) = bounds_of(torch.matmul, [a, b], ["float32"])
        (added,) = bounds_of(lambda x: x.sum(-1), [a], ["float32"])
        for product in PRODUCTS.values():
            assert bound.compare(product(a, b)).passed
        total = torch.zeros(1)
        for k in range(reduction):
            total = total + a[:, k]
        assert added.compare(total).passed


def test_the_bound_grows_with_the_square_root_of_the_length() -> None:
    def median(reduction: int) -> float:
        a, b = numbers((4, reduction), "float32", seed=1), numbers((reduction, 4), "float32", seed=2)
        (bound,) = bounds_of(torch.matmul, [a, b], ["float32"])
        return float((bound.error / (a.double().abs() @ b.double().abs())).median())

    assert median(16384) / median(1024) == pytest.approx(4.0, rel=0.25)


def test_tf32_is_accepted_only_where_it_is_allowed() -> None:
    a, b = numbers((16, 256), "float32", seed=1), numbers((256, 16), "float32", seed=2)
    for first, second in ((a, b), (a.abs(), b.abs())):
        got = product_tf32(first, second)
        (strict,) = bounds_of(torch.matmul, [first, second], ["float32"])
        (loose,) = bounds_of(torch.matmul, [first, second], ["float32"], Arithmetic(tf32=True))
        assert not strict.compare(got).passed
        assert loose.compare(got).passed
        coarse = store(first, "float8_e5m2").float() @ store(second, "float8_e5m2").float()
        assert not loose.compare(coarse).passed
    assert "tf32" in loose.explanation


def test_tf32_of_subnormal_numbers_loses_what_their_last_bit_is_worth() -> None:
    a = torch.ldexp(numbers((16, 32), "float32", seed=1), torch.tensor(-132))
    b = torch.ldexp(numbers((32, 16), "float32", seed=2), torch.tensor(90))
    cut_off = (a.view(torch.int32) & ~0x1FFF).view(torch.float32)
    assert float((cut_off - a).abs().max()) > 2.0**-137
    (loose,) = bounds_of(torch.matmul, [a, b], ["float32"], Arithmetic(tf32=True))
    assert loose.compare((cut_off.double() @ b.double()).float()).passed
    (strict,) = bounds_of(torch.matmul, [a, b], ["float32"])
    assert not strict.compare((cut_off.double() @ b.double()).float()).passed


def test_tf32_changes_nothing_for_narrow_operands_or_whole_numbers() -> None:
    a, b = numbers((16, 64), "float16", seed=1), numbers((64, 16), "float16", seed=2)
    plain, tf32 = (bounds_of(torch.matmul, [a, b], ["float16"], Arithmetic(tf32=flag))[0] for flag in (False, True))
    assert torch.equal(plain.error, tf32.error)
    whole = [numbers(s, "float32", "integers") for s in ((8, 32), (32, 8))]
    assert not bounds_of(torch.matmul, whole, ["float32"], Arithmetic(tf32=True))[0].error.any()


def test_whole_numbers_must_be_exact() -> None:
    a, b = numbers((16, 300), "float16", "integers", 1), numbers((300, 16), "float16", "integers", 2)
    (bound,) = bounds_of(torch.matmul, [a, b], ["float32"])
    assert not bound.error.any()
    right = a.float() @ b.float()
    assert bound.compare(right).passed
    wrong = right.clone()
    wrong[3, 4] += 1
    assert bound.compare(wrong).worst == (3, 4)
    assert not bounds_of(lambda x: x.sum(-1), [a], ["float32"])[0].error.any()
    assert not bounds_of(lambda x: x.cumsum(-1), [a], ["float32"])[0].error.any()


def test_fp8_accumulators_of_hopper() -> None:
    """Truncation after 13 bits, in groups of 32, of the running sum."""
    from tests.harness.honest import cut

    a, b = numbers((16, 512), "float8_e4m3fn", seed=1), numbers((512, 16), "float8_e4m3fn", seed=2)
    total = torch.zeros(16, 16, dtype=torch.float64)
    for k in range(0, 512, 32):
        total = cut(total + a[:, k : k + 32].double() @ b[k : k + 32].double(), 14)
    (strict,) = bounds_of(torch.matmul, [a, b], ["float32"])
    (loose,) = bounds_of(torch.matmul, [a, b], ["float32"], Arithmetic(fp8_accumulator_bits=13))
    assert not strict.compare(total.float()).passed
    assert loose.compare(total.float()).passed
    assert loose.looseness < 0.05


def test_operands_computed_inside_a_kernel_may_be_narrow() -> None:
    a, b, c = (numbers((24, 24), "float16", seed=seed) for seed in range(3))

    def chain(x: torch.Tensor, y: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return (x @ y) @ z

    got = ((a.float() @ b.float()).half().float() @ c.float()).half()
    assert bounds_of(chain, [a, b, c], ["float16"])[0].compare(got).passed
    assert not bounds_of(chain, [a, b, c], ["float16"], Arithmetic(narrow_operands=False))[0].compare(got).passed


def test_a_wider_accumulator_has_a_smaller_bound() -> None:
    a, b = numbers((8, 256), "float16", seed=1), numbers((256, 8), "float16", seed=2)
    errors = [
        float(bounds_of(torch.matmul, [a, b], ["float32"], Arithmetic(compute=name, narrow_operands=False))[0].error.max())
        for name in ("float16", "float32")
    ]
    assert errors[0] > 1000 * errors[1]


def test_overflow_of_a_partial_sum() -> None:
    x = torch.tensor([[3e38, 3e38, -3e38, -3e38], [1.0, 2.0, 3.0, 4.0]])
    assert torch.isinf(bounds_of(lambda t: t.sum(1), [x], ["float32"])[0].error).tolist() == [True, False]
    (bound,) = bounds_of(lambda t: t @ torch.ones(4, 1), [x], ["float32"])
    assert torch.isinf(bound.error).squeeze().tolist() == [True, False]


def test_infinite_operands() -> None:
    a = torch.tensor([[math.inf, 1.0], [2.0, 3.0]])
    b = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    (bound,) = bounds_of(torch.matmul, [a, b], ["float32"])
    assert not torch.isinf(bound.error).any()
    assert bound.compare(a @ b).passed
    assert not bound.compare(torch.tensor([[math.inf, math.inf], [5.0, 1.0]])).passed
    assert not bound.compare(torch.tensor([[1e30, -math.inf], [5.0, 1.0]])).passed


@given(st.lists(st.sampled_from((0.0, 1.0, 2.5, -1.0)), min_size=1, max_size=20))
def test_repeats_counts_equal_elements(values: list[float]) -> None:
    counted = repeats(torch.tensor([values, values], dtype=torch.float64), None, [1])
    assert counted[0].tolist() == [0.0 if value == 0 else float(values.count(value)) for value in values]
    both = repeats(torch.tensor([values, values], dtype=torch.float64), None, [0, 1])
    assert both[1].tolist() == [0.0 if value == 0 else 2.0 * values.count(value) for value in values]


def test_repeats_takes_values_that_round_alike_for_equal() -> None:
    value = torch.tensor([[1.0, 1.0 + 1e-6, 1.1]], dtype=torch.float64)
    assert repeats(value, torch.full((1, 3), 1e-3, dtype=torch.float64), [1]).tolist() == [[2.0, 2.0, 1.0]]


def test_forms_without_a_rule_are_refused() -> None:
    x = numbers((1, 2, 8), "float32")
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: torch.linalg.vector_norm(t, 3), [x], ["float32"])
    with pytest.raises(KernelError, match="no error rule"):
        bounds_of(lambda t: functional.conv_transpose1d(t, torch.ones(2, 1, 3)), [x], ["float32"])
