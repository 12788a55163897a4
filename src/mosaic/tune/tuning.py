"""What tuning found, as it is kept: of every launch that was tuned the recipes that were timed, and which of them was taken.

It goes into a packet, so that a replay takes the same recipes and need not measure.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from mosaic.errors import InputError
from mosaic.graph.kernel import Value
from mosaic.stitch.recipe import Choice, Recipe

FORMAT: Final = "mosaic-tuning"
VERSION: Final = 1


@dataclass(frozen=True)
class Trial:
    """A recipe that was tried. model: the cost model's seconds. samples: measured seconds of a launch; none if `failure` says why not.

    confirmed: these are of the last round, in which the fastest and the plan's own were timed once more, one after another.
    """

    recipe: Recipe
    model: float
    samples: tuple[float, ...] = ()
    failure: str = ""
    confirmed: bool = False

    @property
    def seconds(self) -> float:
        """The median; infinite if it does not run."""
        return statistics.median(self.samples) if self.samples else float("inf")


@dataclass(frozen=True)
class Tuned:
    """One launch, and the like of it: nodes by group, the trials of the plan's recipe first, and the one that was taken.

    apart: the groups are faster as launches of their own, each by the recipe that was taken.
    """

    nodes: tuple[tuple[str, ...], ...]
    trials: tuple[Trial, ...]
    taken: Recipe
    apart: bool = False

    @property
    def seconds(self) -> float:
        """What the taken recipe was timed at; of one of the groups, if they are apart."""
        return next((trial.seconds for trial in self.trials if trial.recipe == self.taken), float("inf"))


@dataclass(frozen=True)
class Tuning:
    """All launches that were tuned, on a device of that name."""

    device: str
    launches: tuple[Tuned, ...]

    def to_json(self) -> str:
        """As text; `from_json` reads it."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1, sort_keys=True)


def from_json(text: str, what: str = "the tuning") -> Tuning:
    """What `to_json` wrote. Raises InputError, naming it as `what`, if it is not of that form."""
    try:
        read: Any = json.loads(text)
        if read["format"] != FORMAT or read["version"] != VERSION:
            raise InputError(f"{what} is of format {read['format']} {read['version']}, not {FORMAT} {VERSION}; tune again")
        return Tuning(str(read["device"]), tuple(_tuned(launch) for launch in read["launches"]))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{what} is damaged ({type(error).__name__}: {error}); tune again") from None


def _tuned(read: Mapping[str, Any]) -> Tuned:
    trials = tuple(
        Trial(
            _recipe(trial["recipe"]),
            float(trial["model"]),
            tuple(map(float, trial["samples"])),
            str(trial["failure"]),
            bool(trial["confirmed"]),
        )
        for trial in read["trials"]
    )
    nodes = tuple(tuple(map(str, group)) for group in read["nodes"])
    return Tuned(nodes, trials, _recipe(read["taken"]), bool(read["apart"]))


def _recipe(read: Mapping[str, Any]) -> Recipe:
    choices = tuple(_choice(choice) for choice in read["choices"])
    return Recipe(choices, int(read["threads"]), bool(read["specialized"]), bool(read["swizzled"]), int(read["resident"]))


def _choice(read: Mapping[str, Any]) -> Choice:
    if read["scope"] not in ("shared", "register") or not set(read["policies"]) <= {"Square", "FullRow", "FullCol"}:
        raise ValueError(f"{read['scope']} or {read['policies']}")
    return Choice(_tunables(read["tunables"]), int(read["depth"]), read["scope"], tuple(map(int, read["coarse"])), tuple(read["policies"]))


def _tunables(read: Sequence[Sequence[Any]]) -> tuple[tuple[str, Value], ...]:
    return tuple((str(name), value) for name, value in read)
