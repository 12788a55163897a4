"""Convolution and pooling along a sequence."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from torch.nn import functional

from mosaic.errors import KernelError
from mosaic.graph.kernel import Spec, find
from tests.kernels.cases import cases, check_lowers, on_cases, targets_for

NAMES = ("avg_pool1d", "conv1d", "max_pool1d")


@on_cases(*NAMES)
def test_computes_its_reference(name: str, data: st.DataObject) -> None:
    data.draw(cases(name)).check_on_cpu()


@targets_for(*NAMES)
def test_lowers(name: str, target: str) -> None:
    check_lowers(name, target)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 2)])
def test_the_convolutions_reference_adds_up_taps(stride: int, padding: int) -> None:
    x, weight = torch.randn(2, 9, 4, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64)
    padded = functional.pad(x, (0, 0, padding, padding))
    length = (9 + 2 * padding - 3) // stride + 1
    taps = [torch.stack([padded[:, t * stride + w] @ weight[w] for w in range(3)]).sum(0) for t in range(length)]
    wanted = torch.stack(taps, 1)
    assert torch.allclose(find("conv1d").reference(x, weight, stride=stride, padding=padding), wanted)
    binding = find("conv1d").bind((Spec((2, 9, 4), "float32"), Spec((3, 4, 5), "float32")), {"stride": stride, "padding": padding})
    assert binding.outputs[0].shape == wanted.shape


def test_the_pools_references() -> None:
    x = torch.randn(2, 9, 4, dtype=torch.float64)
    channels_first = x.transpose(1, 2)
    largest, mean = find("max_pool1d").reference(x, window=3, stride=2), find("avg_pool1d").reference(x, window=3, stride=2)
    assert torch.equal(largest, functional.max_pool1d(channels_first, 3, 2).transpose(1, 2))
    assert torch.allclose(mean, functional.avg_pool1d(channels_first, 3, 2).transpose(1, 2))


@pytest.mark.parametrize("name", ["avg_pool1d", "max_pool1d"])
def test_a_window_of_nothing(name: str) -> None:
    kernel = find(name)
    binding = kernel.bind((Spec((1, 9, 4), "float32"),), {"window": 0, "stride": 1})
    with pytest.raises(KernelError, match="a window of 0 every 1 elements makes no sense"):
        kernel.instantiate(binding)
