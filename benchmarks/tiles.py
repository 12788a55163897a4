"""How near the plan's cost model is to launches that were timed on a GPU, and the constants that would bring it nearest.

    mosaic fuse minilm --tune --packet minilm.zip                  on a GPU: times some recipes of each launch (tuning.json in the packet)
    python -m benchmarks.tiles TUNING.json                         compares the model with them
    python -m benchmarks.tiles TUNING.json --fit                   and looks for better constants, one after the other

from the repository's root, with src on PYTHONPATH. The recipes are built again by the code that is there, on any machine; times are those
of the file. benchmarks/layout_packets.py makes a packet of it (kind `tiles`).

Known limitations: launches of several groups are left out; the graph is MiniLM, of the size given; the search for constants is a
coordinate descent, which finds a valley but not always the deepest one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from mosaic.models.minilm import minilm
from mosaic.stitch import cost as model
from mosaic.stitch.plan import Planner
from mosaic.targets.target import Target, find
from mosaic.tiles.program import TileProgram
from mosaic.tune.tuning import Tuning, from_json

CONSTANTS: Final = (
    *("CACHE_SPEEDUP", "MATRIX_SHARE", "TURN_SECONDS", "SPECIALIZED_TURN_SECONDS", "LONE_TURN_SECONDS", "START_SECONDS"),
    *("ELEMENT_SECONDS", "BUSY_THREADS", "EXPOSED", "TURN_WORK_SECONDS", "TIGHT"),
)
STEPS: Final = (1.3, 1.1, 1.03)
ROBUST: Final = 0.1
"""Errors of the logarithm beyond this count less: spills, and what else the model does not know."""


@dataclass(frozen=True)
class Point:
    """One launch: which, its program, whether warps are set aside for loading, and the median of its times in seconds."""

    launch: str
    program: TileProgram
    specialized: bool
    seconds: float

    def error(self, device: Target) -> float:
        """The logarithm of the model's time over the measured one."""
        return math.log(model.cost(self.program, device, specialized=self.specialized).seconds / self.seconds)


def points(tuning: Tuning, planner: Planner) -> list[Point]:
    """What ran, of launches of one group. Recipes that hold registers so far down that they spill are left out."""
    found: list[Point] = []
    for launch in tuning.launches:
        if len(launch.nodes) > 1:
            continue
        nodes = [planner.graph.node(name) for name in launch.nodes[0]]
        for trial in launch.trials:
            if not trial.samples:
                continue
            program = planner.searcher.build(nodes, trial.recipe).program
            held = 65536 / max(1, trial.recipe.resident * program.thread_count)
            if trial.recipe.resident and held < 0.75 * model.registers(program):
                continue
            specialized = trial.recipe.specialized and model.can_specialize(program, planner.device)
            found.append(Point(nodes[0].name, program, specialized, trial.seconds))
    return found


def deviation(found: Sequence[Point], device: Target) -> float:
    """The root mean square of the errors."""
    return math.sqrt(statistics.fmean(point.error(device) ** 2 for point in found))


def loss(found: Sequence[Point], device: Target) -> float:
    """The mean error, of which large ones count less."""
    return statistics.fmean(math.sqrt(1 + (point.error(device) / ROBUST) ** 2) - 1 for point in found)


def fit(found: Sequence[Point], device: Target) -> dict[str, float]:
    """Constants with which the model is nearest, from those that it has; it has them from then on."""
    best = loss(found, device)
    for step in STEPS:
        better = True
        while better:
            better = False
            for name in CONSTANTS:
                for factor in (step, 1 / step):
                    before = getattr(model, name)
                    setattr(model, name, before * factor)
                    now = loss(found, device)
                    if now < best * (1 - 1e-4):
                        best, better = now, True
                    else:
                        setattr(model, name, before)
    return {name: float(getattr(model, name)) for name in CONSTANTS}


def show(found: Sequence[Point], device: Target) -> None:
    print(f"{len(found)} launches, the model is within {deviation(found, device):.1%} (root mean square of the logarithm)")
    for launch in dict.fromkeys(point.launch for point in found):
        own = [point for point in found if point.launch == launch]
        picked, best = min(own, key=lambda point: point.error(device) + math.log(point.seconds)), min(own, key=lambda point: point.seconds)
        print(f"  {launch:24} {len(own):4} recipes, the fastest {best.seconds * 1e6:6.1f} us, the model's {picked.seconds * 1e6:6.1f} us")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tuning", type=Path, nargs="+")
    parser.add_argument("--batch", type=int, default=26)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--bandwidth", type=float, default=4.917e12, help="of the card's memory, in bytes a second; an H200's is 4.917e12")
    parser.add_argument("--fit", action="store_true")
    options = parser.parse_args(argv)
    device = replace(find("sm_90a"), bandwidth=options.bandwidth)
    planner = Planner(minilm(options.batch, options.sequence), device)
    found = [point for path in options.tuning for point in points(from_json(path.read_text(encoding="utf-8"), str(path)), planner)]
    show(found, device)
    if options.fit:
        for name, value in fit(found, device).items():
            print(f"  {name:28} {value:.3g}")
        show(found, device)
    return 0


if __name__ == "__main__":
    sys.exit(main())
