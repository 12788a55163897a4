"""The way through: from a graph of kernels to a program that runs, each stage with why it stands there.

Graph -> TileProgram -> Plan -> stitched PrimFuncs -> Lowered -> Program -> Report
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import TargetError, VerificationError
from mosaic.graph.graph import Graph
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.report import Report, joined
from mosaic.harness.verify import Candidate, verify
from mosaic.layouts.plan import LayoutPlan, plan_layouts
from mosaic.layouts.solver import ConflictError
from mosaic.stitch.decide import Decider
from mosaic.stitch.inline import Scope
from mosaic.stitch.legality import Refusal
from mosaic.stitch.plan import Launch, Plan, Planner
from mosaic.targets.cache import Cache
from mosaic.targets.limits import limits_of
from mosaic.targets.load import Loaded, load_lowered
from mosaic.targets.lower import lower
from mosaic.targets.lowered import Lowered
from mosaic.targets.program import Program, tensor_of
from mosaic.targets.target import TARGETS, Target, find
from mosaic.tiles.verify import defects
from mosaic.tiles.verify import verify as verify_tiles
from mosaic.tune.tuner import Tuner
from mosaic.tune.tuning import Tuning

Progress = Callable[[str], None]

CPU = TARGETS["cpu"]

DISTRIBUTIONS = ("normal", "mixed", "spike")
"""Inputs on which every stitched kernel is checked as it is made; the tests use all there are."""

SAMPLES = 4
"""Sampled error analyses where the worst case says too little (see `harness.tolerance`); the tests take more."""

MAX_JOBS = 8
"""Verifications beside each other, each of which may hold some hundred megabytes of references."""

MAX_PLANS = 24
"""Plans made for one graph before what its target refuses is an error."""


@dataclass(frozen=True)
class Fused:
    """A graph, fused: the plan, each launch lowered, and what the target or the verification refused on the way.

    `program` runs it, where this machine is the target; `reports` are the verification's, by launch name; `layouts` is what was solved
    for the plan, None for an unfused graph; `tuning` is what was timed, None where nothing was.
    """

    plan: Plan
    target: Target
    lowered: tuple[Lowered, ...]
    refused: tuple[tuple[str, Refusal], ...]
    program: Program | None
    reports: Mapping[str, Report] = field(default_factory=dict)
    layouts: LayoutPlan | None = None
    tuning: Tuning | None = None

    @property
    def graph(self) -> Graph:
        return self.plan.graph

    @property
    def kernel_count(self) -> int:
        return len(self.lowered)

    def run(self, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The graph's outputs. Raises TargetError if this machine is not the target (see `Program.run` for the rest)."""
        if self.program is None:
            raise TargetError(f"this graph is lowered for {self.target.name}, which this machine is not; fuse it for 'auto' to run it here")
        return self.program.run(inputs)


def fuse(
    graph: Graph,
    target: Target | str = "auto",
    *,
    fuse: bool = True,
    check: bool = True,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    prefer: Scope = "shared",
    layouts: Mapping[str, str] | None = None,
    tune: bool | Tuning = False,
    cache: Cache | None = None,
    progress: Progress = lambda _: None,
) -> Fused:
    """Fuse `graph` for `target`.

    With `fuse` False every node stays a kernel of its own: the baseline. With `check`, every stitched
    kernel is compared with its nodes' references, on this machine or else on its CPU; `ranges` are
    those of integer inputs. `prefer` is the memory for handovers where both would do and cost the same. `layouts` asks for values of
    single choices of the layout plan, by name (`{"policy[scores]": "Square"}`); if they contradict each other or an instruction, the graph
    is left unfused, and `refused` says why. With `tune`, tunables and the like are not the cost model's
    choice but the fastest of some that are timed here, which takes minutes; or those of a tuning that was made before.

    Raises GraphError for a graph that makes no sense, KernelError for a kernel that can't be read,
    TargetError if even a kernel alone is refused or if what is to be tuned does not run here, VerificationError if a kernel alone is
    wrong, InputError for a tuning of another plan.
    """
    graph.validate()  # before anything is built from it
    device = find(target) if isinstance(target, str) else target
    planner = Planner(graph, device, prefer=prefer, progress=progress)
    decider = Decider(planner, limits_of(device), layouts)
    tuner = _tuner(planner, device, tune, cache, ranges, progress)
    refused: list[tuple[str, Refusal]] = []
    for _ in range(MAX_PLANS):
        # What to fuse, with which tunables and through which memory: reads kernels, checks legality, stitches.
        plan = planner.plan(fuse=fuse)
        # Which memory and which warps hand tiles over: solved for the whole graph at once.
        plan, solved = _decide(decider, plan, refused) if fuse else (plan, None)
        # What the cost model likes is its guess: where that is wanted, the fastest is found out.
        plan, solved, tuning = _tune(tuner, decider, plan, solved)
        # What was stitched must still be a sound program, before a compiler sees it, and none that it would get wrong.
        trouble = unsound(plan)
        # Layers of a model repeat: what differs in the names of tensors only is compiled and checked once.
        distinct = {planner.key(launch): launch for launch in reversed(plan.launches)}
        # A target may refuse a layout or run out of registers: then that launch is planned otherwise.
        lowered: dict[object, Lowered] = {}
        if not trouble:
            lowered, trouble = lower_all(distinct, device, cache, progress)
        reports: dict[str, Report] = {}
        if not trouble:
            kernels = {key: load_lowered(low) for key, low in lowered.items()} if runs_here(device) else {}
            if check and fuse:
                # Nothing is used that was not seen to compute what the graph says.
                reports, trouble = verify_all(plan, distinct, kernels, device, ranges or {}, progress)
        if not trouble:
            keys = [planner.key(launch) for launch in plan.launches]
            program = Program(plan, device, [kernels[key] for key in keys]) if kernels else None
            return Fused(plan, device, tuple(lowered[key] for key in keys), tuple(refused), program, reports, solved, tuning)
        for launch, refusal in trouble:
            refused.append((launch.name, refusal))
            # A recipe of tuning, or a decision about layouts, is taken back before what it was made for.
            tuned = tuner is not None and tuner.refuse(launch)
            if not tuned and not decider.refuse(launch, refusal):
                planner.refuse(launch, refusal)
        _give_up(trouble)
    raise TargetError(f"{device.name} refused every plan for graph {graph.name!r}; last: {refused[-1][0]}: {refused[-1][1].reason}")


Trouble = list[tuple[Launch, Refusal]]


def _decide(decider: Decider, plan: Plan, refused: list[tuple[str, Refusal]]) -> tuple[Plan, LayoutPlan | None]:
    """The plan with the best layouts; unfused, and why, if what the user asks of them can't be."""
    try:
        return decider.decide(plan)
    except ConflictError as error:
        refused.append((plan.graph.name, Refusal("layouts", str(error))))
        return decider.planner.plan(fuse=False), None


def _tuner(
    planner: Planner,
    target: Target,
    tune: bool | Tuning,
    cache: Cache | None,
    ranges: Mapping[str, tuple[float, float]] | None,
    progress: Progress,
) -> Tuner | None:
    """What tunes the plans, if they are to be tuned. Raises TargetError where nothing can be timed."""
    if tune is False:
        return None
    if isinstance(tune, Tuning):
        return Tuner(planner, target, cache=cache, known=tune)
    if not runs_here(target):
        raise TargetError(f"tuning times kernels on {target.device}, which this machine is not; tune there, or leave it out")
    return Tuner(planner, target, cache=cache, ranges=ranges, progress=progress)


def _tune(tuner: Tuner | None, decider: Decider, plan: Plan, solved: LayoutPlan | None) -> tuple[Plan, LayoutPlan | None, Tuning | None]:
    """The plan by the fastest recipes, and its layouts as they now are; unchanged if there is nothing that tunes."""
    if tuner is None:
        return plan, solved, None
    plan, tuning = tuner.tune(plan)
    return plan, plan_layouts(decider.facts(plan, all_fixed=True)) if solved is not None else None, tuning


def _give_up(trouble: Trouble) -> None:
    """A node alone that computes something else than its reference is an error of its kernel, not of a fusion."""
    for launch, refusal in trouble:
        if len(launch.nodes) == 1 and refusal.check == "verification":
            raise VerificationError(f"kernel of node {launch.nodes[0]!r} does not compute its reference: {refusal.reason}")


def runs_here(target: Target) -> bool:
    """Whether this machine can run programs for `target`."""
    return target.kind == "cpu" or torch.cuda.is_available()


def unsound(plan: Plan) -> Trouble:
    """Launches whose program has a defect: a fused one is planned otherwise.

    Raises VerificationError for a kernel alone, which its author must mend.
    """
    trouble: Trouble = []
    for launch in plan.launches:
        found = next(defects(launch.program), None)
        if found is not None and len(launch.nodes) == 1:
            verify_tiles(launch.program)
        elif found is not None:
            trouble.append((launch, Refusal("verification", str(found))))
    return trouble


def lower_all(
    distinct: Mapping[object, Launch], target: Target, cache: Cache | None, progress: Progress
) -> tuple[dict[object, Lowered], Trouble]:
    """Every launch lowered, and those that the target refused. Compilers run beside each other."""

    def one(launch: Launch) -> Lowered | TargetError:
        progress(f"lowering {launch.name}")
        try:
            return lower(launch.program.func, target, cache=cache)
        except TargetError as error:
            return error

    lowered: dict[object, Lowered] = {}
    trouble: Trouble = []
    with ThreadPoolExecutor(max_workers=max(1, os.cpu_count() or 1)) as pool:
        for (key, launch), found in zip(distinct.items(), pool.map(one, distinct.values()), strict=True):
            if isinstance(found, Lowered):
                lowered[key] = found
            elif type(found) is not TargetError or (len(launch.nodes) == 1 and not launch.groups[0].recipe.choices[0].tunables):
                raise found
            else:
                trouble.append((launch, Refusal("lowering", str(found))))
    return lowered, trouble


def verify_all(
    plan: Plan,
    distinct: Mapping[object, Launch],
    kernels: Mapping[object, Loaded],
    target: Target,
    ranges: Mapping[str, tuple[float, float]],
    progress: Progress,
) -> tuple[dict[str, Report], Trouble]:
    """Every stitched launch against its nodes' references.

    It runs where the target is, else on this machine's CPU: the same program, without the target's instructions.
    """
    on_gpu = bool(kernels) and target.kind != "cpu"
    names = dict(plan.labels)

    def prepare(key: object, launch: Launch) -> Callable[[str], Report]:
        kernel = kernels[key] if kernels else load_lowered(lower(launch.program.func, CPU))
        part = plan.graph.subgraph(launch.nodes)
        return partial(
            _verify,
            part,
            _candidate(part, launch, kernel, names),
            arithmetic=Arithmetic(tf32=on_gpu and target.kind == "cuda"),
            ranges={name: span for name, span in ranges.items() if name in part.inputs},
            device="cuda" if on_gpu else "cpu",
        )

    reports: dict[str, Report] = {}
    trouble: Trouble = []
    with _one_thread_each() as pool:
        jobs = [
            (launch, [pool.submit(check, kind) for kind in DISTRIBUTIONS])
            for key, launch in distinct.items()
            for check in [prepare(key, launch)]
        ]
        for launch, parts in jobs:
            progress(f"checking {launch.name}")
            report = reports[launch.name] = joined([part.result() for part in parts])
            if report.failures:
                worst = max(report.failures, key=lambda f: f.ratio)
                trouble.append(
                    (launch, Refusal("verification", f"{worst.output} is wrong on {worst.distribution} inputs: {worst.message}"))
                )
    return reports, trouble


def _verify(part: Graph, candidate: Candidate, distribution: str, **settings: Any) -> Report:
    return verify(part, candidate, distributions=[distribution], samples=SAMPLES, **settings)


@contextmanager
def _one_thread_each() -> Iterator[ThreadPoolExecutor]:
    """A pool for work in PyTorch on the processor, each job of which uses one core.

    The references' operations are small. With several threads in each, these would wait for each other at every single one, which on a
    machine that has other work takes ten times as long as the operation itself.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(max_workers=min(before, MAX_JOBS)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def _candidate(
    part: Graph, launch: Launch, kernel: Loaded, names: Mapping[str, str]
) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    """A launch alone, as a function of its part of the graph."""

    def run(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        device = next(iter(inputs.values())).device
        values = dict(inputs)
        for name, content in part.constants.items():
            if content is not None:
                values[name] = content.to(device)
        arguments = []
        for param in launch.program.params:
            name = tensor_of(param.name, names)
            if name not in values:
                spec = part.tensors[name].spec
                values[name] = torch.empty(spec.shape, dtype=DTYPES[spec.dtype].torch, device=device)
            arguments.append(values[name])
        kernel(*arguments)
        return {name: values[name] for name in part.outputs}

    return run
