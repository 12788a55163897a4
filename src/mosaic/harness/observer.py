"""What the worker looks at beside running a candidate: events, decoys, operators, and outputs that change after they were returned.

Runs in the candidate's process. What it sees gives a name to a cheat; what is believed is what the judge sees of the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from mosaic.harness.instrument import Instrument
from mosaic.harness.watch import Watch
from mosaic.harness.wire import Place
from mosaic.harness.worker_memory import Memory

FILL: Final = 0xFF
"""What new memory holds in untimed runs: NaN."""


class Observer:
    """Of one candidate. traced: whether it is written in Python, so that events and operators can be seen."""

    def __init__(self, folder: str, scratch: str, *, traced: bool) -> None:
        self._told: list[list[str]] = []
        self._watch: Final = Watch(lambda cheat, message: self._told.append([cheat, message]), folder, scratch)
        self._instrument: Final = Instrument(folder) if traced else None
        self._held: list[Any] = []

    def start(self) -> None:
        """Before anything of the candidate is loaded."""
        self._watch.start()

    def observed(self) -> list[list[str]]:
        """(cheat, message) of all that was seen so far. What a decoy shows comes first: it says most."""
        self._watch.after()
        return sorted(self._told, key=lambda item: item[0] not in ("overwritten_expected", "redefined_globals"))

    def run(self, function: Callable[[], Any], places: Sequence[Place], memory: Memory, fill: int | None = FILL) -> Any:
        """The result of an untimed call, with decoys of the outputs in the caller's frame and new memory filled."""
        if self._instrument is None:
            return function()
        instrument = self._instrument
        decoys = tuple(_decoy(memory.poisoned(where), index) for index, where in enumerate(places))
        return self._watch.call(instrument.call, (function, fill), {}, decoys[0] if len(decoys) == 1 else decoys)

    def hold(self, outputs: Sequence[Any]) -> None:
        """Keep what a call returned, to look at it later."""
        self._held = list(outputs)

    @property
    def held(self) -> list[Any]:
        """What was kept."""
        return self._held

    def trace(self) -> dict[str, Any]:
        """What was dispatched so far, see `Instrument.report`."""
        return self._instrument.report() if self._instrument is not None else {}


def _decoy(tensor: Any, index: int) -> Any:
    """Numbers that nobody wants: like an answer to look at, unlike any."""
    tensor.fill_(1) if not tensor.is_floating_point() else tensor.fill_(0.8125 + index)
    flat = tensor.reshape(-1)
    if flat.numel() > 1:
        flat[0] = 0
    return tensor
