"""Running references on tensors with errors: what is taken apart, what is refused, how contributions are put together."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch.nn import functional

from mosaic.dtypes import DTYPES
from mosaic.errors import KernelError
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, gap, merge_shares, times
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import numbers, through, with_error


def test_an_error_tensor_is_a_tensor_of_its_shape() -> None:
    x = with_error(torch.ones(2, 3), torch.full((2, 3), 0.5))
    assert isinstance(x, torch.Tensor)
    assert (tuple(x.shape), x.dtype, x.ndim, x.numel()) == ((2, 3), torch.float64, 2, 6)
    assert float(x.bound.max()) == 0.5
    assert not x.is_exact
    assert ErrorTensor(torch.ones(2), None).is_exact
    assert "bound" in repr(x)


def test_it_is_of_no_use_outside_of_an_analysis() -> None:
    with pytest.raises(RuntimeError, match="outside of an Analysis"):
        with_error(torch.ones(2), torch.ones(2)) + 1


def test_contributions_add_up() -> None:
    value = torch.tensor([1.0, 2.0, math.nan, math.inf], dtype=torch.float64)
    nan = torch.tensor([0.0, math.nan, math.nan, math.nan], dtype=torch.float64)
    one = torch.ones(4, dtype=torch.float64)
    made = build(value, [Part("a", one), Part("b", 3 * one, one)], lineage=frozenset({(1, 0)}))
    assert made.bound.tolist() == [5.0, 5.0, 0.0, 5.0]
    assert made.shares == {"a": pytest.approx(0.2), "b": pytest.approx(0.8)}
    # a NaN error: nothing is known of a number, and an infinity is what it is
    assert build(value, [Part("a", nan)]).bound.tolist() == [0.0, math.inf, 0.0, 0.0]


def test_helpers() -> None:
    infinite = torch.tensor([math.inf, math.inf, 1.0])
    assert gap(infinite, torch.tensor([math.inf, 0.0, 3.0])).tolist() == [0.0, math.inf, 2.0]
    assert times(infinite, torch.tensor([0.0, 1.0, 2.0])).tolist() == [0.0, math.inf, 2.0]
    assert merge_shares([({"a": 1.0}, 1.0), ({"a": 0.5, "b": 0.5}, 2.0), ({}, 5.0)]) == {
        "a": pytest.approx(2 / 3),
        "b": pytest.approx(1 / 3),
    }
    assert merge_shares([]) == {}


def test_an_unknown_function_is_refused_with_its_name() -> None:
    x = numbers((3, 3), "float32")
    with pytest.raises(KernelError, match=r"'linalg_inv_ex'.*no error rule exists"):
        bounds_of(torch.linalg.inv, [x], ["float32"])
    with pytest.raises(KernelError, match="fft"):
        bounds_of(lambda t: torch.fft.fft(t).real, [x], ["float32"])


def test_what_the_author_raises_is_told() -> None:
    def broken(x: torch.Tensor) -> torch.Tensor:
        raise ValueError("two\nlines")

    with pytest.raises(KernelError, match=r"the reference failed: ValueError: two$"):
        bounds_of(broken, [numbers((3,))], ["float16"])
    with pytest.raises(KernelError, match="returned a int"):
        bounds_of(lambda x: 3, [numbers((3,))], ["float16"])


def test_composed_functions_are_taken_apart() -> None:
    x, y = numbers((2, 4, 8), "float32", seed=1), numbers((2, 4, 8), "float32", seed=2)
    composed: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        "cosine": lambda a, b: functional.cosine_similarity(a, b, dim=-1),
        "distance": lambda a, b: functional.pairwise_distance(a[0], b[0]),
        "mse": functional.mse_loss,
        "cumulative": lambda a, b: torch.cumsum(a, 1) * torch.outer(b[0, 0], b[0, 1]).sum(),
        "swap": lambda a, b: torch.einsum("ijk,lmk->ijlm", a, b),
        "kron": lambda a, b: torch.kron(a[0, :2, :2], b[0, :2, :2]),
        "moments": lambda a, b: (a * b).mean((0, 2)) + a.std(dim=(0, 2)),
    }
    for name, function in composed.items():
        (bound,) = bounds_of(function, [x, y], ["float32"])
        assert bound.compare(function(x, y)).passed, name
        assert bound.looseness < 1e-4, name


def test_tensors_that_a_reference_makes_are_exact() -> None:
    x = numbers((4, 6), "float16", seed=1)

    def rope(t: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(4, dtype=t.dtype)[:, None] * 10000.0 ** (-torch.arange(3, dtype=t.dtype) / 3)
        cos, sin = torch.cos(angles), torch.sin(angles)
        a, b = t.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    (bound,) = bounds_of(rope, [x], ["float16"])
    assert bound.compare(rope(x.float()).half()).passed
    assert bound.looseness < 1e-3
    assert not bound.compare(x).passed


def test_integers_become_floats_of_full_precision() -> None:
    codes = torch.arange(-8, 8, dtype=torch.int8).reshape(2, 8)
    scale = numbers((2, 1), "float32", seed=1)
    (bound,) = bounds_of(lambda q, s: (q - 3) * s * 0.1, [codes, scale], ["float32"])
    assert bound.compare((codes - 3).float() * scale * 0.1).passed
    assert torch.get_default_dtype() == torch.float32
    torch.testing.assert_close(bound.value, (codes.double() - 3) * scale.double() * 0.1, rtol=1e-15, atol=0)


def test_rounding_marks_the_grid_and_keeps_exact_numbers_exact() -> None:
    analysis = Analysis(Arithmetic())
    half = DTYPES["float16"]
    exact = analysis.rounded(ErrorTensor(torch.tensor([1.0, 2.5], dtype=torch.float64), None), half, "x")
    assert exact.grid == "float16"
    assert exact.is_exact
    rough = analysis.rounded(ErrorTensor(torch.tensor([0.1, 1.0, math.inf], dtype=torch.float64), None), half, "x")
    assert rough.noise is not None
    assert rough.noise.tolist() == [2.0**-15, 0.0, 0.0]
    assert analysis.rounded(rough, half, "x") is rough
    assert analysis.rounded(rough, DTYPES["float32"], "x") is rough


def test_float64_kernels_compute_in_float64() -> None:
    a, b = (numbers((8, 32), "float32", seed=1).double(), numbers((32, 8), "float32", seed=2).double())
    (bound,) = bounds_of(torch.matmul, [a, b], ["float64"])
    assert float(bound.error.max()) < 1e-12
    assert bound.compare(torch.einsum("ik,kj->ij", a, b)).passed
    assert not bound.compare((a.float() @ b.float()).double()).passed


def test_causes_are_named() -> None:
    a, b = numbers((8, 96), "float16", seed=1), numbers((96, 8), "float16", seed=2)
    (bound,) = bounds_of(lambda x, y: functional.gelu(x @ y), [a, b], ["float16"])
    assert set(bound.shares) == {"adding 96 terms in float32 products", "GELU", "rounding the result to float16"}
    assert sum(bound.shares.values()) == pytest.approx(1.0)
    assert "rounding the result to float16" in bound.explanation


def test_rules_may_be_reached_inside_a_no_grad_region_and_a_lambda() -> None:
    x = numbers((3, 3), "float32").requires_grad_()
    with torch.no_grad():
        assert bounds_of(lambda t: t.detach() * 2, [x], ["float32"])[0].value.shape == (3, 3)
    assert through(lambda t: t.data, with_error(torch.ones(2), torch.ones(2))).bound.tolist() == [1.0, 1.0]


def test_noise_without_a_known_rounding_is_error() -> None:
    value, one = torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    made = ErrorTensor(value, None, noise=one, drift=one)
    assert made.noise is None
    assert made.bound.tolist() == [1.0, 1.0]
    without_drift = build(value, [Part("a", one, one)], lineage=frozenset({(1, 0)}))
    assert without_drift.noise is None
    assert without_drift.bound.tolist() == [2.0, 2.0]


def test_what_is_unknown_stays_unknown_in_bounded_functions() -> None:
    """An overflow may have become a NaN."""
    x = with_error(torch.tensor([[1.0, 2.0], [1.0, 2.0]]), torch.tensor([[math.inf, 0.0], [0.0, 0.0]]))
    for function in (
        torch.sigmoid,
        torch.tanh,
        torch.sin,
        torch.sign,
        lambda t: t.clamp(0, 1),
        lambda t: torch.where(t > 0, t, 1.0),
        torch.relu,
    ):
        assert torch.isinf(through(function, x).bound).tolist() == [[True, False], [False, False]]
    assert torch.isinf(through(lambda t: torch.softmax(t, -1), x).bound).tolist() == [[True, True], [False, False]]
    assert torch.isinf(through(lambda t: t @ torch.zeros(2, 1), x).bound).squeeze(1).tolist() == [True, False]
