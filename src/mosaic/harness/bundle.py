"""What a packet needs to be run again from itself alone: the files of task, candidate, baseline, and the workload.

The packet's category `bundle` holds them as text, or as base64 where they are none, up to `LARGEST` bytes; `unpack` writes them out
and checks them against the packet's hashes.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.packet import Packet
from mosaic.files import write_whole
from mosaic.harness.candidate import Candidate
from mosaic.harness.definition import Definition, content_hash
from mosaic.harness.workload import Workload

LARGEST: Final = 1 << 20
"""Bytes of all files. Of what is larger the packet holds the hashes, and the ledger the contents."""


PARTS: Final = ("definition", "candidate", "baseline")
"""What the category's files are of."""


@dataclass(frozen=True)
class Unpacked:
    """A packet's files on disk, and what to judge them with."""

    definition: Path
    candidate: Path
    workload: Path
    baseline: Path | str
    seed: str
    device: str
    timing: bool


def pack(
    definition: Definition, candidate: Candidate, workload: Workload, baseline: Candidate | str, device: str, timing: bool
) -> dict[str, Any]:
    """The category. Without files if they are too large."""
    parts = {"definition": definition.files, "candidate": candidate.files}
    if isinstance(baseline, Candidate):
        parts["baseline"] = baseline.files
    entries: dict[str, Any] = {"definition": definition.reference[0] if definition.published else "definition.json"}
    for name, made in (("candidate", candidate), ("baseline", baseline)):
        if isinstance(made, Candidate):
            entries[name] = made.file if "candidate.json" not in made.files else "candidate.json"
    head: dict[str, Any] = {
        "workload": workload.document(), "entries": entries, "device": device, "timing": timing,
        "baseline": "files" if isinstance(baseline, Candidate) else baseline,
    }  # fmt: skip
    if sum(len(data) for files in parts.values() for data in files.values()) > LARGEST:
        return {**head, "files": {}}
    return {**head, "files": {name: {path: _written(data) for path, data in files.items()} for name, files in parts.items()}}


def _written(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def unpack(packet: Packet, folder: str | Path) -> Unpacked:
    """Write a packet's files into a folder. Raises InputError if it holds none, or they are not what its hashes name, or lead elsewhere."""
    bundle = (packet.__pydantic_extra__ or {}).get("bundle")
    if not isinstance(bundle, dict) or not isinstance(bundle.get("files"), dict) or not bundle["files"]:
        raise InputError("the packet holds no files to run again; get them by their hashes from the ledger that it came from")
    seed = packet.environment.seed
    if seed is None:
        raise InputError("the packet reveals no seed, so its data cannot be drawn again")
    try:
        return _unpacked(packet, bundle, Path(folder), seed.revealed)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the packet's bundle is malformed: {type(error).__name__} {error}") from None


def _unpacked(packet: Packet, bundle: dict[str, Any], home: Path, seed: str) -> Unpacked:
    files: dict[str, dict[str, bytes]] = {}
    for name, made in bundle["files"].items():
        if name not in PARTS:
            raise InputError(f"the packet's bundle holds files of {name!r}, which is none of {', '.join(PARTS)}")
        files[name] = {path: _read(value) for path, value in made.items()}
    _check(packet, files, bundle)
    for name, contents in files.items():
        for path, data in contents.items():
            target = home / name / path
            if Path(path).is_absolute() or not target.resolve().is_relative_to((home / name).resolve()):
                raise InputError(f"the packet's file {path!r} leads out of its folder")
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, data)
    write_whole(home / "workload.json", json.dumps(bundle["workload"], indent=1))
    entries = {name: _entry(home, name, str(entry), files) for name, entry in bundle["entries"].items() if name in PARTS}
    baseline: Path | str = entries["baseline"] if bundle["baseline"] == "files" else str(bundle["baseline"])
    return Unpacked(
        entries["definition"], entries["candidate"], home / "workload.json", baseline, seed, str(bundle["device"]), bool(bundle["timing"])
    )  # fmt: skip


def _entry(home: Path, name: str, file: str, files: Mapping[str, Mapping[str, bytes]]) -> Path:
    if file not in files[name]:
        raise InputError(f"the packet's {name} begins with the file {file!r}, which it doesn't hold")
    return home / name if file in ("definition.json", "candidate.json") else home / name / file


def _read(value: Any) -> bytes:
    return base64.b64decode(value["base64"], validate=True) if isinstance(value, dict) else str(value).encode()


def _check(packet: Packet, files: Mapping[str, Mapping[str, bytes]], bundle: Mapping[str, Any]) -> None:
    if packet.candidate.task_sha256 != content_hash(files["definition"]):
        raise InputError("the task's files in the packet are not those that its hash names")
    wanted = {file.path: file.sha256 for file in packet.candidate.source.files}
    if wanted != {path: digest(data) for path, data in files["candidate"].items()}:
        raise InputError("the candidate's files in the packet are not those that its hashes name")
    reference = packet.environment.baseline
    if bundle["baseline"] == "files" and reference is not None and reference.sha256 != content_hash(files["baseline"]):
        raise InputError("the baseline's files in the packet are not those that its hash names")
