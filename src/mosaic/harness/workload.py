"""What a candidate is judged on: shapes (given, odd, hidden), distributions of inputs, trials, initialisations, and how it is timed.

    {"format": "mosaic-workload", "version": 1,
     "cases": [{"name": "4096x1024", "set": "given", "symbols": {"M": 4096, "N": 1024}}],
     "hidden": 2, "distributions": ["normal", "zipf", "integers", "mixed"], "trials": 1, "initialisations": 2,
     "timing": {"cases": ["4096x1024"], "samples": 20, "warm_up": 3, "cache": "flushed", "launch": "plain"}}

Hidden shapes are drawn from the secret seed within the bounds that the task declares for its symbols.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

from mosaic.errors import InputError
from mosaic.harness.definition import Definition, Symbol, read_json, refuse_unknown, take
from mosaic.harness.inputs import DISTRIBUTIONS
from mosaic.harness.timed_sample import Cache

FORMAT: Final = "mosaic-workload"
DEFAULT_DISTRIBUTIONS: Final = ("normal", "zipf", "integers", "mixed", "spike")
PUBLISHED_CASE: Final = "published"
"""The one case of a task in the published form, and the name of its distribution: as its `get_inputs` draws."""

GIVEN_SIZE: Final = 256
ODD_SIZES: Final = (37, 61, 93, 131)
"""Sizes that no tile divides, for cases that nobody has chosen."""

LARGER: Final = 2.0
"""How many times the elements of the largest listed case a hidden one may have."""

SETS: Final = ("given", "odd", "hidden")


@dataclass(frozen=True)
class Case:
    """A shape. `set` says where it comes from."""

    name: str
    set: Literal["given", "odd", "hidden"]
    symbols: Mapping[str, int]


@dataclass(frozen=True)
class TimingSettings:
    """cases: names (none: the first given one). samples: rounds. warm_up: rounds before. cache: state before
    a call (None: flushed on a GPU, warm on a CPU). seconds: of a sample, about."""

    cases: tuple[str, ...] = ()
    samples: int = 20
    warm_up: int = 3
    cache: Cache | None = None
    launch: Literal["plain", "graph-replay"] = "plain"
    seconds: float | None = None

    def on(self, device: str) -> Rounds:
        """With the cache's state that is usual on a device, if none is given."""
        usual: Cache = "flushed" if device.startswith("cuda") else "warm"
        return Rounds(self.samples, self.warm_up, self.cache or usual, self.launch, self.seconds)


@dataclass(frozen=True)
class Rounds:
    """Settings of one device, see `TimingSettings`."""

    samples: int
    warm_up: int
    cache: Cache
    launch: Literal["plain", "graph-replay"]
    seconds: float | None


@dataclass(frozen=True)
class Workload:
    """See this module's docstring. `document` is what was written, or what the defaults come to."""

    cases: tuple[Case, ...]
    hidden: int = 2
    distributions: tuple[str, ...] = DEFAULT_DISTRIBUTIONS
    trials: int = 1
    initialisations: int = 2
    timing: TimingSettings = field(default_factory=TimingSettings)

    def document(self) -> dict[str, Any]:
        """As workload.json has it."""
        timing = {name: value for name, value in vars(self.timing).items() if value not in (None, ())}
        timing |= {"cases": list(self.timing.cases)} if self.timing.cases else {}
        return {
            "format": FORMAT, "version": 1, "cases": [{"name": c.name, "set": c.set, "symbols": dict(c.symbols)} for c in self.cases],
            "hidden": self.hidden, "distributions": list(self.distributions), "trials": self.trials,
            "initialisations": self.initialisations, "timing": timing,
        }  # fmt: skip


def load_workload(path: str | Path | Workload | None, definition: Definition) -> Workload:
    """The workload at a path, else workload.json in the task's folder, else the default. Raises InputError for one that makes no sense."""
    if isinstance(path, Workload):
        return path
    place = definition.root / "workload.json" if path is None else Path(path)
    if path is None and (definition.published or not place.is_file()):
        return default_workload(definition)
    if place.is_dir():
        place = place / "workload.json"
    where = f"the workload {place}"
    document = read_json(place, FORMAT, "the workload")
    refuse_unknown(document, ("format", "version", "cases", "hidden", "distributions", "trials", "initialisations", "timing"), where)
    default = default_workload(definition)
    cases = tuple(_case(item, definition, where) for item in take(document, "cases", list, where, [])) or default.cases
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise InputError(f"{where}: two cases have the same name")
    made = Workload(
        cases=cases,
        hidden=_count(document, "hidden", where, default.hidden, least=0),
        distributions=_distributions(document, definition, where, default.distributions),
        trials=_count(document, "trials", where, default.trials),
        initialisations=_count(document, "initialisations", where, default.initialisations),
        timing=_timing(take(document, "timing", dict, where, {}), names, where),
    )
    return replace(made, hidden=0) if definition.published or not definition.symbols else made


def default_workload(definition: Definition) -> Workload:
    """One given case, one odd one, two hidden ones, within the bounds of the task's symbols."""
    if definition.published:
        return Workload((Case(PUBLISHED_CASE, "given", {}),), hidden=0, distributions=(PUBLISHED_CASE,), trials=3)
    if not definition.symbols:
        return Workload((Case("fixed", "given", {}),), hidden=0)
    given = {name: _at_most(symbol, GIVEN_SIZE) for name, symbol in definition.symbols.items()}
    odd = {
        name: _at_most(symbol, min(ODD_SIZES[index % len(ODD_SIZES)], symbol.most))
        for index, (name, symbol) in enumerate(definition.symbols.items())
    }
    cases = [_checked(_named("given", given), definition, "the task's bounds")]
    if odd != given:
        cases.append(_checked(_named("odd", odd), definition, "the task's bounds"))
    return Workload(tuple(cases))


def hidden_cases(definition: Definition, workload: Workload, seed: str) -> tuple[Case, ...]:
    """The hidden shapes of a seed. None is much larger than the largest that is listed, so that it takes no longer to check."""
    if not definition.symbols:
        return ()
    most = LARGER * max(_elements(definition, case.symbols) for case in workload.cases)
    made: list[Case] = []
    for index in range(workload.hidden):
        for attempt in range(64):
            drawn = {
                name: _between(symbol, _fraction(f"{seed}/hidden/{index}/{attempt}/{name}"), shrink=attempt / 64)
                for name, symbol in definition.symbols.items()
            }
            case = _named("hidden", drawn)
            if _fits(definition, drawn) and _elements(definition, drawn) <= most and all(case.symbols != other.symbols for other in made):
                made.append(replace(case, name=f"hidden {index + 1}: {case.name}"))
                break
    return tuple(made)


def _fraction(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def _between(symbol: Symbol, fraction: float, shrink: float) -> int:
    """A size, evenly over the magnitudes; the more attempts have failed, the smaller."""
    low, high = math.log(symbol.least), math.log(symbol.most)
    size = round(math.exp(low + (high - low) * fraction * (1 - shrink)))
    return _at_most(symbol, size)


def _at_most(symbol: Symbol, size: int) -> int:
    """The largest size that is allowed and not above this one; else the smallest that is allowed."""
    largest = min(size, symbol.most) // symbol.multiple * symbol.multiple
    return largest if largest >= symbol.least else -(-symbol.least // symbol.multiple) * symbol.multiple


def _named(kind: Literal["given", "odd", "hidden"], symbols: Mapping[str, int]) -> Case:
    return Case(" ".join(f"{name}={size}" for name, size in symbols.items()), kind, dict(symbols))


def _elements(definition: Definition, symbols: Mapping[str, int]) -> int:
    return sum(math.prod(role.shape(symbols)) for role in (*definition.inputs, *definition.outputs))


def _fits(definition: Definition, symbols: Mapping[str, int]) -> bool:
    try:
        _elements(definition, symbols)
    except InputError:
        return False
    return True


def _checked(case: Case, definition: Definition, where: str) -> Case:
    for role in (*definition.inputs, *definition.outputs):
        try:
            role.shape(case.symbols)
        except InputError as error:
            raise InputError(f"{where}: case {case.name!r}: {error}") from None
    return case


def _case(item: Any, definition: Definition, where: str) -> Case:
    if not isinstance(item, dict):
        raise InputError(f"{where}: a case must be an object with name, set and symbols")
    refuse_unknown(item, ("name", "set", "symbols"), f"{where}: a case")
    symbols = take(item, "symbols", dict, where, {})
    kind = item.get("set", "given")
    if kind not in SETS:
        raise InputError(f"{where}: the set of a case is {kind!r}, not one of {', '.join(SETS)}")
    if definition.published:
        return Case(PUBLISHED_CASE, "given", {})
    if set(symbols) != set(definition.symbols):
        raise InputError(f"{where}: a case must give {', '.join(definition.symbols) or 'no symbols'}, not {', '.join(symbols) or 'none'}")
    for name, size in symbols.items():
        if not isinstance(size, int) or isinstance(size, bool) or not definition.symbols[name].allows(size):
            raise InputError(f"{where}: {name} = {size!r} is not what the task allows: {definition.symbols[name]}")
    made = _named(kind, symbols)
    return _checked(replace(made, name=str(item.get("name", made.name))), definition, where)


def _count(document: Mapping[str, Any], key: str, where: str, default: int, least: int = 1) -> int:
    value = int(take(document, key, int, where, default))
    if value < least:
        raise InputError(f"{where}: {key!r} must be at least {least}, not {value}")
    return value


def _distributions(document: Mapping[str, Any], definition: Definition, where: str, default: Iterable[str]) -> tuple[str, ...]:
    found = tuple(take(document, "distributions", list, where, list(default)))
    if definition.published:
        return (PUBLISHED_CASE,)
    for name in found:
        if name not in DISTRIBUTIONS:
            raise InputError(f"{where}: there is no distribution {name!r}; the known ones are {', '.join(DISTRIBUTIONS)}")
    if not found:
        raise InputError(f"{where}: it needs at least one distribution")
    return found


def _timing(item: Mapping[str, Any], names: list[str], where: str) -> TimingSettings:
    refuse_unknown(item, ("cases", "samples", "warm_up", "cache", "launch", "seconds"), f"{where}: timing")
    cases = tuple(take(item, "cases", list, where, []))
    if unknown := [name for name in cases if name not in names]:
        raise InputError(f"{where}: timing names the case {unknown[0]!r}, which is not listed; hidden ones are not timed")
    cache, launch = item.get("cache"), item.get("launch", "plain")
    if cache not in (None, "flushed", "warm", "persisting", "uncontrolled") or launch not in ("plain", "graph-replay"):
        raise InputError(f"{where}: timing: cache {cache!r} or launch {launch!r} is unknown")
    seconds = take(item, "seconds", (float, int), where, 0.0) or None
    return TimingSettings(
        cases, _count(item, "samples", where, 20, least=2), _count(item, "warm_up", where, 3, least=0), cache, launch, seconds
    )
