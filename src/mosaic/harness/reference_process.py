"""The oracle's process: draws inputs, runs the task's reference in float64, and says how far an honest result may be from it.

It runs the task author's code, and none of a candidate's. Tensors go out as bytes in memory that it makes itself.

    open        the task's files, its definition                       -> inputs and outputs of a task in the published form
    initialise  a key                                                  -> constructor's arguments and parameters
    draw        case, distribution, key; what is wanted                -> inputs, or why there are none; bounds of the outputs
    bound       inputs that the judge made                             -> bounds of the outputs
    check       the same, and a candidate's outputs                    -> what the task's invariants say against them
    work        a case                                                 -> operations and bytes that cannot be avoided
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
from collections.abc import Mapping
from typing import Any, Final

import torch

from mosaic.errors import MosaicError
from mosaic.harness.bound import Bound
from mosaic.harness.published import PublishedTask
from mosaic.harness.task import Drawn, Task, WrittenTask
from mosaic.harness.wire import Channel, Gone, Segment, lay_out, place
from mosaic.harness.work import work_of

THREADS: Final = 16
"""Of the reference's PyTorch, at most."""


ENOUGH: Final = 8
"""Processors from which on one is free for what may be needed later."""

KEPT: Final = 2
"""Draws that are kept, as the next requests are often about one of them."""


class Answerer:
    """The task that was opened."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._drawn: dict[str, Drawn] = {}

    def answer(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        """What a message asks for; errors of the task as a sentence."""
        try:
            made: tuple[dict[str, Any], Segment | None] = getattr(self, f"_{message['kind']}")(message, given)
        except MosaicError as error:
            return {"error": str(error)}, None
        except Exception as error:  # the author's code may raise anything
            return {"error": f"the task's own code failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}"[:2000]}, None
        return made

    @property
    def task(self) -> Task:
        if self._task is None:
            raise MosaicError("no task is open")
        return self._task

    def _open(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        if message.get("threads"):
            torch.set_num_threads(int(message["threads"]))
        kind = PublishedTask if message["published"] else WrittenTask
        self._task = kind(message["folder"], message["definition"])
        return self._task.about(), None

    def _initialise(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        made = self.task.initialise(message["key"])
        segment, places = _packed(made.tensors)
        return {"seed": made.seed, "arguments": made.arguments, "tensors": places, "stateful": made.stateful}, segment

    def _draw(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        drawn = self._redrawn(message)
        head: dict[str, Any] = {"note": drawn.note, "exponent": drawn.exponent, "constants": drawn.constants}
        if drawn.tensors is None:
            return {**head, "none": True}, None
        tensors = dict(drawn.tensors)
        names = list(tensors)
        if message["bounds"]:
            bounds = self.task.bounds(message["symbols"], drawn)
            tensors |= _of_bounds(bounds)
            explain = message.get("explain", True)
            head["bounds"] = [
                [name, bound.dtype, bool(bound.choices and bound.choices.distinct), bound.explanation[:1500] if explain else ""]
                for name, bound in bounds.items()
            ]
        segment, places = _packed(tensors)
        return {**head, "inputs": len(names), "tensors": places}, segment

    def _bound(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        """Bounds for inputs that the judge made itself."""
        drawn = Drawn({where.name: _tensor(given, where) for where in map(place, message["tensors"])}, constants=message["constants"])
        bounds = self.task.bounds(message["symbols"], drawn)
        segment, places = _packed(_of_bounds(bounds))
        head = [[name, bound.dtype, bool(bound.choices and bound.choices.distinct), ""] for name, bound in bounds.items()]
        return {"bounds": head, "tensors": places}, segment

    def _check(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        drawn = self._redrawn(message)
        outputs = {where.name: _tensor(given, where) for where in map(place, message["outputs"])}
        return {"broken": self.task.broken_invariants(drawn, outputs)}, None

    def _work(self, message: Mapping[str, Any], given: Segment | None) -> tuple[dict[str, Any], Segment | None]:
        return {"work": self.task.work(message["symbols"], self._redrawn(message))}, None

    def _redrawn(self, message: Mapping[str, Any]) -> Drawn:
        asked = {name: message.get(name) for name in ("symbols", "distribution", "key", "exponent")}
        if (found := self._drawn.get(_name(asked))) is not None:
            return found
        made = self.task.draw(message["symbols"], message["distribution"], message["key"], message.get("exponent"))
        self._drawn[_name({**asked, "exponent": made.exponent})] = made  # as whoever asks again will call it
        while len(self._drawn) > KEPT:
            del self._drawn[next(iter(self._drawn))]
        return made


def _name(asked: Mapping[str, Any]) -> str:
    return json.dumps(asked, sort_keys=True)


def _of_bounds(bounds: Mapping[str, Bound]) -> dict[str, torch.Tensor]:
    made: dict[str, torch.Tensor] = {}
    for name, bound in bounds.items():
        made[f"value:{name}"] = bound.value
        made[f"error:{name}"] = bound.error
        if bound.choices is not None:
            made[f"choices:{name}"] = bound.choices.allowed
    return made


def _packed(tensors: Mapping[str, torch.Tensor]) -> tuple[Segment | None, list[Any]]:
    """The tensors' bytes in new memory, and their places."""
    plain = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    places, size = lay_out((name, str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in plain.items())
    if not places:
        return None, []
    segment = Segment.make(size)
    for where, tensor in zip(places, plain.values(), strict=True):
        if where.bytes:
            torch.frombuffer(segment.memory, dtype=torch.uint8, count=where.bytes, offset=where.offset).copy_(
                tensor.reshape(-1).view(torch.uint8)
            )
    return segment, [where.document() for where in places]


def _tensor(segment: Segment | None, where: Any) -> torch.Tensor:
    if segment is None:
        raise MosaicError("no outputs came with the message")
    made = torch.frombuffer(bytearray(segment.read(where)), dtype=torch.uint8) if where.bytes else torch.empty(0, dtype=torch.uint8)
    return made.view(getattr(torch, where.dtype)).reshape(where.shape)


def prepare() -> None:
    """Let PyTorch import what counting work needs, once for all tasks: it takes a second. Not where few processors
    have other things to do."""
    if (os.cpu_count() or 1) >= ENOUGH:
        with contextlib.suppress(Exception):  # it is imported later then
            work_of(lambda x: x.square().mean(-1), (torch.empty(2, 2),))  # no thread may be started before the fork


def _keep_memory() -> None:
    """Let freed memory stay with this process: large tensors come and go by the dozen, and asking the kernel for each one anew, and
    for each of its pages, takes longer than the arithmetic. Settings of glibc's allocator (mallopt(3)); another one is left as it is."""
    no_mappings, trim_above, grow_by = -4, -1, -2
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for setting, value in ((no_mappings, 0), (trim_above, 2**31 - 1), (grow_by, 64 << 20)):
            mallopt(setting, value)


def work(channel: Channel) -> None:
    """Answer the judge until it is gone."""
    _keep_memory()
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    answerer = Answerer()
    while True:
        channel.number += 1
        try:
            message, fds = channel.receive()
        except Gone:
            return
        given = Segment(fds[0], os.fstat(fds[0]).st_size) if fds else None
        reply, segment = answerer.answer(message, given)
        channel.send(reply, [segment.fd] if segment is not None else [])
        for one in (given, segment):
            if one is not None:
                one.close()
