"""A candidate that is loaded in its sandbox, as the judge uses it: given inputs, run, and its outputs read as bytes."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self

import torch

from mosaic.harness.candidate import Candidate
from mosaic.harness.definition import Definition
from mosaic.harness.oracle import Initial, Inputs, Oracle, packed
from mosaic.harness.sandbox import Limits, Session, open_session
from mosaic.harness.wire import Place, Segment, lay_out

UNWRITTEN: Final = 0xFF
"""What an output's memory holds before it is written, here and in the worker."""

LARGEST_BINARY: Final = 32 << 20


@dataclass(frozen=True)
class Returned:
    """What one run gave. outputs: place and bytes by name, of those that have the right type, shape and dtype. described: what the
    worker says of each tensor. aliases: (output, "input" or "earlier", which). echo: the inputs' bytes afterwards."""

    outputs: Mapping[str, tuple[Place, bytes]]
    described: tuple[Mapping[str, Any], ...]
    aliases: tuple[tuple[int, str, int], ...]
    echo: tuple[bytes, ...]


@dataclass(frozen=True)
class Built:
    """How a candidate was built. binaries: name and content."""

    compiler: Mapping[str, Any] | None = None
    log: str = ""
    binaries: tuple[tuple[str, bytes], ...] = field(default=())


class Player:
    """One candidate in one process. What it does wrong is raised as Broken, with its failure class."""

    def __init__(self, candidate: Candidate, definition: Definition, oracle: Oracle, device: str, limits: Limits) -> None:
        self.candidate: Final = candidate
        self.definition: Final = definition
        self.oracle: Final = oracle
        self.device: Final = device
        self.limits: Final = limits
        libraries: tuple[str, ...] = ("torch",) if candidate.needs_torch(device) else ()
        if candidate.needs_mosaic:
            libraries = ("torch", "mosaic.candidates")  # brings TileLang, which takes seconds to load: once for all its processes
        self.session: Final[Session] = open_session(
            candidate.files, limits=limits, device=device, libraries=libraries, whole=candidate.needs_mosaic
        )
        self.built = Built()
        self._ordered: Segment | None = None
        self._segments: dict[str, Segment] = {}
        self.trace: Mapping[str, Any] = {}
        self.runs: list[tuple[tuple[int, ...], float, float]] = []
        """Of each run: its symbols, seconds by the judge's clock, and those in which its process says it was busy."""

    def order(self, *, stateful: bool, compiled: bool = False) -> None:
        """Let its process compile and import meanwhile; `build` waits for it. compiled: by torch.compile (for baselines)."""
        if self._ordered is not None:
            return
        segment = self._ordered = Segment.make(LARGEST_BINARY)
        order = {
            "language": self.candidate.language, "entries": list(self.candidate.entries(self.definition.name)), "file": self.candidate.file,
            "style": self.candidate.style, "build": dict(self.candidate.build), "attributes": dict(self.definition.attributes),
            "symbols": list(self.definition.symbols), "device": self.device, "capability": _capability(self.device), "compiled": compiled,
        }  # fmt: skip
        self.session.request({"kind": "build", "order": order, "stateful": stateful}, segment)

    def build(self, *, stateful: bool, compiled: bool = False) -> Built:
        """Compile, import, as it was ordered."""
        self.order(stateful=stateful, compiled=compiled)
        segment = self._ordered or Segment.make(LARGEST_BINARY)
        answer = self.session.reply(self.limits.start_seconds)
        binaries = tuple((str(name)[:200], bytes(segment.memory[start : start + size])) for name, start, size in answer.get("binaries", []))
        segment.close()
        self.built = Built(answer.get("compiler"), str(answer.get("log", "")), binaries)
        return self.built

    def initialise(self, initial: Initial) -> list[str]:
        """Make its model anew; the names of the reference's parameters for which it has no place."""
        segment, places = packed([(where.name, where, data) for where, data in initial.tensors])
        message = {
            "kind": "initialise", "tensors": [where.document() for where in places], "arguments": list(initial.arguments),
            "seed": initial.seed,
        }  # fmt: skip
        answer = self.session.ask(message, segment, self.limits.start_seconds)
        segment.close()
        return [str(name) for name in answer.get("missing", [])]

    def load(self, inputs: Sequence[Inputs], how: Literal["new", "same", "spare"] = "new") -> None:
        """Put inputs into slots. new: at addresses that were not used for the inputs before; same: other contents at the same addresses.
        spare: one slot beside the others, which `arm` runs the candidate on before it is timed."""
        first = inputs[0]
        places, stride = lay_out((where.name, where.dtype, where.shape) for where, _ in first.tensors)
        segment = self.segment("inputs", stride * len(inputs))
        for index, one in enumerate(inputs):
            for where, (_, data) in zip(places, one.tensors, strict=True):
                start = index * stride + where.offset
                segment.memory[start : start + len(data)] = data
        message = {
            "kind": "load", "how": how, "count": len(inputs), "stride": stride, "tensors": [where.document() for where in places],
            "constants": list(first.constants), "keep": True,
        }  # fmt: skip
        self.session.ask(message, segment)

    def warm(self, inputs: Inputs) -> None:
        """Run it once, so that what is compiled and loaded when it is first needed is there."""
        self.load([inputs], "spare")
        places, _ = lay_out(self.oracle.outputs(inputs.symbols))
        self.session.ask({"kind": "warm", "outputs": [where.document() for where in places], "symbols": dict(inputs.symbols)})

    def segment(self, purpose: str, size: int) -> Segment:
        """Memory that is handed to its process again and again, of so many bytes at least; what was in it stays there."""
        held = self._segments.get(purpose)
        if held is not None and held.size >= size:
            return held
        if held is not None:
            _release(held)
        made = self._segments[purpose] = Segment.make(size, kept=True)
        return made

    def run(self, inputs: Inputs, slot: int = 0, fill: int = UNWRITTEN) -> Returned:
        """Run the candidate once on a slot, which holds these inputs. fill: what memory that it takes with PyTorch holds at first."""
        return self._asked({"kind": "run", "slot": slot, "fill": fill}, inputs)

    def hold(self) -> None:
        """Let the process keep what the last run returned, so that it can be looked at later."""
        self.session.ask({"kind": "hold"})

    def held(self, inputs: Inputs) -> Returned:
        """What was kept, as it is now."""
        return self._asked({"kind": "held"}, inputs)

    def _asked(self, request: Mapping[str, Any], inputs: Inputs) -> Returned:
        specs = self.oracle.outputs(inputs.symbols)
        places, size = lay_out([*specs, *[(where.name, where.dtype, where.shape) for where, _ in inputs.tensors]])
        outputs, echoes = places[: len(specs)], places[len(specs) :]
        segment = Segment.make(size)
        for where in outputs:
            segment.fill(where, UNWRITTEN)
        message = {
            **request, "symbols": dict(inputs.symbols), "outputs": [where.document() for where in outputs],
            "echo": [where.document() for where in echoes],
        }  # fmt: skip
        start = time.perf_counter()
        answer = self.session.ask(message, segment)
        if request["kind"] == "run":
            busy = answer.get("busy")
            self.runs.append((tuple(inputs.symbols.values()), time.perf_counter() - start, busy if isinstance(busy, float) else math.inf))
        self.trace = dict(answer.get("trace") or self.trace)
        described = tuple(item for item in answer.get("returned", []) if isinstance(item, dict))
        right = [_is_right(item, where) for item, where in zip(described, outputs, strict=False)]
        made = {where.name: (where, segment.read(where)) for where, good in zip(outputs, right, strict=False) if good}
        echo = tuple(segment.read(where) for where in echoes)
        segment.close()
        aliases = tuple((int(a), str(b), int(c)) for a, b, c in answer.get("aliases", [])[:64])
        return Returned(made, described, aliases, echo)

    def look(self) -> None:
        """Let the process say what has changed in it."""
        self.session.ask({"kind": "look"})

    def close(self) -> None:
        """End its process, with all that it started."""
        self.session.close()
        while self._segments:
            _release(self._segments.popitem()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _release(segment: Segment) -> None:
    segment.kept = False
    segment.close()


def _is_right(described: Mapping[str, Any], where: Place) -> bool:
    return described.get("type") == "Tensor" and described.get("dtype") == where.dtype and tuple(described.get("shape", ())) == where.shape


def _capability(device: str) -> list[int]:
    if not device.startswith("cuda"):
        return [0, 0]

    return list(torch.cuda.get_device_capability(device))
