"""A program lowered to a target: what `lower` returns, and how it is kept in the cache."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mosaic.stitch.convert import Cuts, replay
from mosaic.targets.cache import Entry
from mosaic.targets.emitted import Emitted
from mosaic.targets.target import Target

# Changes with anything that changes what a stored entry means or how it is made.
SCHEMA = "lowered 3"

_RECORD = "lowered.json"
_SOURCES = {"cuda": "kernel.cu", "hip": "kernel.hip"}
_BINARY = "kernel.cubin"


@dataclass(frozen=True)
class Lowered:
    """One PrimFunc, lowered.

    `params` are the names of its parameters in order. `threads` a block are what is really launched: with warp
    specialization more than the program asked for. `shared_bytes` is the dynamic shared memory of a launch. `seconds` is
    what this call took, `cached` whether its result was found. `notes` say in sentences what was done differently from
    what was asked, and what TileLang warned of. `binary` (a cubin; for the CPU a shared library) is None where it was
    not asked for or no compiler is here; it lies in the cache, which may evict it. `program` is the PrimFunc as it was
    lowered, and `pass_configs` how: what `load` needs. `conversions`: handovers between fragments whose layouts disagreed, each as
    `stitch.convert.Handed.to_dict` gives it; `cuts` says how they came into `program`.
    """

    name: str
    target: Target
    source: str
    binary: Path | None
    emitted: Emitted | None
    params: tuple[str, ...]
    threads: int
    shared_bytes: int
    kernels: int
    warp_specialized: bool
    notes: tuple[str, ...]
    seconds: float
    cached: bool
    pass_configs: Mapping[str, Any] = field(repr=False)
    program: Any = field(repr=False, compare=False)
    conversions: tuple[Mapping[str, Any], ...] = ()
    cuts: Cuts | None = field(default=None, repr=False)


def to_files(lowered: Lowered, binary: bytes | None) -> dict[str, bytes]:
    """The files of a cache entry that holds this."""
    record = {
        "name": lowered.name,
        "emitted": lowered.emitted.to_dict() if lowered.emitted else None,
        "params": lowered.params,
        "threads": lowered.threads,
        "shared_bytes": lowered.shared_bytes,
        "kernels": lowered.kernels,
        "warp_specialized": lowered.warp_specialized,
        "notes": lowered.notes,
        "pass_configs": dict(lowered.pass_configs),
        "conversions": lowered.conversions,
        "cuts": lowered.cuts.to_dict() if lowered.cuts else None,
    }
    files = {_RECORD: json.dumps(record).encode(), _SOURCES[lowered.target.kind]: lowered.source.encode()}
    return files | ({_BINARY: binary} if binary is not None else {})


def from_entry(entry: Entry, target: Target, program: Any, seconds: float, *, cached: bool) -> Lowered:
    """The inverse of `to_files`, for the program it was made from."""
    record = json.loads(entry.files[_RECORD])
    cuts = Cuts.from_dict(record["cuts"]) if record["cuts"] else None
    return Lowered(
        name=record["name"],
        target=target,
        source=entry.files[_SOURCES[target.kind]].decode(),
        binary=entry.file(_BINARY) if _BINARY in entry.files else None,
        emitted=Emitted(**record["emitted"]) if record["emitted"] else None,
        params=tuple(record["params"]),
        threads=record["threads"],
        shared_bytes=record["shared_bytes"],
        kernels=record["kernels"],
        warp_specialized=record["warp_specialized"],
        notes=tuple(record["notes"]),
        seconds=seconds,
        cached=cached,
        pass_configs=record["pass_configs"],
        program=replay(program, cuts) if cuts else program,
        conversions=tuple(record["conversions"]),
        cuts=cuts,
    )
