"""Softmax, normalisations and attention, as different authors compute them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import pytest
import torch
from torch.nn import functional

from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import FINITE, numbers, store, violation

ROWS: Final[dict[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "softmax": lambda x: torch.softmax(x, -1),
    "softmax_first": lambda x: torch.softmax(x, 0),
    "steep_softmax": lambda x: torch.softmax(x * 20, -1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "logsumexp": lambda x: torch.logsumexp(x, -1),
    "logsumexp_two": lambda x: torch.logsumexp(x, (0, 1), keepdim=True),
    "layer_norm": lambda x: functional.layer_norm(x, (x.shape[-1],)),
    "rms_norm": lambda x: functional.rms_norm(x, (x.shape[-1],), eps=1e-6),
    "group_norm": lambda x: functional.group_norm(x[None], 4),
    "cross_entropy": lambda x: functional.cross_entropy(x, torch.zeros(x.shape[0], dtype=torch.int64), reduction="none"),
}


@pytest.mark.parametrize("distribution", FINITE)
@pytest.mark.parametrize("name", ROWS)
def test_float32_results_are_within_the_bound(name: str, distribution: str) -> None:
    x = numbers((8, 200), "float32", distribution, seed=name)
    (bound,) = bounds_of(ROWS[name], [x], ["float32"])
    comparison = bound.compare(ROWS[name](x))
    assert comparison.passed, (comparison.worst, float(comparison.ratio.max()))


@pytest.mark.parametrize("size", [1e-6, 1e-2, 0.5])
@pytest.mark.parametrize("name", ROWS)
def test_propagated_errors(name: str, size: float) -> None:
    x = numbers((8, 24), "float32", seed=name)
    error = numbers((8, 24), "float32", "uniform", seed="error").double().abs() * size
    assert violation(ROWS[name], [x], [error], 5) <= 1.0


def test_softmax_with_masks() -> None:
    x = numbers((6, 40), "float32", seed=1)
    for lowest in (-math.inf, -1e30, -1e9, -65504.0):
        masked = x.masked_fill(torch.arange(40) > torch.arange(6)[:, None] * 8, lowest)
        (bound,) = bounds_of(lambda t: torch.softmax(t, -1), [masked], ["float32"])
        right = torch.softmax(masked, -1)
        assert bound.compare(right).passed
        assert not torch.isinf(bound.error).any()
        wrong = right.clone()
        wrong[0, 39] = 1e-3
        assert bound.compare(wrong).worst == (0, 39)


def test_a_fully_masked_row_is_nan() -> None:
    x = torch.full((2, 5), -math.inf)
    x[1] = 0.0
    (bound,) = bounds_of(lambda t: torch.softmax(t, -1), [x], ["float32"])
    assert bound.compare(torch.softmax(x, -1)).passed
    assert not bound.compare(torch.full((2, 5), 0.2)).passed


def test_softmax_in_base_two_and_online() -> None:
    """exp2 of scaled scores, block by block with a running maximum, as attention kernels do."""
    x = numbers((16, 512), "float16", seed=1) * 8
    (bound,) = bounds_of(lambda t: torch.softmax(t, -1), [x], ["float32"])
    scale = torch.tensor(math.log2(math.e), dtype=torch.float32)
    top, total = torch.full((16, 1), -1e30), torch.zeros(16, 1)
    for block in x.float().chunk(8, 1):
        new = torch.maximum(top, (block * scale).amax(1, keepdim=True))
        total = total * torch.exp2(top - new) + torch.exp2(block * scale - new).sum(1, keepdim=True)
        top = new
    assert bound.compare(torch.exp2(x.float() * scale - top) / total).passed


def test_layer_norm_by_two_passes_and_by_welford() -> None:
    weight, bias = numbers((96,), "float16", seed=2), numbers((96,), "float16", seed=3)
    for offset in (0.0, 4.0, 64.0):
        x = numbers((8, 96), "float16", seed=1) + offset
        (bound,) = bounds_of(lambda t, w, b: functional.layer_norm(t, (96,), w, b), [x, weight, bias], ["float16"])
        centred = x.float() - x.float().mean(1, keepdim=True)
        two_passes = centred * torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-5) * weight.float() + bias.float()
        assert bound.compare(two_passes.half()).passed
        mean, squares = torch.zeros(8), torch.zeros(8)
        for k in range(96):
            difference = x[:, k].float() - mean
            mean = mean + difference / (k + 1)
            squares = squares + difference * (x[:, k].float() - mean)
        welford = (x.float() - mean[:, None]) * torch.rsqrt(squares / 96 + 1e-5)[:, None] * weight.float() + bias.float()
        assert bound.compare(welford.half()).passed
        assert bound.looseness < 2e-3
        forgotten_mean = x.float() * torch.rsqrt((centred * centred).mean(1, keepdim=True) + 1e-5) * weight.float() + bias.float()
        assert not bound.compare(forgotten_mean.half()).passed


def test_whole_numbers_are_not_exact_in_a_running_mean() -> None:
    x = numbers((33, 16), "float32", "integers", 3)
    (bound,) = bounds_of(lambda t: functional.layer_norm(t, (16,)), [x], ["float32"])
    assert bool((bound.error > 0).all())
    assert bound.compare(functional.layer_norm(x, (16,))).passed


def test_group_norm_with_weights() -> None:
    x, weight, bias = numbers((2, 8, 5, 6), "float16", seed=1), numbers((8,), "float16", seed=2), numbers((8,), "float16", seed=3)
    (bound,) = bounds_of(lambda *t: functional.group_norm(t[0], 2, *t[1:]), [x, weight, bias], ["float16"])
    assert bound.compare(functional.group_norm(x.float(), 2, weight.float(), bias.float()).half()).passed
    assert not bound.compare(functional.group_norm(x.float(), 4, weight.float(), bias.float()).half()).passed


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_as_kernels_compute_it(dtype: str, causal: bool) -> None:
    """The probabilities rounded to the operands' dtype before they are normalised, and sums in float32."""
    q, k, v = (numbers((2, 3, 40, 16), dtype, seed=seed) for seed in range(3))

    def reference(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    (bound,) = bounds_of(reference, [q, k, v], [dtype])
    scores = (q.float() @ k.float().transpose(-1, -2)) * 0.25
    if causal:
        scores = scores.masked_fill(~torch.ones(40, 40, dtype=torch.bool).tril(), -math.inf)
    weights = torch.exp(scores - scores.amax(-1, keepdim=True))
    got = (store(weights, dtype).float() @ v.float()) / weights.sum(-1, keepdim=True)
    assert bound.compare(store(got, dtype)).passed
    assert bound.looseness < 0.02
    # one key too many, or a scale that is off by 2 %
    off = torch.softmax(scores * 1.02, -1) @ v.float()
    assert not bound.compare(store(off, dtype)).passed or dtype == "bfloat16"
    if causal:
        shifted = torch.softmax(
            (q.float() @ k.float().transpose(-1, -2) * 0.25).masked_fill(~torch.ones(40, 40).bool().tril(1), -math.inf), -1
        )
        assert not bound.compare(store(shifted @ v.float(), dtype)).passed


def test_attention_with_a_mask() -> None:
    q, k, v = (numbers((1, 2, 20, 16), "float16", seed=seed) for seed in range(3))
    keep = numbers((20, 20), "float32", seed=4) > -0.5
    keep |= torch.eye(20, dtype=torch.bool)
    added = numbers((20, 20), "float16", seed=5)
    for mask in (keep, added.double()):
        (bound,) = bounds_of(lambda *t, m=mask: functional.scaled_dot_product_attention(*t, attn_mask=m), [q, k, v], ["float16"])  # type: ignore[misc]
        right = functional.scaled_dot_product_attention(
            q.float(), k.float(), v.float(), attn_mask=mask if mask.dtype == torch.bool else mask.float()
        )
        assert bound.compare(right.half()).passed
        without = functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
        assert not bound.compare(without.half()).passed


def test_noise_of_softmax_inputs_adds_up_like_a_random_walk() -> None:
    """Scores rounded to float16: the shift of the sum of 2048 exponentials is far below the sum of their errors."""
    x = numbers((4, 2048), "float32", seed=1)

    def rounded(t: torch.Tensor) -> torch.Tensor:
        return torch.logsumexp(t.half(), -1)

    (bound,) = bounds_of(rounded, [x], ["float32"], Arithmetic())
    assert bound.compare(torch.logsumexp(x.half().float(), -1)).passed
    one = float((x.half().double() - x.double()).abs().max())
    assert float(bound.error.max()) < one
