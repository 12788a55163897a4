"""Instructions by the names that costs are known for, and the longest chain of them."""

from __future__ import annotations

import pytest

from mosaic.layouts.conversion import Kind
from mosaic.layouts.cost import constants
from mosaic.layouts.emit.counts import counts
from mosaic.layouts.emit.steps import Barrier, Load, Pack, Program, Shuffle, Step, Store, Unpack
from tests.layouts.emit.family import amd_cases, convert, nvidia_cases

LANES = tuple(range(32))


def count(*steps: Step, slots: int = 1, casts_first: bool = True) -> tuple[dict[str, int], dict[str, int]]:
    total, chain = counts(Program(steps, 32, 32, slots, casts_first, 128))
    return dict(total), dict(chain)


def test_shuffles_side_by_side_are_one_link_of_the_chain() -> None:
    steps: list[Step] = [
        Pack(0, (0,)),
        Shuffle(1, 0, tuple(lane ^ 1 for lane in LANES)),
        Shuffle(2, 0, tuple(reversed(LANES))),
        Shuffle(3, 1, (0,) * 32),
    ]
    assert count(*steps) == ({"shuffle_xor": 2, "shuffle": 1}, {"shuffle_xor": 1, "shuffle": 1})


def test_a_stage_is_a_chain_of_store_barrier_load() -> None:
    address = tuple(4 * lane for lane in LANES)
    steps: list[Step] = [Pack(0, (0,)), Store((0,), 4, address), Barrier(), Load((1,), 4, address), Unpack(0, (1, 0))]
    assert count(*steps) == ({"store4": 1, "barrier": 1, "load4": 1}, {"store4": 1, "barrier": 1, "load4": 1})


def test_bytes_that_unpacking_puts_together() -> None:
    # Two words' first halves become one register pair; a whole word costs nothing.
    assert count(Pack(0, (0, 1)), Pack(1, (2, 3)), Unpack(0, (0, 0)), Unpack(1, (1, 0)), slots=2)[0] == {"permute": 1}
    assert count(Pack(0, (0, 1)), Unpack(0, (0, 0)), Unpack(1, (0, 1)), slots=2)[0] == {}
    assert count(Pack(0, (1, 0)), Unpack(0, (0, 0)), Unpack(1, (0, 1)), slots=2, casts_first=False)[0] == {"permute": 1}


@pytest.mark.parametrize("kind", [None, "shared"])
def test_all_names_have_costs(kind: Kind | None) -> None:
    for cases, arch in ((nvidia_cases(), "sm_90a"), (amd_cases(), "gfx942"), (amd_cases(), "gfx950")):
        for source, target, *dtypes in cases.values():
            function, _ = convert(source, target, (dtypes[0], dtypes[1]), arch=arch, kind=kind)
            assert set(function.instructions) | set(function.chain) <= set(constants(arch).instructions)
            assert all(function.instructions[name] >= number for name, number in function.chain.items())
