"""How long the layout solver takes: graphs of a thousand edges of several shapes, and MiniLM for each target.

python benchmarks/solver.py                 the table
python benchmarks/solver.py --json FILE     and as JSON

Processor seconds of one process, the least of three runs; kernels are read and launches planned before the clock starts. The random graphs
are those of the tests (tests/layouts/problems.py). Known limits: one machine, one run at a time; "sparse" is made to be too wide to be
eliminated, so that it is stopped after 1.2 s and its bound is what counts.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from mosaic.layouts.plan import kinds, plan_layouts  # noqa: E402
from mosaic.layouts.solver import solve  # noqa: E402
from mosaic.models.minilm import minilm  # noqa: E402
from mosaic.stitch.facts import facts_of  # noqa: E402
from mosaic.stitch.plan import Planner  # noqa: E402
from mosaic.targets.limits import limits_of  # noqa: E402
from mosaic.targets.target import find  # noqa: E402
from tests.layouts.problems import chain, ladder, on_edges, series_parallel, sparse, tree  # noqa: E402

EDGES = 1000
VALUES = 5
RUNS = 3
TARGETS = ("sm_80", "sm_90a", "gfx942")


def least(work: Callable[[], Any]) -> tuple[float, Any]:
    """Processor seconds of the quickest of RUNS runs, and what it gave."""
    best, result = float("inf"), None
    for _ in range(RUNS):
        start = time.process_time()
        result = work()
        best = min(best, time.process_time() - start)
    return best, result


def shapes() -> list[dict[str, Any]]:
    rows = []
    for shape in (chain, tree, series_parallel, ladder, sparse):
        problem = on_edges(shape, EDGES, VALUES, seed=7)
        limit = 1.2 if shape is sparse else None
        seconds, found = least(partial(solve, problem, seconds=limit))
        row = {"graph": shape.__name__, "edges": EDGES, "variables": len(problem.variables), "seconds": seconds}
        assert problem.violated(found.values) == []
        rows.append({**row, "optimal": found.optimal, "gap": found.seconds / found.bound - 1})
    return rows


def models(batch: int, sequence: int) -> list[dict[str, Any]]:
    rows = []
    graph = minilm(batch, sequence)
    for name in TARGETS:
        target = find(name)
        planner = Planner(graph, target)
        facts = facts_of(planner.plan(), planner.library, limits_of(target))
        seconds, plan = least(partial(plan_layouts, facts))
        row = {"graph": f"MiniLM {batch}x{sequence}, {name}", "edges": len(plan.choices), "variables": len(plan.problem.variables)}
        solution = plan.solution
        assert plan.problem.violated(solution.values) == []
        gap = solution.seconds / solution.bound - 1
        rows.append({**row, "seconds": seconds, "optimal": solution.optimal, "gap": gap, "handovers": kinds(plan.choices)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sequence", type=int, default=128)
    options = parser.parse_args()
    rows = [*shapes(), *models(options.batch, options.sequence)]
    print("| graph | edges | variables | seconds | optimal | at most above the best |\n| --- | --- | --- | --- | --- | --- |")
    for row in rows:
        optimal = "yes" if row["optimal"] else "no"
        print(f"| {row['graph']} | {row['edges']} | {row['variables']:,} | {row['seconds']:.3f} | {optimal} | {row['gap']:.1%} |")
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
