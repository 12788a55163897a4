"""A candidate in its sandbox as something that can be timed: fresh data for each call, by two clocks, and its outputs kept.

What the judge's own clock says bounds what the process says of itself. The outputs of all timed calls are in the judge's memory when
that clock stops; some of them, chosen after that, are verified.
"""

from __future__ import annotations

import math
import secrets
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch

from mosaic.harness.account import Account
from mosaic.harness.oracle import Inputs, Oracle
from mosaic.harness.player import UNWRITTEN, Player
from mosaic.harness.sandbox import Broken
from mosaic.harness.seeds import Commitment
from mosaic.harness.timed_sample import Data, Launch, Sample
from mosaic.harness.wire import ALIGNMENT, Place, Segment, lay_out
from mosaic.harness.workload import Case, Rounds

MOST_BYTES: Final = {"cpu": 32 << 20, "cuda": 24 << 20}
"""Of the inputs and outputs of one sample. On a GPU each call stands between events of its own, so that a few are enough."""
MOST_CALLS: Final = 4096
"""Of one sample: the numbers of its slots still fit a message."""
POOL: Final = 4
"""Draws from which fresh data is made by shifting them, where the inputs' elements are drawn one by one."""
MANY: Final = 1 << 20
"""Elements of a case's inputs from which on they are drawn from the cheaper distribution: time does not depend on the shape of a bell."""
CHEAPER: Final = {"normal": "uniform"}
SEEN: Final = 1 << 12
"""Bytes at an output's beginning and end by which it is told from others."""
COPY_MARGIN: Final = 1.5
"""Times that copying outputs may take in a candidate's process of what it takes in the judge's."""
CHECKED: Final = 12
"""Timed calls of a case that are verified."""


class Pool:
    """Draws of one case, from which all that are timed on it get their data."""

    def __init__(self, oracle: Oracle, case: Case, distribution: str, seed: Commitment) -> None:
        elements = sum(math.prod(shape) for _, _, shape in oracle.inputs(case.symbols))
        self.distribution: Final = CHEAPER.get(distribution, distribution) if elements > MANY else distribution
        self.published: Final = oracle.definition.published
        self._oracle: Final = oracle
        self._case: Final = case
        self._seed: Final = seed
        self._drawn: list[Inputs] = []

    def draw(self, number: object) -> Inputs:
        """One draw. Raises ValueError if the distribution makes no sense for the case."""
        made = self._oracle.draw(self._case.symbols, self.distribution, self._seed.key("timed", self._case.name, number))
        if made is None:
            raise ValueError(f"the distribution {self.distribution!r} makes no sense for the case {self._case.name!r}")
        return made

    def pick(self, number: int) -> Inputs:
        """One of `POOL` draws."""
        if len(self._drawn) < POOL:
            self._drawn.append(self.draw(len(self._drawn)))
        return self._drawn[number % len(self._drawn)]


class DataSource:
    """Fresh inputs of one case, without end. A definition's inputs are independent elements: a draw that is shifted around by a secret
    number of elements is a draw of its own, and costs a copy. Tasks in the published form are drawn anew each time."""

    def __init__(self, pool: Pool, seed: Commitment) -> None:
        self._pool: Final = pool
        self._seed: Final = seed
        self._count = 0

    def take(self) -> Inputs:
        """Inputs that were not handed out before."""
        self._count += 1
        if self._pool.published:
            return self._pool.draw(self._seed.key(self._count))
        base = self._pool.pick(self._seed.number("base", self._count))
        shifted = tuple((where, _shifted(where, data, self._seed.number("shift", self._count, where.name))) for where, data in base.tensors)
        return replace(base, tensors=shifted, key=f"{base.key}+{self._count}")


def _shifted(where: Place, data: bytes, number: int) -> bytes:
    elements = math.prod(where.shape)
    cut = (number % max(elements, 1)) * (len(data) // max(elements, 1))
    view = memoryview(data)
    return b"".join((view[cut:], view[:cut]))


class SandboxedRun:
    """A `TimedRun` of a player."""

    def __init__(self, name: str, player: Player, source: DataSource, case: Case, settings: Rounds) -> None:
        self._name: Final = name
        self._player: Final = player
        self._source: Final = source
        self._case: Final = case
        self._settings: Final = settings
        self._inputs: list[Inputs] = []
        self._fresh: list[Inputs] = []
        self._spare: Inputs | None = None
        self._account: Final = Account()
        self._specs: Final = player.oracle.outputs(case.symbols)
        self._stride: Final = lay_out(self._specs)[1]
        self.kept: list[tuple[Inputs, dict[str, tuple[Place, bytes]]]] = []
        self.repeated: set[str] = set()
        self._copy_seconds: float | None = None
        self.samples = 0
        self.timed_calls = 0

    @property
    def name(self) -> str:
        return self._name

    @property
    def seconds(self) -> Mapping[str, float]:
        """What all samples took so far, by step."""
        return self._account.seconds

    def prepare(self, calls: int) -> None:
        """Fresh data for so many calls."""
        with self._account.of("draw"):
            if self._spare is None:
                self._spare = self._source.take()
            self._inputs = [self._source.take() for _ in range(max(1, min(calls, self._most())))]

    def sample(self, data: Data = "fresh") -> Sample:
        """Time the prepared calls. fresh: on their own data; repeat: all on the first's; moved: on the data of the sample before."""
        if data == "moved" and self._fresh:
            used = self._fresh
        elif data == "repeat":
            used = self._inputs[:1]
        else:
            used = self._fresh = self._inputs
        with self._account.of("load"):
            if not self.samples:
                self._player.load([self._spare or self._source.take()], "spare")
            self._player.load(used)
        calls = len(self._inputs)
        slots = [index % len(used) for index in range(calls)] if data != "moved" else list(range(len(used)))
        made, outputs = self._timed(slots)
        with self._account.of("keep"):
            self._keep([used[slot] for slot in slots], outputs)
        return made

    def _timed(self, slots: Sequence[int]) -> tuple[Sample, bytes]:
        places, stride = lay_out(self._specs)
        size = stride * len(slots)
        segment = self._player.segment("outputs", size)
        segment.fill_bytes(0, size, UNWRITTEN)
        session = self._player.session
        message = {
            "kind": "arm",
            "slots": list(slots), "stride": stride, "outputs": [where.document() for where in places],
            "symbols": dict(self._case.symbols), "keep": True,
        }  # fmt: skip
        with self._account.of("arm"):
            session.ask(message, segment)
        start = time.perf_counter()
        answer = session.ask({"kind": "time", "launch": self._settings.launch, "cache": self._settings.cache})
        outside = time.perf_counter() - start
        self._account.add("time", outside)
        with self._account.of("collect"):
            outputs = segment.memory[:size]
            self._check_form(session.ask({"kind": "collect"}))
        return _sample(answer, len(slots), outside, self._copying() * len(slots)), outputs

    def _copying(self) -> float:
        """Seconds that copying one call's outputs to where the judge sees them may take: what it takes here, and half as much again."""
        if self._copy_seconds is None:
            places, stride = lay_out(self._specs)
            if not self._player.device.startswith("cuda"):
                self._copy_seconds = COPY_MARGIN * _copy_seconds(places, stride)
            else:  # from the device, through memory that is not pinned
                self._copy_seconds = len(places) * 5e-5 + stride / 1e9
        return self._copy_seconds

    def _check_form(self, answer: dict[str, Any]) -> None:
        for described in answer.get("returned", []):
            for about, (name, dtype, shape) in zip(described, self._specs, strict=False):
                if (about.get("type"), about.get("dtype"), tuple(about.get("shape", ()))) != ("Tensor", dtype, shape):
                    raise Broken("cheat.counted_calls", f"when timed, {name!r} is another kind of output than before: {str(about)[:200]}")

    def _keep(self, inputs: Sequence[Inputs], outputs: bytes) -> None:
        """Keep one call of the sample, chosen now; and any whose outputs are those of another call with other inputs."""
        self.samples += 1
        self.timed_calls += len(inputs)
        places, stride = lay_out(self._specs)
        chosen = {secrets.randbelow(len(inputs))} if len(self.kept) < CHECKED else set()
        seen: dict[tuple[bytes, bytes], Inputs] = {}
        for index, one in enumerate(inputs):
            start, end = index * stride, (index + 1) * stride
            key = outputs[start : min(start + SEEN, end)], outputs[max(start, end - SEEN) : end]
            other = seen.setdefault(key, one)
            if other is not one and other.tensors != one.tensors and len(self.kept) < 2 * CHECKED:
                chosen.add(index)
                self.repeated.add(one.key)
        for index in sorted(chosen)[:CHECKED]:
            parts = outputs[index * stride : (index + 1) * stride]
            made = {where.name: (where, parts[where.offset : where.offset + where.bytes]) for where in places}
            self.kept.append((inputs[index], made))

    def floor(self) -> float:
        """Seconds of an empty request."""
        start = time.perf_counter()
        self._player.session.ask({"kind": "ping"})
        return time.perf_counter() - start

    def calls(self, seconds: float) -> int:
        """Doubles the calls of a sample until one takes as long, within the memory."""
        most, calls = self._most(), 1
        self.prepare(1)
        self.sample()  # what is loaded when it is first needed is not a call's time
        while True:
            self.prepare(calls)
            sample = self.sample()
            took = max(sample.device if sample.device is not None else sample.inside, 1e-7)
            if took >= seconds / 2 or calls >= most:
                return max(1, min(most, math.ceil(calls * seconds / took)))
            calls = min(most, max(2 * calls, math.ceil(calls * min(16.0, seconds / took))))

    def _most(self) -> int:
        size = self._stride + sum(where.bytes + ALIGNMENT for where, _ in (self._inputs[0].tensors if self._inputs else ()))
        if not self._inputs:
            size += sum(lay_out([spec])[1] for spec in self._player.oracle.inputs(self._case.symbols))
        least = 64 if self._player.oracle.definition.published else MOST_CALLS
        return max(1, min(least, MOST_BYTES["cuda" if self._player.device.startswith("cuda") else "cpu"] // max(size, 1)))


def _copy_seconds(places: Sequence[Place], stride: int) -> float:
    """Of copying one call's outputs in this process: the median of some, over more memory than a processor's cache holds."""
    count = max(3, min(64, (32 << 20) // stride))
    source, target = bytearray(stride * count), Segment.make(stride * count)
    taken = []
    for index in range(count):
        pairs = []
        for where in places:
            start = index * stride + where.offset
            one = torch.frombuffer(source, dtype=torch.uint8, count=max(where.bytes, 1), offset=start)
            pairs.append((torch.frombuffer(target.memory, dtype=torch.uint8, count=max(where.bytes, 1), offset=start), one))
        begin = time.perf_counter()
        for view, tensor in pairs:
            view.copy_(tensor)
        taken.append(time.perf_counter() - begin)
    del pairs, one, view, tensor
    target.close()
    return statistics.median(taken)


def _sample(answer: dict[str, Any], calls: int, raw: float, copying: float) -> Sample:
    """The clocks that the process gives. What is no number counts as nothing, and then disagrees with the judge's clock.

    raw: the judge's clock, copies of the outputs included; of these, `copying` is left out, but never more than makes it `inside`.
    """

    def number(name: str) -> float | None:
        value = answer.get(name)
        return float(value) if isinstance(value, int | float) and math.isfinite(value) and value >= 0 else None

    launch: Launch = answer["launch"] if answer.get("launch") in ("plain", "graph-replay", "call") else "call"
    threads = answer.get("threads")
    inside = min(number("inside") or 0.0, raw)
    outside = max(inside, raw - copying)
    return Sample(calls, outside, inside, number("device"), number("late"), launch, threads if isinstance(threads, int) else 1)
