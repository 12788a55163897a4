"""What a fusion did, as one JSON document of dicts, lists, strings and numbers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from mosaic.harness.report import Report
from mosaic.harness.timing import Paired
from mosaic.layouts.plan import LayoutPlan, kinds
from mosaic.report.facts import Facts, KernelFact, edges_of
from mosaic.stitch.recipe import Move


def record(facts: Facts, *, every_edge: bool = False) -> dict[str, Any]:
    """The document. Of edges that repeat layer by layer there is one with a count, unless `every_edge`.

    Sizes are in bytes, times in seconds.
    """
    fused = facts.fused
    return {
        "graph": fused.graph.name,
        "target": {"name": fused.target.name, "device": fused.target.device},
        "kernels": {"before": facts.kernels_before, "after": facts.kernels_after},
        "bytes_between": {"before": facts.bytes_before, "after": facts.bytes_after},
        "verification": {"status": facts.status, "on": facts.checked_on if facts.status != "unchecked" else None},
        "timing": _timing(facts.times) if facts.times is not None else None,
        "layouts": _layouts(fused.layouts) if fused.layouts is not None else None,
        "launches": [launch.name for launch in fused.plan.launches],
        "compiled": [_kernel(kernel) for kernel in facts.kernels],
        "edges": [asdict(edge) for edge in (edges_of(fused.plan.edges, collapse=False) if every_edge else facts.edges)],
        "refused": [{"launch": name, "check": refusal.check, "reason": refusal.reason} for name, refusal in fused.refused],
    }


def _layouts(plan: LayoutPlan) -> dict[str, Any]:
    """How many edges are handed over how, and each product's warp policy; `mosaic layouts --json` has all of it."""
    return {
        "handovers": kinds(plan.choices),
        "seconds": plan.solution.seconds,
        "optimal": plan.solution.optimal,
        "policies": {product.name: plan.policy(product) for product in plan.facts.products},
    }


def _timing(times: Paired) -> dict[str, Any]:
    low, high = times.interval
    return {
        "unfused_over_fused": times.ratio,
        "interval_95": [low, high],
        "verdict": times.verdict,
        "clock": times.clock,
        "fused": list(times.first),
        "unfused": list(times.second),
    }


def _kernel(kernel: KernelFact) -> dict[str, Any]:
    program, lowered = kernel.launch.program, kernel.lowered
    return {
        "name": kernel.name,
        "launches": len(kernel.launches),
        "nodes": list(kernel.launch.nodes),
        "blocks": program.blocks,
        "threads": kernel.threads,
        "on_chip_bytes": kernel.on_chip_bytes,
        "shared_bytes": lowered.shared_bytes,
        "emitted": lowered.emitted.to_dict() if lowered.emitted is not None else None,
        "notes": list(lowered.notes),
        "tunables": kernel.tunables,
        "moves": [_move(move) for move in kernel.moves],
        "verification": _verification(kernel.report) if kernel.report is not None else None,
    }


def _move(move: Move) -> dict[str, Any]:
    return {
        "producer": move.producer,
        "tensors": list(move.tensors),
        "scope": move.scope,
        "depth": move.depth,
        "computed": float(move.recompute),
        "stage_bytes": move.stage_bytes,
        "also_written": list(move.kept),
    }


def _verification(report: Report) -> dict[str, Any]:
    return {"status": report.status, "largest_error_over_bound": report.ratio, **report.model_dump(mode="json")}
