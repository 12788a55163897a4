"""A candidate: files that claim to solve a task. They are read and hashed here, and run nowhere but in the sandbox.

    {"format": "mosaic-candidate", "version": 1, "name": "mine", "language": "c", "entry": "rms_norm", "file": "kernel.c",
     "style": "return", "build": {"flags": ["-O3"]}, "dtypes": ["float16", "float32"]}

in a folder as candidate.json; or a single file, whose suffix tells the language.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError
from mosaic.harness.definition import content_hash, read_files, read_json, refuse_unknown, take

FORMAT: Final = "mosaic-candidate"
LANGUAGES: Final = ("pytorch", "triton", "tilelang", "mosaic", "cuda", "c", "extension")
PYTHON: Final = ("pytorch", "triton", "tilelang", "mosaic")
SUFFIXES: Final = {".py": "pytorch", ".c": "c", ".cpp": "c", ".cc": "c", ".cu": "cuda", ".so": "extension"}

_KNOWN: Final = {
    "format", "version", "name", "language", "entry", "file", "style", "build", "dtypes", "parents", "intent", "description",
}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """What was handed in. `entry` is None where the usual names are tried; `build`: {"flags": [...], "returns": "status"|"void"}."""

    name: str
    language: str
    file: str
    files: Mapping[str, bytes]
    root: Path
    entry: str | None = None
    style: Literal["return", "destination"] = "return"
    build: Mapping[str, Any] = field(default_factory=dict)
    dtypes: tuple[str, ...] = ()
    parents: tuple[Mapping[str, Any], ...] = ()
    intent: Mapping[str, Any] | None = None

    @cached_property
    def sha256(self) -> str:
        """Of the names and contents of all its files."""
        return content_hash(self.files)

    def entries(self, task: str) -> tuple[str, ...]:
        """Names to look for, in order."""
        if self.entry is not None:
            return (self.entry,)
        return (task, "kernel", "ModelNew", "Model", "forward") if self.language in PYTHON else (task,)

    def needs_torch(self, device: str) -> bool:
        """Whether its process needs PyTorch: for a candidate in C on the CPU it starts without, in a fraction of the time."""
        return self.language in PYTHON or device != "cpu"

    @property
    def needs_mosaic(self) -> bool:
        """Whether its process sees all of Mosaic, as the libraries that it uses, and not only what talks to the judge."""
        return self.language == "mosaic"


def load_candidate(path: str | Path | Candidate) -> Candidate:
    """The candidate in a folder with candidate.json, or in a single file. Raises InputError for what is neither."""
    if isinstance(path, Candidate):
        return path
    place = Path(path)
    if place.is_dir():
        return _folder(place)
    if place.name == "candidate.json" and place.is_file():
        return _folder(place.parent)
    if not place.is_file():
        raise InputError(f"there is no candidate at {place}")
    if place.suffix not in SUFFIXES:
        raise InputError(f"a candidate is a folder with candidate.json, or a file that ends in one of {', '.join(SUFFIXES)}, not {place}")
    data = place.read_bytes()
    language = _python_language(data) if place.suffix == ".py" else SUFFIXES[place.suffix]
    return Candidate(name=place.stem[:200], language=language, file=place.name, files={place.name: data}, root=place.parent)


def _python_language(source: bytes) -> str:
    """By what it imports. A file that is no Python is still a candidate: it fails when it is imported."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "pytorch"
    names = {alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {(node.module or "").partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return next((language for language in ("mosaic", "tilelang", "triton") if language in names), "pytorch")


def _folder(folder: Path) -> Candidate:
    path = folder / "candidate.json"
    where = f"the candidate {path}"
    document = read_json(path, FORMAT, "the candidate")
    refuse_unknown(document, _KNOWN, where)
    language = take(document, "language", str, where)
    if language not in LANGUAGES:
        raise InputError(f"{where}: the language {language!r} is not one of {', '.join(LANGUAGES)}")
    files = read_files(folder, where)
    file = take(document, "file", str, where)
    if file not in files:
        raise InputError(f"{where}: there is no file {file!r} in its folder")
    style = document.get("style", "return")
    if style not in ("return", "destination"):
        raise InputError(f"{where}: style must be return or destination, not {style!r}")
    build = take(document, "build", dict, where, {})
    refuse_unknown(build, ("flags", "returns"), f"{where}: build")
    dtypes = tuple(take(document, "dtypes", list, where, []))
    if unknown := [name for name in dtypes if name not in DTYPES]:
        raise InputError(f"{where}: the dtype {unknown[0]!r} is unknown")
    return Candidate(
        name=take(document, "name", str, where, folder.resolve().name)[:200],
        language=language,
        file=file,
        files=files,
        root=folder,
        entry=take(document, "entry", str, where) if "entry" in document else None,
        style=style,
        build=build,
        dtypes=dtypes,
        parents=tuple(take(document, "parents", list, where, [])),
        intent=take(document, "intent", dict, where) if "intent" in document else None,
    )
