"""What a fusion did, as plain data: what the command line prints, what its JSON holds, and what the page shows."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mosaic.graph.kernel import Value
from mosaic.harness.report import Report, Status
from mosaic.harness.timing import Paired
from mosaic.layouts.plan import kinds
from mosaic.pipeline import Fused, runs_here
from mosaic.report.markup import size
from mosaic.report.repeats import merged, pattern
from mosaic.stitch.plan import Edge, How, Launch
from mosaic.stitch.recipe import Move
from mosaic.targets.lowered import Lowered


@dataclass(frozen=True)
class KernelFact:
    """One compiled kernel, and the launches that run it: several where a graph's layers repeat.

    name is the program's, label says the same to people. launches: their positions in the plan. launch: the first of them.
    report: the verification's, None if it was not checked.
    """

    name: str
    label: str
    launches: tuple[int, ...]
    launch: Launch
    lowered: Lowered
    report: Report | None

    @property
    def threads(self) -> int | None:
        """Threads of a block as launched; None on a processor, whose blocks have none."""
        return None if self.lowered.target.kind == "cpu" else self.lowered.threads

    @property
    def on_chip_bytes(self) -> int:
        """A block's shared memory as the program declares it, and its fragments."""
        return self.launch.program.shared_bytes + self.launch.program.fragment_bytes

    @property
    def moves(self) -> tuple[Move, ...]:
        """Each producer that was inlined, the last first."""
        return tuple(move for group in self.launch.groups for move in group.moves)

    @property
    def tunables(self) -> dict[str, dict[str, Value]]:
        """The tunables chosen for each node."""
        return {
            node: dict(choice.tunables)
            for group in self.launch.groups
            for node, choice in zip(group.nodes, group.recipe.choices, strict=True)
        }


@dataclass(frozen=True)
class EdgeFact:
    """One edge, or several that differ in the numbers of their names only: `times` of them, of `bytes` each."""

    tensor: str
    producer: str
    consumer: str
    how: How
    reason: str
    bytes: int
    times: int


@dataclass(frozen=True)
class MovedFact:
    """Bytes between kernels that the launches of one kernel read and write, together: as single kernels, and as they are now."""

    label: str
    times: int
    before: int
    after: int


@dataclass(frozen=True)
class CheckFact:
    """The verification of one output of one kernel over all the inputs it was tried on.

    ratio: the largest error as a fraction of its bound. looseness: the bound as a fraction of the values' root mean square, on those
    inputs where it is tightest. status: "inconclusive" if on none of them the bound could have shown an error.
    """

    kernel: str
    output: str
    distributions: str
    ratio: float
    looseness: float
    status: Status
    explanation: str


@dataclass(frozen=True)
class Facts:
    """All that is told of a fusion. `times` compares it with the same graph unfused; None where that was not measured."""

    fused: Fused
    kernels: tuple[KernelFact, ...]
    edges: tuple[EdgeFact, ...]
    moved: tuple[MovedFact, ...]
    times: Paired | None

    @property
    def kernels_before(self) -> int:
        return self.fused.graph.kernel_count

    @property
    def kernels_after(self) -> int:
        return self.fused.kernel_count

    @property
    def bytes_before(self) -> int:
        return self.fused.graph.bytes_between()

    @property
    def bytes_after(self) -> int:
        return self.fused.plan.bytes_between()

    @property
    def checked_on(self) -> str:
        """Where the verification ran."""
        target = self.fused.target
        if runs_here(target):
            return target.device
        return f"this machine's processor: the programs of {target.name} without its instructions, as there is no such device here"

    @property
    def status(self) -> str:
        """The worst of all verifications; "unchecked" if there is none."""
        found = {kernel.report.status for kernel in self.kernels if kernel.report is not None}
        return next((status for status in ("fail", "inconclusive", "pass") if status in found), "unchecked")

    def checks(self) -> tuple[CheckFact, ...]:
        """The verification, an entry for each output of each kernel."""
        return tuple(check for kernel in self.kernels if kernel.report is not None for check in _checks(kernel, kernel.report))

    def figures(self) -> tuple[tuple[str, str, str], ...]:
        """The figures that matter most: a name, a value and a remark each."""
        found = [
            (
                "kernels",
                f"{self.kernels_before} → {self.kernels_after}",
                f"{_share(self.kernels_after, self.kernels_before)} of the launches",
            ),
            (
                "bytes between kernels",
                f"{size(self.bytes_before)} → {size(self.bytes_after)}",
                f"{_share(self.bytes_after, self.bytes_before)}: {self.bytes_before:,} → {self.bytes_after:,}, "
                "written to device memory and read again in one run",
            ),
        ]
        if (layouts := self.fused.layouts) is not None:
            value = ", ".join(f"{count} {how}" for how, count in kinds(layouts.choices).items())
            proof = "the best there is" if layouts.solution.optimal else "the best that was found"
            found.append(("layouts", value or "no edges", f"how tiles are handed over, solved for the whole graph: {proof} by the model"))
        reports = [kernel.report for kernel in self.kernels if kernel.report is not None]
        if reports:
            kernels = f"{len(reports)} kernels" if len(reports) > 1 else "1 kernel"
            remark = f"{sum(len(report.findings) for report in reports)} comparisons of {kernels} with float64 references"
            found.append(("verification", self.status, f"{remark}; largest error {max(r.ratio for r in reports):.2f} of its bound"))
        if self.times is not None:
            found.append(_timing(self.times))
        return tuple(found)


def _share(after: int, before: int) -> str:
    return f"{after / before:.0%}" if before else "none"


def _timing(times: Paired) -> tuple[str, str, str]:
    low, high = times.interval
    medians = " against ".join(f"{statistics.median(seconds) * 1e3:.3g} ms" for seconds in (times.first, times.second))
    remark = (
        f"geometric mean of {len(times.ratios)} paired runs ({low:.2f} to {high:.2f} with 95 % confidence); median {medians}; {times.clock}"
    )
    value = f"{times.ratio:.2f} times as fast"
    return "speed, fused against unfused", value if times.verdict != "inconclusive" else f"inconclusive: {value}", remark


def _checks(kernel: KernelFact, report: Report) -> list[CheckFact]:
    found = []
    for output in dict.fromkeys(finding.output for finding in report.findings):
        mine = [finding for finding in report.findings if finding.output == output]
        status: Status = "pass" if any(finding.is_conclusive for finding in mine) else "inconclusive"
        if any(finding.failure is not None for finding in mine):
            status = "fail"
        # A bound of 0 says that the answer must be exact, on inputs that are mostly zero: it is not what the others are measured by.
        tightest = min((finding.looseness for finding in mine if finding.looseness > 0), default=0.0)
        distributions = ", ".join(dict.fromkeys(finding.distribution for finding in mine))
        ratio = max(finding.ratio for finding in mine)
        found.append(CheckFact(kernel.label, output, distributions, ratio, tightest, status, report.explanations.get(output, "")))
    return found


def collect(fused: Fused, times: Paired | None = None) -> Facts:
    """What is told of a fusion."""
    return Facts(fused, kernels_of(fused), edges_of(fused.plan.edges), moved_of(fused), times)


def kernels_of(fused: Fused) -> tuple[KernelFact, ...]:
    """The distinct kernels, in the order of their first launch. Launches that differ in names only share what was lowered."""
    places: dict[int, list[int]] = {}
    for position, lowered in enumerate(fused.lowered):
        places.setdefault(id(lowered), []).append(position)
    found = []
    for positions in places.values():
        launches = [fused.plan.launches[position] for position in positions]
        reports = [fused.reports[launch.name] for launch in launches if launch.name in fused.reports]
        name, label = (merged_or_first(list(map(text, launches))) for text in (_name, label_of))
        found.append(KernelFact(name, label, tuple(positions), launches[0], fused.lowered[positions[0]], reports[0] if reports else None))
    return tuple(found)


def _name(launch: Launch) -> str:
    return launch.name


def label_of(launch: Launch) -> str:
    """A launch in a few words: `layer0: query.gemm … query.bias | key.gemm … key.bias`, what its nodes share in front."""
    parts = [name.split(".") for name in launch.nodes]
    shared = 0
    while all(len(part) > shared + 1 and part[shared] == parts[0][shared] for part in parts):
        shared += 1
    shown = []
    for group in launch.groups:
        ends = [".".join(name.split(".")[shared:]) for name in (group.nodes[0], group.nodes[-1])]
        shown.append(ends[0] if len(group.nodes) == 1 else f"{ends[0]} {'…' if len(group.nodes) > 2 else '+'} {ends[1]}")
    front = ".".join(parts[0][:shared])
    return f"{front}: {' | '.join(shown)}" if front and len(launch.nodes) > 1 else f"{front}.{shown[0]}" if front else " | ".join(shown)


def merged_or_first(names: Sequence[str]) -> str:
    """One name for all, if they differ in their numbers only; else the first."""
    return merged(names) if len({pattern(name) for name in names}) == 1 else names[0]


def edges_of(edges: Sequence[Edge], *, collapse: bool = True) -> tuple[EdgeFact, ...]:
    """The edges, those that differ in the numbers of their names only as one; in the order of the first of each."""
    alike: dict[object, list[Edge]] = {}
    for position, edge in enumerate(edges):
        texts = tuple(map(pattern, (edge.tensor, edge.producer, edge.consumer, edge.reason)))
        alike.setdefault((texts, edge.how, edge.bytes) if collapse else position, []).append(edge)
    found = []
    for group in alike.values():
        tensor, producer, consumer, reason = (
            merged(texts) for texts in zip(*((edge.tensor, edge.producer, edge.consumer, edge.reason) for edge in group), strict=True)
        )
        found.append(EdgeFact(tensor, producer, consumer, group[0].how, reason, group[0].bytes, len(group)))
    return tuple(found)


def moved_of(fused: Fused) -> tuple[MovedFact, ...]:
    """Where the bytes between kernels are moved: written by the launch that makes a tensor, read by each that takes it.

    The sums over all are the graph's `bytes_between` and the plan's.
    """
    before, after = _moved_before(fused), _moved_after(fused)
    return tuple(
        MovedFact(kernel.label, len(kernel.launches), sum(before[i] for i in kernel.launches), sum(after[i] for i in kernel.launches))
        for kernel in kernels_of(fused)
    )


def _moved_before(fused: Fused) -> list[int]:
    graph = fused.graph
    launch_of = {node: position for position, launch in enumerate(fused.plan.launches) for node in launch.nodes}
    moved = [0] * len(fused.plan.launches)
    read: set[str] = set()
    for node in graph.nodes:
        for tensor in () if node.is_view else node.inputs:
            root = graph.root(tensor)
            if root.kind == "intermediate":
                moved[launch_of[node.name]] += root.bytes
                read.add(root.name)
    for name in read:
        producer = graph.producer(name)
        assert producer is not None
        moved[launch_of[producer.name]] += graph.tensors[name].bytes
    return moved


def _moved_after(fused: Fused) -> list[int]:
    graph, names = fused.graph, dict(fused.plan.labels)
    touched = [
        [(graph.root(names[param.name]), param.mode) for param in launch.program.params if param.name in names]
        for launch in fused.plan.launches
    ]
    made = {root.name for launch in touched for root, mode in launch if mode != "read"}
    taken = {root.name for launch in touched for root, mode in launch if mode == "read"}
    return [sum(root.bytes for root, _ in launch if root.name in made & taken) for launch in touched]
