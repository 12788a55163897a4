"""Moves: each element's error goes where the element goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import pytest
import torch
from torch.nn import functional

from mosaic.dtypes import DTYPES
from mosaic.errors import KernelError
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.error_tensor import Analysis, ErrorTensor
from mosaic.harness.tolerance import bounds_of
from tests.harness.honest import numbers, through, with_error

Move = Callable[[torch.Tensor], torch.Tensor]
INDEX: Final = torch.tensor([2, 0, 2])

MOVES: Final[dict[str, Move]] = {
    "view": lambda x: x.view(-1),
    "reshape_of_transposed": lambda x: x.transpose(0, 1).reshape(-1),
    "permute": lambda x: x.permute(2, 0, 1),
    "contiguous": lambda x: x.permute(2, 0, 1).contiguous().view(6, 4),
    "t": lambda x: x[0].t(),
    "slice": lambda x: x[:, 1:, ::2],
    "select": lambda x: x[1, ..., 2],
    "unsqueeze": lambda x: x[:, None],
    "squeeze": lambda x: x[:1].squeeze(0),
    "split": lambda x: torch.tensor_split(x, 2, -1)[1],
    "unequal_split": lambda x: torch.tensor_split(x, (1,), 2)[1],
    "chunk": lambda x: x.chunk(2, 1)[0],
    "unbind": lambda x: x.unbind(1)[2],
    "flip": lambda x: x.flip(0, 2),
    "roll": lambda x: x.roll(1, 2),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "repeat": lambda x: x.repeat(2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "diagonal": lambda x: x.diagonal(dim1=1, dim2=2),
    "tril": lambda x: x.tril(),
    "pad": lambda x: functional.pad(x, (1, 2)),
    "cat": lambda x: torch.cat([x, x[:, :1]], 1),
    "stack": lambda x: torch.stack([x, x], -1),
    "index": lambda x: x[:, INDEX],
    "index_select": lambda x: x.index_select(1, INDEX),
    "gather": lambda x: x.gather(1, INDEX[None, :, None].expand(2, 3, 4)),
    "embedding": lambda x: functional.embedding(torch.tensor([[1, 0], [1, 1]]), x[:, 0]),
    "mask": lambda x: x[torch.tensor([True, False])],
    "movedim": lambda x: x.movedim(0, 2),
    "flatten": lambda x: x.flatten(1),
    "tile": lambda x: x.tile(2),
    "clone": lambda x: x.clone(),
}


@pytest.mark.parametrize("name", MOVES)
def test_values_and_errors_move_alike(name: str) -> None:
    value, error = numbers((2, 3, 4), "float32", seed=1).double(), numbers((2, 3, 4), "float32", "uniform", 2).double().abs()
    result: ErrorTensor = through(MOVES[name], with_error(value, error))
    assert torch.equal(result.value, MOVES[name](value))
    assert torch.equal(result.bound, MOVES[name](error))
    assert result.shape == result.value.shape


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Written into parts of a new tensor."""
    made = torch.empty_like(x)
    made[..., ::2] = -x[..., 1::2]
    made[..., 1::2] = x[..., ::2]
    return made


def accumulate(x: torch.Tensor) -> torch.Tensor:
    total = torch.zeros(x.shape[1:], dtype=x.dtype)
    for part in x:
        total += part
    total[0].mul_(2.0)
    return total


def test_writes_into_parts() -> None:
    value, error = numbers((2, 3, 4), "float32", seed=1).double(), numbers((2, 3, 4), "float32", "uniform", 2).double().abs()
    result: ErrorTensor = through(rotate, with_error(value, error))
    assert torch.equal(result.value, rotate(value))
    assert torch.equal(result.bound[..., ::2], error[..., 1::2])
    summed: ErrorTensor = through(accumulate, with_error(value, error))
    assert torch.equal(summed.value, accumulate(value))
    exact = error.sum(0) * torch.tensor([2.0, 1.0, 1.0])[:, None]
    assert bool((summed.bound >= exact).all())
    torch.testing.assert_close(summed.bound, exact, rtol=1e-5, atol=1e-5)


def test_scatter_and_index_put() -> None:
    value, error = torch.zeros(4), torch.full((4,), 0.5)
    source = with_error(torch.tensor([7.0, 8.0]), torch.tensor([0.1, 0.2]))
    index = torch.tensor([3, 0])
    for function in (lambda x, s: x.scatter(0, index, s), lambda x, s: x.index_put((index,), s)):
        result: ErrorTensor = through(function, with_error(value, error), source)
        assert result.value.tolist() == [8.0, 0.0, 0.0, 7.0]
        torch.testing.assert_close(result.bound, torch.tensor([0.2, 0.5, 0.5, 0.1], dtype=torch.float64))
    with pytest.raises(KernelError, match="accumulation"):
        through(lambda x, s: x.index_put((index,), s, accumulate=True), with_error(value, error), source)


def test_inputs_must_not_be_written() -> None:
    x = numbers((4,), "float32")
    with pytest.raises(KernelError, match="in place"):
        bounds_of(lambda t: t.mul_(2.0), [x], ["float32"])


def test_shapes_and_numbers_may_not_depend_on_rounding() -> None:
    x = numbers((4,), "float32")
    assert float(bounds_of(lambda t: t * t.max().item(), [x], ["float32"])[0].value.max()) > 0
    with pytest.raises(KernelError, match="keep it a tensor"):
        bounds_of(lambda t: t * (t * 0.1).sum().item(), [x], ["float32"])
    with pytest.raises(KernelError, match="mask that is not certain"):
        bounds_of(lambda t: t[(t * 0.1 - t[0] * 0.1) >= 0], [x], ["float32"])


def test_an_uncertain_index_leaves_its_element_unknown() -> None:
    table = numbers((5, 3), "float32", seed=1)
    scores = torch.tensor([[1.0, 1.0 + 1e-7, 0.0], [0.0, 0.0, 3.0]])

    def pick(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        return functional.embedding((s * 0.1).argmax(1), t)

    (bound,) = bounds_of(pick, [table, scores], ["float32"])
    assert torch.isinf(bound.error).all(1).tolist() == [True, False]
    assert bound.compare(table[[1, 2]]).passed
    assert not bound.compare(table[[1, 1]]).passed


def noise_of(function: Move, x: ErrorTensor) -> Any:
    analysis = Analysis(Arithmetic())
    rounded = analysis.rounded(x, DTYPES["float16"], "rounding")
    assert rounded.noise is not None
    with torch.no_grad(), analysis:
        return function(rounded)


def test_copies_and_mixtures_end_independence() -> None:
    x = with_error(numbers((4, 4), "float32", seed=1), torch.zeros(4, 4))
    for kept in (lambda t: t.T, lambda t: t.flip(0), lambda t: t[1:], lambda t: torch.relu(t) + t, lambda t: t.clone(), lambda t: 2 * t):
        assert noise_of(kept, x).noise is not None
    moves: list[Move] = [
        lambda t: t[None].expand(3, 4, 4),
        lambda t: t + t.T,
        lambda t: torch.cat([t, t]),
        lambda t: t[torch.tensor([0, 0])],
        lambda t: t + t[:1],
    ]
    for ended in moves:
        result = noise_of(ended, x)
        assert result.noise is None or bool((result.noise < result.bound).all())
