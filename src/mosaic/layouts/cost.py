"""What a conversion costs: cycles and seconds from counts of its instructions and constants of each target.

The constants are data (`costs.json`): `measured` ones come from benchmarks/instructions.py on that device, `assumed` ones from what is
published, as their source says. For each instruction, `issue` is how many cycles of a processor one warp's instruction takes when nothing
else runs, and `latency` after how many a dependent one may start.

A block that converts alone takes about latency + busy: its longest chain once, and every instruction of every warp at its rate. Where other
blocks fill the gaps it takes busy. Bank conflicts are not in it: what Mosaic emits between linear layouts has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final, Literal, Protocol

from mosaic.layouts.linear import LayoutError

_DATA: Final = "costs.json"


@dataclass(frozen=True)
class Instruction:
    """Cycles: of a processor for one warp, and until the result may be used."""

    issue: float
    latency: float


@dataclass(frozen=True)
class Constants:
    """Those of one target. clock_hz: of its processors. label: measured on this kind of device, or assumed; source: where from."""

    arch: str
    label: Literal["measured", "assumed"]
    source: str
    clock_hz: float
    instructions: Mapping[str, Instruction]


@dataclass(frozen=True)
class Cost:
    """Processor cycles: `busy` those that one block's instructions fill, `latency` those of its longest chain."""

    busy: float
    latency: float
    clock_hz: float

    @property
    def cycles(self) -> float:
        """Of one block alone on a processor."""
        return self.busy + self.latency

    @property
    def seconds(self) -> float:
        """Of one block alone on a processor."""
        return self.cycles / self.clock_hz

    @property
    def busy_seconds(self) -> float:
        """Of one block where others fill the gaps."""
        return self.busy / self.clock_hz


class Counted(Protocol):
    """What has a cost: `emit.DeviceFunction` is one."""

    @property
    def instructions(self) -> Mapping[str, int]:
        """Instructions of each warp, by name."""

    @property
    def chain(self) -> Mapping[str, int]:
        """Those of the longest chain."""

    @property
    def threads(self) -> int:
        """Of the block."""


@dataclass(frozen=True)
class Work:
    """The counts alone, for what is not a function yet."""

    instructions: Mapping[str, int]
    chain: Mapping[str, int]
    threads: int


@lru_cache(maxsize=1)
def _targets() -> Mapping[str, Constants]:
    data = json.loads(resources.files("mosaic.layouts").joinpath(_DATA).read_text(encoding="utf-8"))
    found = {}
    for arch, entry in data["targets"].items():
        instructions = {name: Instruction(**both) for name, both in entry["instructions"].items()}
        found[arch] = Constants(arch, entry["label"], entry["source"], entry["clock_hz"], MappingProxyType(instructions))
    return MappingProxyType(found)


def constants(arch: str) -> Constants:
    """Those of an architecture such as sm_90a; of another CUDA one, the nearest older one's, or the oldest. Raises LayoutError if none."""
    targets = _targets()
    if arch in targets:
        return targets[arch]
    number = _number(arch)
    known = sorted((other, name) for name in targets if (other := _number(name)) is not None)
    if number is None:
        raise LayoutError(f"no costs are known for {arch}; there are some for {', '.join(targets)}")
    return targets[max([known[0], *(entry for entry in known if entry[0] <= number)])[1]]


def _number(arch: str) -> int | None:
    digits = arch.removeprefix("sm_").rstrip("af")
    return int(digits) if arch.startswith("sm_") and digits.isdigit() else None


def cost(function: Counted, arch: str) -> Cost:
    """The cost of a block's conversion. Raises LayoutError if the target is not known, or has no such instruction."""
    known = constants(arch)
    warp_size = 64 if arch.startswith("gfx") else 32
    warps = -(-function.threads // warp_size)
    for name in (*function.instructions, *function.chain):
        if name not in known.instructions:
            raise LayoutError(f"{arch} has no cost of {name} among {', '.join(known.instructions)}")
    # A barrier is waited for once by the whole block, not once by each warp in turn.
    busy = sum(known.instructions[name].issue * count * warps for name, count in function.instructions.items() if name != "barrier")
    latency = sum(known.instructions[name].latency * count for name, count in function.chain.items())
    return Cost(busy, latency, known.clock_hz)
