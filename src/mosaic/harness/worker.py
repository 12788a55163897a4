"""The candidate's process: loads it, feeds it, copies what it returns into memory that the judge reads. Runs inside the sandbox.

It knows inputs and the addresses of outputs, and nothing of what the outputs should be, how near they must come, or which
inputs are next. Whatever it says of itself is a claim; bytes, and the judge's own clock, are what is believed.

    build        the candidate's manifest                    -> compiler, log, binaries
    initialise   constructor's arguments, seed, parameters   -> names of parameters that the candidate has no place for
    load         inputs of some slots                        -> nothing
    run          one slot once                               -> what was returned; outputs and inputs afterwards, in the segment
    warm         nothing                                     -> nothing; it has run once on the spare slot
    arm          some slots in a row                         -> nothing; all is ready for `time`
    time         nothing                                     -> seconds inside, device seconds; outputs are in the segment of `arm`
    collect      nothing                                     -> what was returned
    ping, look   nothing                                     -> nothing; `look` says what has changed in the process
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from mosaic.harness import jail, loaders
from mosaic.harness.observer import FILL, Observer
from mosaic.harness.timing_inside import Stopwatch
from mosaic.harness.tripwires import Tripwires
from mosaic.harness.wire import Channel, Gone, Mapped, Place, Segment, place, spread
from mosaic.harness.worker_memory import Memory, memory_for

SPARE: Final = -1
"""The slot on which the candidate is run before it is timed."""

LONGEST: Final = 2000
"""Characters of an error's text that are sent."""

_FULL: Final = (28, 27, 122, 11, 24, 23)  # ENOSPC, EFBIG, EDQUOT, EAGAIN, EMFILE, ENFILE
_OUT_OF_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory", "unable to allocate")
_REFUSED: Final = (
    "invalid configuration argument", "too many resources requested", "invalid device function", "no kernel image",
    "launch failure", "invalid argument", "out of resource", "misaligned address", "illegal memory access", "launch timed out",
)  # fmt: skip


def failure_of(error: BaseException, phase: str) -> str:
    """The failure class of an exception that a candidate raised in a phase."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or "OutOfMemory" in type(error).__name__ or any(words in text for words in _OUT_OF_MEMORY):
        return "out_of_memory"
    if isinstance(error, OSError) and error.errno in _FULL:
        return "resource_limit"
    if "can't start new thread" in text:
        return "resource_limit"
    if isinstance(error, loaders.CompileError) or (phase == "build" and "Compil" in type(error).__name__):
        return "compile_error"
    if isinstance(error, loaders.LaunchError) or any(words in text for words in _REFUSED):
        return "launch_error"
    return "import_error" if phase == "build" else "crash"


@dataclass
class _Armed:
    """What `time` will run. views: the outputs' places in the segment; given: outputs to write to."""

    segment: Segment
    calls: list[Any]
    views: list[list[Any]]
    given: list[list[Any]]
    results: list[list[Any]] = field(default_factory=list)


class Worker:
    """What is loaded, and the tensors that it was given."""

    def __init__(self, folder: str, scratch: str) -> None:
        self.folder: Final = folder
        self.scratch: Final = scratch
        self.memory: Memory | None = None
        self.loaded: loaders.Loaded | None = None
        self.tripwires: Tripwires | None = None
        self.stopwatch: Stopwatch | None = None
        self.observer: Observer | None = None
        self.slots: dict[int, list[Any]] = {}
        self.before: dict[int, list[Any]] = {}
        self.last: list[Any] = []
        self.constants: dict[int, Any] = {}
        self.spare: list[Any] = []
        self.armed: _Armed | None = None

    def answer(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """Do what a message asks for. Whatever the candidate raises becomes a failure with its class."""
        kind = message["kind"]
        phase = "build" if kind in ("build", "initialise") else "run"
        try:
            made: dict[str, Any] = getattr(self, f"_{kind}")(message, segment)
        except BaseException as error:  # SystemExit and KeyboardInterrupt too
            text = f"{type(error).__name__}: {error}"[:LONGEST]
            return {"failure": failure_of(error, phase), "message": text, "observations": self._observed()}
        if kind not in ("ping", "arm", "time"):  # which are within the judge's clock
            made["observations"] = self._observed()
        return made

    def _observed(self) -> list[list[str]]:
        seen = self.observer.observed() if self.observer is not None else []
        return seen + (self.tripwires.changes() if self.tripwires is not None else [])

    def _ping(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        return {}

    def _look(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        return {}

    def _build(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        order = message["order"]
        self.memory = memory_for(order["language"], order["device"])
        self.stopwatch = Stopwatch(self.memory, order["device"])
        self.observer = Observer(self.folder, self.scratch, traced=order["language"] in loaders.PYTHON)
        self.observer.start()
        self.tripwires = Tripwires([sys.modules[__name__], loaders, sys.modules["mosaic.harness.wire"]])
        loaded = loaders.load(order, self.folder, self.scratch, self.memory)
        self.loaded = loaded
        if loaded.initialise is None and message.get("stateful"):
            raise TypeError("the task has parameters, so the candidate must be a class with the constructor of its Model")
        sizes: list[list[Any]] = []
        end = 0
        for path in loaded.binaries:
            with open(path, "rb") as file:
                data = file.read()
            if segment is not None and end + len(data) <= segment.size:
                segment.memory[end : end + len(data)] = data
                sizes.append([os.path.basename(path), end, len(data)])
                end += len(data)
        return {"compiler": loaded.compiler, "log": loaded.log[-60_000:], "binaries": sizes}

    def _initialise(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        loaded, memory = self._ready()
        places = [place(item) for item in message["tensors"]]
        tensors = {where.name: memory.load(_some(segment), where) for where in places}
        arguments = [loaders.plain(value, tensors) for value in message["arguments"]]
        parameters = {name.removeprefix("parameter:"): value for name, value in tensors.items() if name.startswith("parameter:")}
        if loaded.initialise is None:
            return {"missing": []}
        return {"missing": loaded.initialise(arguments, int(message["seed"]), parameters)}

    def _load(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        _, memory = self._ready()
        if message["how"] == "spare":
            (places,) = spread(message["tensors"], 1, 0)
            self.spare = [memory.load(_some(segment), where) for where in places]
            self.constants = {int(index): loaders.plain(value, {}) for index, value in message.get("constants", [])}
            return {}
        self.before = self.slots if message["how"] == "new" else {}  # kept, so that new tensors lie elsewhere
        made: dict[int, list[Any]] = {}
        for index, places in enumerate(spread(message["tensors"], message["count"], message["stride"])):
            if message["how"] == "same" and index in self.slots:
                made[index] = self.slots[index]
                for tensor, where in zip(made[index], places, strict=True):
                    memory.refill(tensor, _some(segment), where)
            else:
                made[index] = [memory.load(_some(segment), where) for where in places]
        self.slots = made
        self.constants = {int(index): loaders.plain(value, {}) for index, value in message.get("constants", [])}
        memory.wait()
        return {}

    def _arguments(self, slot: int) -> list[Any]:
        """A slot's tensors, and what a published task gives that is no tensor, in order."""
        held = self.spare if slot == SPARE else self.slots[slot]
        tensors = iter(held)
        count = len(held) + len(self.constants)
        return [self.constants[index] if index in self.constants else next(tensors) for index in range(count)]

    def _run(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        loaded, memory = self._ready()
        places = [place(item) for item in message["outputs"]]
        given = [memory.poisoned(where) for where in places] if loaded.destination else []
        arguments, observer = self._arguments(message["slot"]), self.observer
        if observer is None:
            raise RuntimeError("nothing is loaded")
        busy = time.process_time()
        result = observer.run(lambda: loaded.run(arguments, given, message["symbols"]), places, memory, message.get("fill", FILL))
        memory.wait()
        busy = time.process_time() - busy
        outputs = given if loaded.destination else _listed(result)
        made = {
            "returned": [memory.describe(tensor) for tensor in outputs[:64]], "aliases": self._aliases(message["slot"], outputs),
            "trace": observer.trace(), "busy": busy,
        }  # fmt: skip
        self.last = list(outputs)
        self._copy_out(outputs, places, _some(segment))
        for tensor, where in zip(self.slots[message["slot"]], [place(item) for item in message["echo"]], strict=False):
            memory.store(tensor, _some(segment), where)
        return made

    def _hold(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """Keep what the last run returned."""
        if self.observer is not None:
            self.observer.hold(self.last)
        return {}

    def _held(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """What was kept, as it is now."""
        _, memory = self._ready()
        memory.wait()
        outputs = self.observer.held if self.observer is not None else []
        self._copy_out(outputs, [place(item) for item in message["outputs"]], _some(segment))
        return {"returned": [memory.describe(tensor) for tensor in outputs[:64]]}

    def _warm(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """Run the spare slot, whose outputs nobody wants."""
        loaded, memory = self._ready()
        outputs = [memory.poisoned(place(item)) for item in message["outputs"]] if loaded.destination else []
        loaded.run(self._arguments(SPARE), outputs, message["symbols"])
        memory.wait()
        return {}

    def _arm(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """Make everything ready for `time`, so that between the judge's two looks at its clock there is little but the calls."""
        loaded, memory = self._ready()
        shared = _some(segment)
        places = list(spread(message["outputs"], len(message["slots"]), message["stride"]))
        views = [[memory.view(shared, where) for where in items] for items in places]
        given: list[list[Any]] = [[] for _ in places]
        if loaded.destination:
            given = views if memory.shares else [[memory.poisoned(where) for where in items] for items in places]
        symbols = message["symbols"]
        inputs = [self._arguments(slot) for slot in message["slots"]]
        calls = [lambda i=i, o=o: loaded.run(i, o, symbols) for i, o in zip(inputs, given, strict=True)]
        self.armed = _Armed(shared, calls, views, given)
        return self._warm(message, None)  # clocks and caches of the device are up when `time` comes

    def _time(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        loaded, memory = self._ready()
        if self.armed is None or self.stopwatch is None:
            raise RuntimeError("nothing is ready to be timed")
        armed = self.armed
        results, clocks = self.stopwatch.take(armed.calls, message["launch"], message["cache"])
        armed.results = armed.given if loaded.destination else [_listed(result) for result in results]
        if not (loaded.destination and memory.shares):
            for outputs, views in zip(armed.results, armed.views, strict=True):
                for tensor, view in zip(outputs, views, strict=False):
                    memory.put(tensor, view)
        return clocks

    def _collect(self, message: Mapping[str, Any], segment: Segment | None) -> dict[str, Any]:
        """What the timed calls returned, of each call or once if all are alike."""
        _, memory = self._ready()
        armed, self.armed = self.armed, None
        returned = [[memory.describe(tensor) for tensor in outputs[:64]] for outputs in (armed.results if armed is not None else [])]
        if armed is not None:
            segment_of = armed.segment
            del armed
            segment_of.close()
        return {"returned": returned[:1] if all(item == returned[0] for item in returned) else returned}

    def _copy_out(self, outputs: Sequence[Any], places: Sequence[Place], segment: Segment) -> None:
        _, memory = self._ready()
        for tensor, where in zip(outputs, places, strict=False):
            about = memory.describe(tensor)
            if about["type"] == "Tensor" and about["dtype"] == where.dtype and tuple(about["shape"]) == where.shape:
                memory.store(tensor, segment, where)

    def _aliases(self, slot: int, outputs: Sequence[Any]) -> list[list[Any]]:
        """Outputs that lie in the memory of an input, or of the outputs before."""
        _, memory = self._ready()
        found: list[list[Any]] = []
        for index, tensor in enumerate(outputs[:64]):
            for what, others in (("input", self.slots[slot]), ("earlier", self.last)):
                found += [[index, what, other] for other, held in enumerate(others[:64]) if _overlap(memory, tensor, held)]
        return found

    def _ready(self) -> tuple[loaders.Loaded, Memory]:
        if self.loaded is None or self.memory is None:
            raise RuntimeError("nothing is loaded")
        return self.loaded, self.memory


def _overlap(memory: Memory, one: Any, other: Any) -> bool:
    with contextlib.suppress(Exception):  # what is no tensor has no memory
        (start, end), (first, last) = memory.extent(one), memory.extent(other)
        return max(start, first) < min(end, last)
    return False


def _listed(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return list(result)
    if isinstance(result, dict):
        return list(result.values())
    return [] if result is None else [result]


def _some(segment: Segment | None) -> Segment:
    if segment is None:
        raise RuntimeError("no memory came with the message")
    return segment


def work(channel: Channel) -> None:
    """Answer the judge's messages until it is gone."""
    faulthandler.enable()
    scratch = os.getcwd()
    mapped = Mapped()
    worker = Worker(os.environ.get("MOSAIC_CANDIDATE", jail.CANDIDATE), scratch)
    while True:
        channel.number += 1
        try:
            message, fds = channel.receive()
        except Gone:
            return
        segment = mapped.take(fds[0], keep=bool(message.get("keep"))) if fds else None
        reply = worker.answer(message, segment)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        channel.send(reply)
        if segment is not None and (worker.armed is None or worker.armed.segment is not segment):
            segment.close()
