"""Costs of conversions: constants with their origin, and what must hold of any such model."""

from __future__ import annotations

import json
from importlib import resources

import pytest

from mosaic.layouts.cost import Work, constants, cost
from mosaic.layouts.linear import LayoutError
from tests.layouts.emit.family import amd_cases, convert, nvidia_cases

ARCHS = ("sm_80", "sm_90a", "sm_100a", "gfx942", "gfx950")


@pytest.mark.parametrize("arch", ARCHS)
def test_constants_say_where_they_are_from(arch: str) -> None:
    found = constants(arch)
    assert found.label in ("measured", "assumed")
    assert found.source.startswith("benchmarks/instructions.py on" if found.label == "measured" else "assumed: ")
    assert 1e9 < found.clock_hz < 4e9
    for name, instruction in found.instructions.items():
        assert 0 < instruction.issue <= instruction.latency + 8, name


def test_the_record_is_well_formed() -> None:
    data = json.loads(resources.files("mosaic.layouts").joinpath("costs.json").read_text(encoding="utf-8"))
    assert data["schema"] == 1
    assert set(ARCHS) <= set(data["targets"])


def test_a_cost_is_the_sum_of_what_it_says() -> None:
    known = constants("sm_90a").instructions
    found = cost(Work({"shuffle": 3, "select": 2, "barrier": 1}, {"shuffle": 1, "barrier": 1}, 128), "sm_90a")
    assert found.busy == pytest.approx(4 * (3 * known["shuffle"].issue + 2 * known["select"].issue))
    assert found.latency == pytest.approx(known["shuffle"].latency + known["barrier"].latency)
    assert found.cycles == found.busy + found.latency
    assert found.seconds == pytest.approx(found.cycles / constants("sm_90a").clock_hz)
    assert found.busy_seconds == pytest.approx(found.busy / constants("sm_90a").clock_hz)


def test_what_is_free_costs_nothing() -> None:
    source, target, *dtypes = nvidia_cases()["a_fp16"]
    function, _ = convert(source, target, (dtypes[0], dtypes[1]))
    assert cost(function, "sm_90a").cycles == 0


@pytest.mark.parametrize("name", ["a_fp8", "a_int8", "b_fp16", "at_fp16", "wgmma_fp8", "wgmma_fp8_96"])
def test_packed_shuffles_are_cheaper_than_a_stage(name: str) -> None:
    source, target, *dtypes = nvidia_cases()[name]
    within, _ = convert(source, target, (dtypes[0], dtypes[1]))
    staged, _ = convert(source, target, (dtypes[0], dtypes[1]), kind="shared")
    assert cost(within, "sm_90a").cycles < cost(staged, "sm_90a").cycles


def test_exchanges_are_cheaper_than_shuffles() -> None:
    source, target, *dtypes = amd_cases()["d_a_16x16x32"]
    new, old = (convert(source, target, (dtypes[0], dtypes[1]), arch=arch)[0] for arch in ("gfx950", "gfx942"))
    assert cost(new, "gfx950").cycles < cost(old, "gfx942").cycles


def test_other_architectures() -> None:
    assert constants("sm_86").arch == "sm_80"
    assert constants("sm_120a").arch == "sm_100a"
    assert constants("sm_75").arch == "sm_80"
    with pytest.raises(LayoutError, match="no costs are known for gfx90a"):
        constants("gfx90a")
    with pytest.raises(LayoutError, match="sm_80 has no cost of exchange"):
        cost(Work({"exchange": 1}, {}, 32), "sm_80")
