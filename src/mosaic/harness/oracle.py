"""The oracle, as the judge sees it: inputs drawn from keys, what the outputs must be, and what the task's invariants say.

It is a process of its own (`reference_process`): the task's code runs neither in the judge nor beside a candidate.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import torch

from mosaic.errors import InputError
from mosaic.harness.bound import Bound
from mosaic.harness.definition import Definition
from mosaic.harness.error_tensor import Choices
from mosaic.harness.sandbox import ORACLE, Broken, Limits, Session, begin, nursery
from mosaic.harness.wire import Place, Segment, lay_out, place

SECONDS: Final = 600.0
"""For one answer: the float64 reference of a large case takes a while."""


Answer = tuple[dict[str, Any], Segment | None]


HELPERS: Final = 4
"""Processes that compute bounds at the same time, at most."""
CORES_EACH: Final = 4
"""Processors for each of them, at least."""
MOST_BYTES: Final = 256 << 20
"""Of the inputs that all of them work on: the reference in float64 needs many times as much."""


@dataclass(frozen=True)
class Inputs:
    """One draw. tensors: (place without meaning, bytes) in the order of the task's inputs; constants: what is no tensor, by position."""

    symbols: Mapping[str, int]
    distribution: str
    key: str
    tensors: tuple[tuple[Place, bytes], ...]
    constants: tuple[Any, ...] = ()
    note: str = ""
    exponent: int = 0

    @property
    def bytes(self) -> int:
        """Of all tensors."""
        return sum(len(data) for _, data in self.tensors)


@dataclass(frozen=True)
class Initial:
    """What a candidate's constructor gets, see `worker`."""

    seed: int = 0
    arguments: tuple[Any, ...] = ()
    tensors: tuple[tuple[Place, bytes], ...] = ()
    stateful: bool = False


@dataclass(frozen=True)
class Question:
    """Inputs, what the outputs must be for them, and where that comes from."""

    inputs: Inputs
    bounds: Mapping[str, Bound] = field(default_factory=dict)
    explanations: Mapping[str, str] = field(default_factory=dict)


def prepare() -> None:
    """Start the process that oracles are forked from: it takes a second or two, in which other things can be done."""
    nursery((), ORACLE, package=True)


class Oracle:
    """The open task. Raises InputError, with the task's error as a sentence, wherever the task's own code fails."""

    def __init__(self, definition: Definition, threads: int = 0) -> None:
        """threads: that it computes with; 0 for as many as there are processors."""
        self._folder: Final = Path(tempfile.mkdtemp(prefix="mosaic-task-"))
        for name, data in definition.files.items():
            (self._folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self._folder / name).write_bytes(data)
        limits = Limits(seconds=SECONDS, output_bytes=1 << 40)
        self._session: Final[Session] = begin(nursery((), ORACLE, package=True), None, limits, self._folder, {})
        self.definition: Final = definition
        self._asked: dict[str, Any] | None = None
        self._answer: tuple[dict[str, Any], Answer] | None = None
        try:
            task = {"folder": str(self._folder), "published": definition.published, "definition": _order(definition)}
            about = self._ask({"kind": "open", **task, "threads": threads})[0]
        except BaseException:
            self.close()
            raise
        self.fixed: Final = about
        self._initial: str | None = None
        self._exponents: dict[tuple[tuple[tuple[str, int], ...], str], int] = {}

    def _ask(self, message: Mapping[str, Any], given: Segment | None = None) -> tuple[dict[str, Any], Segment | None]:
        if self._asked is not None:
            self._answer, self._asked = (self._asked, self._reply()), None
        if self._answer is not None and self._answer[0] == message:
            (_, (answer, segment)), self._answer = self._answer, None
        else:
            self._session.request(message, given)
            answer, segment = self._reply()
        if "error" in answer:
            raise InputError(f"the task {self.definition.name!r}: {answer['error']}")
        return answer, segment

    def _reply(self) -> Answer:
        try:
            answer, fds = self._session.channel_reply()
        except Broken as error:
            raise InputError(f"the task {self.definition.name!r} could not be run: {error}; {self._session.streams.last_words}") from None
        return answer, Segment(fds[0], os.fstat(fds[0]).st_size) if fds else None

    def outputs(self, symbols: Mapping[str, int]) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, dtype and shape of each output."""
        if self.definition.published:
            return [(name, dtype, tuple(shape)) for name, dtype, shape in self.fixed["outputs"]]
        return [(role.name, role.dtype, role.shape(symbols)) for role in self.definition.outputs]

    def inputs(self, symbols: Mapping[str, int]) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, dtype and shape of each input."""
        if self.definition.published:
            return [(name, dtype, tuple(shape)) for name, dtype, shape in self.fixed["inputs"]]
        return [(role.name, role.dtype, role.shape(symbols)) for role in self.definition.inputs]

    def initialise(self, key: str) -> Initial:
        """New parameters, of which later answers are."""
        answer, segment = self._ask({"kind": "initialise", "key": key})
        self._initial = key
        tensors = tuple(_contents(answer["tensors"], segment))
        return Initial(int(answer["seed"]), tuple(answer["arguments"]), tensors, bool(answer["stateful"]))

    def draw(self, symbols: Mapping[str, int], distribution: str, key: str) -> Inputs | None:
        """Inputs alone; None if the distribution makes no sense for the task."""
        question = self._drawn(symbols, distribution, key, bounds=False)
        return question.inputs if isinstance(question, Question) else None

    def question(self, symbols: Mapping[str, int], distribution: str, key: str, *, explain: bool = True) -> Question | str:
        """Inputs and bounds; a text that says why the distribution makes no sense for the task, if so. explain: where bounds come from."""
        return self._drawn(symbols, distribution, key, bounds=True, explain=explain)

    def ahead(self, symbols: Mapping[str, int], distribution: str, key: str, *, explain: bool = True) -> None:
        """Let a question be answered meanwhile, that will be asked next with the same arguments."""
        if self._asked is None:
            self._asked = self._message(symbols, distribution, key, bounds=True, explain=explain)
            self._session.request(self._asked)

    def _message(self, symbols: Mapping[str, int], distribution: str, key: str, *, bounds: bool, explain: bool) -> dict[str, Any]:
        asked = {"kind": "draw", "symbols": dict(symbols), "distribution": distribution, "key": key, "bounds": bounds, "explain": explain}
        exponent = self._exponents.get((tuple(sorted(symbols.items())), distribution))
        return asked if exponent is None else {**asked, "exponent": exponent}

    def _drawn(self, symbols: Mapping[str, int], distribution: str, key: str, *, bounds: bool, explain: bool = False) -> Question | str:
        answer, segment = self._ask(self._message(symbols, distribution, key, bounds=bounds, explain=explain))
        if answer.get("none"):
            return str(answer["note"]) or "the distribution makes no sense for the task"
        # what the first draw of a place finds holds for all later ones
        self._exponents.setdefault((tuple(sorted(symbols.items())), distribution), int(answer["exponent"]))
        count = int(answer["inputs"])
        contents, rest = _contents(answer["tensors"][:count], segment), _mapped(answer["tensors"][count:], segment)
        made = Inputs(
            dict(symbols), distribution, key, tuple(contents), tuple(answer["constants"]), str(answer["note"]), int(answer["exponent"])
        )
        if segment is not None:
            segment.close_file()
        if not bounds:
            return Question(made)
        found = {name: _bound(name, dtype, distinct, rest) for name, dtype, distinct, _ in answer["bounds"]}
        return Question(made, found, {name: text for name, _, _, text in answer["bounds"]})

    def bounds(self, inputs: Inputs) -> dict[str, Bound]:
        """What the outputs must be for inputs that the judge made itself."""
        message, segment = _bounds_message(inputs)
        answer, given = self._ask(message, segment)
        segment.close()
        return self._bounds(answer, given)

    def bounds_of(self, many: Sequence[Inputs]) -> Generator[dict[str, Bound], None, None]:
        """`bounds` of each, in order. Where there are processors for it, several processes compute them at the same time."""
        cores = len(os.sched_getaffinity(0))
        count = min(len(many), HELPERS, cores // CORES_EACH, MOST_BYTES // max((inputs.bytes for inputs in many), default=1))
        if count < 2:
            yield from map(self.bounds, many)
            return
        with ExitStack() as stack:
            helpers = [stack.enter_context(Oracle(self.definition, cores // count)) for _ in range(count)]
            for helper in helpers if self._initial is not None else ():
                helper.initialise(self._initial or "")
            waiting: deque[Oracle] = deque()
            for index, inputs in enumerate(many):
                if len(waiting) == count:
                    yield waiting.popleft()._answered()
                message, segment = _bounds_message(inputs)
                helpers[index % count]._session.request(message, segment)
                segment.close()
                waiting.append(helpers[index % count])
            while waiting:
                yield waiting.popleft()._answered()

    def _answered(self) -> dict[str, Bound]:
        answer, given = self._reply()
        if "error" in answer:
            raise InputError(f"the task {self.definition.name!r}: {answer['error']}")
        return self._bounds(answer, given)

    def _bounds(self, answer: Mapping[str, Any], given: Segment | None) -> dict[str, Bound]:
        tensors = _mapped(answer["tensors"], given)
        if given is not None:
            given.close_file()
        return {name: _bound(name, dtype, distinct, tensors) for name, dtype, distinct, _ in answer["bounds"]}

    def broken_invariants(self, inputs: Inputs, outputs: Mapping[str, tuple[Place, bytes]]) -> list[str]:
        """What the task's invariants say against these outputs."""
        if self.definition.invariants is None:
            return []
        segment, places = packed([(name, where, data) for name, (where, data) in outputs.items()])
        message = {"kind": "check", **_of(inputs), "outputs": [where.document() for where in places]}
        answer, _ = self._ask(message, segment)
        segment.close()
        return [str(text) for text in answer["broken"]]

    def work(self, inputs: Inputs) -> dict[str, Any]:
        """`Work.to_dict` of the reference on these inputs."""
        answer, _ = self._ask({"kind": "work", **_of(inputs)})
        made: dict[str, Any] = answer["work"]
        return made

    def close(self) -> None:
        """End the process."""
        self._session.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _bounds_message(inputs: Inputs) -> tuple[dict[str, Any], Segment]:
    segment, places = packed([(where.name, where, data) for where, data in inputs.tensors])
    message = {"kind": "bound", "symbols": dict(inputs.symbols), "constants": list(inputs.constants)}
    return {**message, "tensors": [where.document() for where in places]}, segment


def packed(tensors: Sequence[tuple[str, Place, bytes]]) -> tuple[Segment, list[Place]]:
    """New memory with these tensors (name, dtype and shape, bytes), and where they lie in it."""
    places, size = lay_out((name, where.dtype, where.shape) for name, where, _ in tensors)
    segment = Segment.make(size)
    for where, (_, _, data) in zip(places, tensors, strict=True):
        segment.write(where, data)
    return segment, places


def _order(definition: Definition) -> dict[str, Any]:
    roles = {
        kind: [[r.name, list(r.dims), r.dtype] for r in made]
        for kind, made in (("inputs", definition.inputs), ("outputs", definition.outputs))
    }
    invariants = [] if definition.invariants is None else [[definition.invariants[0], list(definition.invariants[1])]]
    ranges = [[role.name, *role.range] for role in definition.inputs if role.range is not None]
    return {
        "name": definition.name, **roles, "ranges": ranges, "attributes": dict(definition.attributes),
        "reference": list(definition.reference), "invariants": invariants,
    }  # fmt: skip


def _of(inputs: Inputs) -> dict[str, Any]:
    return {"symbols": dict(inputs.symbols), "distribution": inputs.distribution, "key": inputs.key, "exponent": inputs.exponent}


def _contents(documents: list[Any], segment: Segment | None) -> list[tuple[Place, bytes]]:
    if segment is None:
        return []
    return [(where, segment.read(where)) for where in map(place, documents)]


def _mapped(documents: list[Any], segment: Segment | None) -> dict[str, torch.Tensor]:
    """Tensors by name, where they lie: their memory goes with the last of them."""
    made: dict[str, torch.Tensor] = {}
    for where in map(place, documents):
        kind, count = getattr(torch, where.dtype), math.prod(where.shape)
        if segment is None or not count:
            made[where.name] = torch.empty(where.shape, dtype=kind)
        else:
            made[where.name] = torch.frombuffer(segment.memory, dtype=kind, count=count, offset=where.offset).reshape(where.shape)
    return made


def tensor_of(dtype: str, shape: tuple[int, ...], data: bytes) -> torch.Tensor:
    """A tensor of raw bytes."""
    kind = getattr(torch, dtype)
    if not data:
        return torch.empty(shape, dtype=kind)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(kind).reshape(shape)


def _bound(name: str, dtype: str, distinct: bool, tensors: Mapping[str, torch.Tensor]) -> Bound:
    allowed = tensors.get(f"choices:{name}")
    choices = None if allowed is None else Choices(allowed, distinct)
    return Bound(tensors[f"value:{name}"], tensors[f"error:{name}"], dtype, {}, choices)
