"""Attention with online softmax."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.graph.kernel import Spec, find
from tests.kernels.cases import Case, cases, check_lowers, on_cases, targets_for

NAMES = ("attention", "attention_causal", "attention_masked")


@on_cases(*NAMES)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


def tensors(S: int, L: int, H: int = 4, G: int = 2) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(S + L)
    q, k, v = (torch.randn(2, length, heads, 8, dtype=torch.float64, generator=generator) for length, heads in ((S, H), (L, G), (L, G)))
    return q, k, v


def pytorch(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor | None = None, is_causal: bool = False) -> torch.Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return functional.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, enable_gqa=True).transpose(1, 2)


def test_the_references_are_pytorchs_attention() -> None:
    q, k, v = tensors(5, 7)
    assert torch.allclose(find("attention").reference(q, k, v), pytorch(q, k, v))
    mask = torch.tensor([[1, 1, 0, 1, 0, 0, 2], [0, 0, 0, 0, 0, 1, 0]], dtype=torch.int32)
    assert torch.allclose(find("attention_masked").reference(q, k, v, mask), pytorch(q, k, v, mask.bool()[:, None, None, :]))
    q, k, v = tensors(6, 6)
    assert torch.allclose(find("attention_causal").reference(q, k, v), pytorch(q, k, v, is_causal=True))


def test_causal_attention_of_the_last_queries() -> None:
    """As in decoding: the last query sees all keys."""
    q, k, v = tensors(7, 7)
    got = find("attention_causal").reference(q[:, 5:], k, v)
    assert torch.allclose(got, pytorch(q, k, v, is_causal=True)[:, 5:])
    more_queries = find("attention_causal").reference(q, k[:, :4], v[:, :4])
    assert not more_queries[:, :3].any()
    assert torch.allclose(more_queries[:, 3:], pytorch(q[:, 3:], k[:, :4], v[:, :4], is_causal=True))


def test_nothing_to_attend_to_gives_zeros() -> None:
    q, k, v = tensors(5, 7)
    mask = torch.tensor([[0] * 7, [1] * 7], dtype=torch.int32)
    got = find("attention_masked").reference(q, k, v, mask)
    assert not got[0].any()
    assert torch.allclose(got[1], pytorch(q, k, v)[1])


@pytest.mark.parametrize(("S", "L"), [(70, 33), (1, 70), (97, 97)])
def test_causal_blocks_on_the_diagonal(S: int, L: int) -> None:
    """More queries than keys, one query, and blocks that the diagonal crosses."""
    shapes = ((1, S, 2, 32), (1, L, 1, 32), (1, L, 1, 32))
    tunables = {"block_M": 64, "block_N": 32, "threads": 128, "num_stages": 1}
    Case(find("attention_causal"), tuple(Spec(shape, "float16") for shape in shapes), {}, tunables).check_on_cpu()


@pytest.mark.parametrize("name", NAMES)
def test_heads_that_cannot_be_shared(name: str) -> None:
    kernel = find(name)
    specs = [Spec((1, 5, 4, 8), "float16"), Spec((1, 7, 3, 8), "float16"), Spec((1, 7, 3, 8), "float16")]
    if name == "attention_masked":
        specs.append(Spec((1, 7), "int32"))
    with pytest.raises(KernelError, match="4 heads of queries cannot share 3 heads of keys evenly"):
        kernel.instantiate(kernel.bind(specs))
