"""Random graphs, stitched wherever that is legal, compute what their references say.

A failure names its seed, and `MOSAIC_SEED=n pytest tests/fuzz` repeats it. How many there are is said in conftest.py.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import pytest
import torch

from mosaic.errors import TargetError
from mosaic.harness.bound import Bound
from mosaic.harness.tolerance import bounds
from mosaic.stitch.library import Library
from mosaic.stitch.plan import Planner
from mosaic.targets.lower import lower
from mosaic.targets.target import find
from mosaic.tiles.verify import verify
from tests.fuzz.conftest import QUICK, quick_seeds, seeds
from tests.fuzz.generate import Case, generate
from tests.fuzz.stitching import Part, Stitcher, describe, execute, unfused

GPUS: Final = ("sm_80", "sm_90a", "sm_100a", "gfx942", "gfx950")
PLANNED: Final = (4, 13, 22, 26)
"""Small graphs that the quick run also takes through the planner."""


def compare(case: Case, got: Mapping[str, torch.Tensor], wanted: Mapping[str, Bound], parts: Sequence[Part]) -> None:
    """Every output of the graph within the bound that an honest kernel keeps."""
    for name in case.graph.outputs:
        result = wanted[name].compare(got[name])
        where = f"output {name}{list(result.worst)}, {float(result.ratio.max()):.3g} times the bound"
        assert result.passed, f"{where}; repeat it with MOSAIC_SEED={case.seed}\n{case}\n{describe(parts)}"


def alike(case: Case, fused: Mapping[str, torch.Tensor], plain: Mapping[str, torch.Tensor], wanted: Mapping[str, Bound]) -> None:
    """Fused and unfused are no farther apart than two honest kernels can be."""
    for name in case.graph.outputs:
        if wanted[name].choices is not None:
            continue
        one, other = fused[name].double(), plain[name].double()
        near = (one - other).abs() <= 2 * wanted[name].error
        assert bool((near | (one == other) | (one.isnan() & other.isnan()) | wanted[name].error.isinf()).all()), f"{name} of\n{case}"


def stitched(case: Case) -> tuple[Stitcher, list[Part]]:
    stitcher = Stitcher(case, random.Random(case.seed))
    stitcher.fuse()
    parts = stitcher.order(stitcher.parts)
    assert parts is not None, f"seed {case.seed}: the parts wait for each other\n{describe(stitcher.parts)}"
    return stitcher, parts


def planned(case: Case, target: str) -> tuple[Library, list[Part]]:
    """The planner's launches on a device where a launch is so dear that every legal fusion pays."""
    planner = Planner(case.graph, replace(find(target), launch_seconds=1.0))
    plan = planner.plan()
    parts = [Part(frozenset(launch.nodes), launch.program, (launch.name,)) for launch in plan.launches]
    for part in parts:
        verify(part.program)
    return planner.library, parts


def lowers(part: Part, case: Case, refusals: Counter[str]) -> None:
    """Lower for every GPU. A refusal by TileLang is counted: a stitched kernel's group is then planned otherwise."""
    for target in GPUS:
        try:
            lower(part.program.func, target, binary=False)
        except TargetError as error:
            alone = "alone" if len(part.nodes) == 1 and not part.story else "stitched"
            reason = re.sub(r"\d[\d,]*", "#", re.sub(r"kernel '\w+'", "it", str(error)))
            refusals[f"{target}, {alone}: {reason}"] += 1
            print(f"seed {case.seed}, {'+'.join(sorted(part.nodes))}: {error}")


@pytest.mark.parametrize("seed", quick_seeds())
def test_stitched_graphs(seed: int, refusals: Counter[str]) -> None:
    case = generate(seed)
    stitcher, parts = stitched(case)
    refusals.update(f"stitching: {check}" for check in stitcher.refusals.elements())
    wanted = bounds(case.graph, case.inputs)
    got = execute(case, stitcher.library, parts)
    compare(case, got, wanted, parts)
    if seed % 5 == 0:
        alike(case, got, execute(case, stitcher.library, unfused(case, stitcher.library)), wanted)


@pytest.mark.parametrize("seed", [s for s in quick_seeds() if s in PLANNED or s >= QUICK])
def test_planned_graphs(seed: int) -> None:
    case = generate(seed)
    library, parts = planned(case, "cpu")
    compare(case, execute(case, library, parts), bounds(case.graph, case.inputs), parts)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", seeds())
def test_all_graphs(seed: int, refusals: Counter[str]) -> None:
    """Stitched at random, by the planner, and one kernel a node, on the CPU; all of it lowered for every GPU."""
    case = generate(seed)
    stitcher, parts = stitched(case)
    refusals.update(f"stitching: {check}" for check in stitcher.refusals.elements())
    wanted = bounds(case.graph, case.inputs)
    alone = unfused(case, stitcher.library)
    got, plain = (execute(case, stitcher.library, each) for each in (parts, alone))
    compare(case, plain, wanted, alone)
    compare(case, got, wanted, parts)
    alike(case, got, plain, wanted)
    library, planned_parts = planned(case, ("cpu", *GPUS)[seed % 6])
    compare(case, execute(case, library, planned_parts), wanted, planned_parts)
    for part in [*parts, *planned_parts]:
        lowers(part, case, refusals)


def test_a_seed_gives_the_same_graph_again() -> None:
    one, other = generate(17), generate(17)
    assert str(one) == str(other)
    assert all(torch.equal(one.inputs[name], other.inputs[name]) for name in one.inputs)
    assert all(torch.equal(a, b) for a, b in zip(constants(one), constants(other), strict=True))


def constants(case: Case) -> list[torch.Tensor]:
    return [t for t in case.graph.constants.values() if t is not None]


def test_the_graphs_are_varied() -> None:
    """Chains, forks, joins, several outputs; every kernel in some graph; primes and 1 among the sizes."""
    cases = [generate(seed) for seed in range(200)]
    used = {node.kernel.name for case in cases for node in case.graph.nodes if node.kernel is not None}
    assert len(used) >= 40
    consumers = [len(case.graph.consumers(t)) for case in cases for node in case.graph.nodes for t in node.outputs]
    assert sum(n > 1 for n in consumers) > 120
    assert sum(len(case.graph.outputs) > 1 for case in cases) > 50
    assert {2, 3, 4, 5, 6, 7, 8} <= {case.graph.kernel_count for case in cases}
    sizes = {size for case in cases for tensor in case.graph.tensors.values() for size in tensor.shape}
    assert {1, 2, 3, 13, 31, 64, 65, 127, 128, 131} <= sizes
    assert {tensor.dtype for case in cases for tensor in case.graph.tensors.values()} >= {"float16", "bfloat16", "float32", "int32"}
