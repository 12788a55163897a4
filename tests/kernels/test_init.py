"""All kernels that ship."""

from __future__ import annotations

import random

import pytest
import torch

import mosaic.kernels
from mosaic.graph.kernel import registered
from mosaic.harness.arithmetic import Arithmetic
from mosaic.kernels import FAMILIES, load, unsupported
from tests.kernels.cases import GPU_TARGETS, seeded_case

load()

SHIPPED = tuple(name for name, kernel in registered().items() if kernel.build.__module__.startswith("mosaic.kernels."))


def test_what_ships() -> None:
    wanted = """
        gemm gemm_nt bias gelu_erf gelu_tanh relu silu sigmoid tanh silu_multiply residual_add add multiply scale layer_norm rms_norm
        softmax softmax_masked embedding add_positions rope attention attention_causal attention_masked dequantize_int4 gemm_int4
        quantize_fp8 gemm_fp8 row_sum row_max row_mean argmax masked_mean_pool l2_normalize transpose copy cast conv1d max_pool1d avg_pool1d
    """
    assert set(SHIPPED) == set(wanted.split())
    assert {registered()[name].family for name in SHIPPED} == set(FAMILIES)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_kernel_says_what_it_computes_and_can_be_tuned(name: str) -> None:
    kernel = registered()[name]
    assert len(kernel.doc) > 20
    assert "threads" in kernel.tunables
    case = seeded_case(name, 0)
    choices = list(kernel.choices(kernel.bind(case.inputs, case.attributes)))
    assert len(choices) > 3


def test_kernels_differ_as_their_authors_do() -> None:
    """Fusion must not depend on kernels that look alike."""
    defaults = [registered()[name].default_tunables() for name in SHIPPED]
    assert len({choice["threads"] for choice in defaults}) >= 3
    assert len({choice.get("block_M") for choice in defaults}) >= 6
    assert len({choice.get("block_N") for choice in defaults}) >= 5


def test_what_a_target_cannot_do_has_a_reason() -> None:
    for family in FAMILIES:
        table = getattr(__import__(f"mosaic.kernels.{family}", fromlist=[family]), "UNSUPPORTED", {})
        for name, targets in table.items():
            assert registered()[name].family == family
            for target, reason in targets.items():
                assert target in GPU_TARGETS
                assert unsupported(name, target) == reason
                assert len(reason) > 20
    assert unsupported("gemm_fp8", "sm_80")
    assert unsupported("gemm", "sm_80") is None
    assert unsupported("no_such_kernel", "sm_80") is None
    assert mosaic.kernels.__doc__


@pytest.mark.fuzz
@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("target", GPU_TARGETS)
def test_many_cases_lower(name: str, target: str) -> None:
    if unsupported(name, target) is None:
        for seed in range(8):
            seeded_case(name, f"lower/{seed}").check_lowers(target)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", SHIPPED)
def test_many_cases_on_the_cpu(name: str) -> None:
    seed = random.randrange(2**32)
    for number in range(40):
        print(f"repeat with seeded_case({name!r}, '{seed}/{number}').check_on_cpu()")
        seeded_case(name, f"{seed}/{number}").check_on_cpu()


@pytest.mark.gpu
@pytest.mark.parametrize("name", SHIPPED)
def test_on_the_gpu(name: str) -> None:
    from mosaic.targets import default_target
    from mosaic.targets.lower import load as load_program

    target = default_target()
    assert torch.cuda.is_available()
    if unsupported(name, target.name):
        pytest.skip(f"{name} cannot be lowered for {target.name}")
    for number in range(4):
        case = seeded_case(name, f"gpu/{number}")
        # tensor cores take float32 as tf32, and keep few bits while they add products of float8
        arithmetic = Arithmetic(tf32=True, fp8_accumulator_bits=13)
        case.check(load_program(case.func, target), "cuda", number, arithmetic)
