"""The files of a fusion's packet: the graph and its constants, kernels that do not ship with Mosaic, what was tuned, what was compiled.

From them alone it can be fused again. Where they are small they are in the packet itself too (category `bundle`): one JSON file is enough.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from safetensors.torch import save

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.evidence.categories import Artifact
from mosaic.graph.graph import Graph
from mosaic.graph.serialize import to_json
from mosaic.report.facts import Facts
from mosaic.report.record import record

GRAPH: Final = "graph.json"
WEIGHTS: Final = "graph.safetensors"
KERNELS: Final = "kernels/"
LAUNCHES: Final = "launches/"
TUNING: Final = "tuning.json"
INLINE: Final = 1 << 20
"""Bytes up to which the graph, its constants and kernels are in the packet itself."""

SUFFIXES: Final = {"cpu": "c", "cuda": "cu", "hip": "hip"}


@dataclass(frozen=True)
class Files:
    """Contents by name. `needed` are those without which the fusion can't be run again."""

    contents: Mapping[str, bytes]
    needed: tuple[str, ...]

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """As the packet lists them."""
        return tuple(
            Artifact(name=name, kind=_kind(name), sha256=digest(content), size=len(content)) for name, content in self.contents.items()
        )

    @property
    def bundle(self) -> dict[str, Any] | None:
        """The category `bundle`: what is needed, as text or base64; None if it is too large for that."""
        inside = {name: self.contents[name] for name in self.needed}
        if sum(map(len, inside.values())) > INLINE:
            return None
        made: dict[str, Any] = {"files": {}, "encoding": {}}
        for name, content in inside.items():
            try:
                made["files"][name] = content.decode()
            except UnicodeDecodeError:
                made["files"][name] = base64.b64encode(content).decode()
                made["encoding"][name] = "base64"
        return made


def inline(bundle: Any, what: str) -> dict[str, bytes]:
    """The contents of a packet's category `bundle` by SHA-256. Raises InputError if it is malformed."""
    try:
        encoding = bundle.get("encoding", {})
        found = [
            base64.b64decode(text, validate=True) if encoding.get(name) == "base64" else text.encode()
            for name, text in bundle["files"].items()
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{what} has a bundle that cannot be read ({type(error).__name__}); it holds files and their encoding") from None
    return {digest(content): content for content in found}


def kernels_of(graph: Graph) -> dict[str, bytes]:
    """The files of the kernels that do not ship with Mosaic, by name, in order of their names."""
    paths = {
        node.kernel.source_file
        for node in graph.nodes
        if node.kernel is not None and not node.kernel.build.__module__.startswith("mosaic.kernels.")
    }
    found: dict[str, bytes] = {}
    for path in sorted(Path(path) for path in paths if path):
        name = path.name if f"{KERNELS}{path.name}" not in found else f"{digest(str(path).encode())[:8]}_{path.name}"
        found[f"{KERNELS}{name}"] = path.read_bytes()
    return found


def weights_of(graph: Graph) -> bytes | None:
    """The graph's constants as safetensors; None if it has none, or has lost a content."""
    contents = dict(graph.constants)
    if not contents or any(content is None for content in contents.values()):
        return None
    # Constants may share storage, which safetensors refuses.
    return save({name: content.detach().cpu().contiguous().clone() for name, content in contents.items() if content is not None})


def needed_files(graph: Graph, *, weights: bool = True) -> Files:
    """What it takes to fuse a graph again. weights: whether the constants are among it; a model that ships brings its own."""
    contents: dict[str, bytes] = {GRAPH: to_json(graph).encode()}
    if weights and (constants := weights_of(graph)) is not None:
        contents[WEIGHTS] = constants
    contents |= kernels_of(graph)
    return Files(contents, tuple(contents))


def collect_files(facts: Facts, *, weights: bool = True) -> Files:
    """The files of a fusion: what it takes to make it again, what was compiled, and all that is told of it."""
    needed = needed_files(facts.fused.graph, weights=weights)
    contents = dict(needed.contents)
    for number, kernel in enumerate(facts.kernels):
        contents[launch_file(number, SUFFIXES[facts.fused.target.kind])] = kernel.lowered.source.encode()
    contents["report.json"] = canonical(record(facts))
    if facts.fused.tuning is None:
        return Files(contents, needed.needed)
    contents[TUNING] = facts.fused.tuning.to_json().encode()
    return Files(contents, (*needed.needed, TUNING))


def launch_file(number: int, suffix: str) -> str:
    """The name of a compiled kernel's source; its own name may be longer than a file's can be."""
    return f"{LAUNCHES}{number:03}.{suffix}"


def _kind(name: str) -> Any:
    if name == GRAPH:
        return "task"
    return "report" if name == "report.json" else "other" if name == WEIGHTS else "source"
