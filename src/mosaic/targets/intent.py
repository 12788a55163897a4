"""Intent against what was emitted: what a binary should hold, what it holds, and why the two may differ.

    intent = from_json(Path("intent.json").read_text())
    for diagnosis in compare(intent, lowered.emitted):
        print(diagnosis)

    {"format": "mosaic-intent", "version": 1, "target": "sm_90a",
     "require": ["tma", {"any": ["wgmma"], "why": "the product of each block"}],
     "forbid": ["local-memory"], "limits": {"registers": 168, "spill_bytes": 0}}

Names are the groups below, families as `emitted` and `amdgpu` call them (HGMMA, ds_read), or beginnings of such (mfma_f32_16x16x16*).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

from mosaic.errors import InputError
from mosaic.targets.causes import likely_causes
from mosaic.targets.emitted import Emitted

FORMAT: Final = "mosaic-intent"
VERSION: Final = 1

_MMA: Final = ("HMMA", "IMMA", "QMMA", "OMMA", "DMMA", "BMMA")
_WGMMA: Final = ("HGMMA", "IGMMA", "QGMMA", "BGMMA")
_TCGEN05: Final = ("UTCHMMA", "UTCQMMA", "UTCIMMA", "UTCOMMA")
_MFMA: Final = ("mfma*", "smfmac*")
_TMA: Final = ("UTMALDG", "UBLKCP")

GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "mma": _MMA,
        "wgmma": _WGMMA,
        "tcgen05": _TCGEN05,
        "mfma": _MFMA,
        "wmma": ("wmma*", "swmmac*"),
        "matrix": (*_MMA, *_WGMMA, *_TCGEN05, *_MFMA, "wmma*", "swmmac*"),
        "tma": _TMA,
        "tma-store": ("UTMASTG", "UTMAREDG", "UBLKCP"),
        "cp.async": ("LDGSTS",),
        "load-lds": ("load_lds",),
        "async-copy": (*_TMA, "LDGSTS", "load_lds"),
        "ldmatrix": ("LDSM",),
        "stmatrix": ("STSM",),
        "mbarrier": ("SYNCS",),
        "tensor-memory": ("LDTM", "STTM", "UTCCP"),
        "shuffle": ("SHFL", "REDUX", "cross_lane"),
        "local-memory": ("LDL", "STL", "scratch_load", "scratch_store"),
        "register-moves": ("accvgpr",),
        "atomic": ("ATOM", "RED", "atomic"),
    }
)
"""Families that do the same, under one name."""

LIMITS: Final = ("registers", "spill_bytes", "stack_bytes", "shared_bytes")
_UNITS: Final = {
    "registers": "registers a thread",
    "spill_bytes": "bytes of spilled registers a thread",
    "stack_bytes": "bytes of stack a thread",
    "shared_bytes": "bytes of shared memory a block",
}


@dataclass(frozen=True)
class Requirement:
    """Instructions of one of these groups or families, in at least so many places of the code. `why` says what for."""

    any: tuple[str, ...]
    why: str = ""
    at_least: int = 1


@dataclass(frozen=True)
class Intent:
    """What should be in the code for a target. `limits` are by the fields of `Emitted` that they bound."""

    target: str
    require: tuple[Requirement, ...] = ()
    forbid: tuple[str, ...] = ()
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Diagnosis:
    """One thing that is not as intended: what is missing, there though forbidden, or too much; and what it may come from."""

    kind: Literal["missing", "forbidden", "limit"]
    what: str
    message: str
    causes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.message}. Likely: {'; or '.join(self.causes)}." if self.causes else f"{self.message}."

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"kind": self.kind, "what": self.what, "message": self.message, "causes": list(self.causes)}


def compare(intent: Intent, emitted: Emitted) -> tuple[Diagnosis, ...]:
    """A diagnosis for each mismatch; none if the code is what it should be, as far as it tells (see `untold`)."""
    missing = [found for requirement in intent.require if (found := _missing(requirement, emitted, intent.target)) is not None]
    forbidden = [found for name in intent.forbid if (found := _forbidden(name, emitted, intent.target)) is not None]
    limits = [found for name, most in intent.limits.items() if (found := _limit(name, most, emitted, intent.target)) is not None]
    return (*missing, *forbidden, *limits)


def untold(intent: Intent, emitted: Emitted) -> tuple[str, ...]:
    """Limits of which what was read tells nothing, such as the registers of PTX."""
    return tuple(name for name in intent.limits if getattr(emitted, name) is None)


def places(name: str, emitted: Emitted) -> int:
    """In how many places of the code instructions of a group or family are."""
    patterns = GROUPS.get(name, (name,))
    return sum(count for family, count in emitted.families.items() if any(_matches(family, pattern) for pattern in patterns))


def from_json(text: str | bytes, what: str = "the intent") -> Intent:
    """Read an intent. Raises InputError, in a sentence that begins with `what`, for what is no intent."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InputError(f"{what} is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise InputError(f"{what} is no object; see mosaic.targets.intent for its form")
    if unknown := sorted(set(document) - {"format", "version", "target", "require", "forbid", "limits"}):
        raise InputError(f"{what} has the field {unknown[0]!r}, which is not known")
    if (document.get("format"), document.get("version")) != (FORMAT, VERSION):
        raise InputError(f'{what} must have "format": "{FORMAT}" and "version": {VERSION}')
    if not isinstance(document.get("target"), str):
        raise InputError(f"{what} names no target, such as sm_90a")
    limits, forbid = document.get("limits", {}), document.get("forbid", [])
    if not isinstance(limits, dict) or not all(name in LIMITS and _is_count(most) for name, most in limits.items()):
        raise InputError(f"{what} has limits that are not whole numbers of {', '.join(LIMITS)}")
    if not _are_names(forbid) or not isinstance(document.get("require", []), list):
        raise InputError(f"{what} has a list of requirements or of what is forbidden that is no list of names")
    return Intent(document["target"], tuple(_requirement(one, what) for one in document.get("require", [])), tuple(forbid), limits)


def to_json(intent: Intent) -> str:
    """The inverse of `from_json`."""
    return json.dumps(to_dict(intent), indent=1) + "\n"


def to_dict(intent: Intent) -> dict[str, Any]:
    """What `to_json` writes."""
    require = [{"any": list(one.any), "why": one.why, "at_least": one.at_least} for one in intent.require]
    return {
        "format": FORMAT,
        "version": VERSION,
        "target": intent.target,
        "require": require,
        "forbid": list(intent.forbid),
        "limits": dict(intent.limits),
    }


def _requirement(one: object, what: str) -> Requirement:
    if isinstance(one, str):
        return Requirement((one,))
    if isinstance(one, dict) and set(one) <= {"any", "why", "at_least"}:
        names, why, count = one.get("any"), one.get("why", ""), one.get("at_least", 1)
        if _are_names(names) and names and isinstance(why, str) and _is_count(count):
            return Requirement(tuple(names), why, count)
    raise InputError(f'{what} has a requirement that is neither a name nor an object of "any", "why" and "at_least"')


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _matches(family: str, pattern: str) -> bool:
    return family.startswith(pattern[:-1]) if pattern.endswith("*") else family == pattern


def _missing(requirement: Requirement, emitted: Emitted, target: str) -> Diagnosis | None:
    found = sum(places(name, emitted) for name in requirement.any)
    if found >= requirement.at_least:
        return None
    wanted = " or ".join(requirement.any)
    count = "no" if found == 0 else f"only {found} of {requirement.at_least} places with"
    purpose = f" for {requirement.why}" if requirement.why else ""
    causes = likely_causes(f"missing {requirement.any[0]}", emitted.families, target)
    return Diagnosis("missing", wanted, f"{count} {wanted}{purpose} in the {_text(emitted)}", causes)


def _forbidden(name: str, emitted: Emitted, target: str) -> Diagnosis | None:
    found = places(name, emitted)
    if found == 0:
        return None
    causes = likely_causes(f"forbidden {name}", emitted.families, target)
    return Diagnosis("forbidden", name, f"{name} in {found} places of the {_text(emitted)}, where there should be none", causes)


def _limit(name: str, most: int, emitted: Emitted, target: str) -> Diagnosis | None:
    found: int | None = getattr(emitted, name)
    if found is None or found <= most:
        return None
    causes = likely_causes(f"limit {name}", emitted.families, target)
    return Diagnosis("limit", name, f"{found:,} {_UNITS[name]}, where {most:,} are allowed", causes)


def _text(emitted: Emitted) -> str:
    return {"sass": "machine code", "isa": "machine code", "ptx": "PTX", "source": "source"}[emitted.origin]
