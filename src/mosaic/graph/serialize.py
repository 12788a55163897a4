"""Graphs as JSON, and as a JSON file with the constants' contents in a safetensors file beside it.

The JSON names kernels and carries the digests of their registrations and of the constants'
contents; it holds neither code nor weights.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import safetensors
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors.torch import save_file

from mosaic.errors import GraphError, InputError, MosaicError
from mosaic.files import check_writable
from mosaic.graph.digests import constant_digest, kernel_digests
from mosaic.graph.graph import Graph, Node, Tensor
from mosaic.graph.kernel import Spec, Value, find

FORMAT: Final = "mosaic-graph"
VERSION: Final = 1

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class KernelChangedWarning(UserWarning):
    """A kernel's registration is not what it was when the graph was written."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class _NotFinite(_Record):
    """A number that JSON cannot hold."""

    number: Literal["inf", "-inf", "nan"]


class _Free(_Record):
    """An input, or what a node makes."""

    kind: Literal["input", "intermediate"]
    name: str
    shape: tuple[int, ...]
    dtype: str


class _Constant(_Record):
    kind: Literal["constant"] = "constant"
    name: str
    shape: tuple[int, ...]
    dtype: str
    sha256: Digest


class _KernelNode(_Record):
    kind: Literal["kernel"] = "kernel"
    name: str
    kernel: str
    sha256: Digest
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, bool | int | float | str | _NotFinite]


class _ViewNode(_Record):
    kind: Literal["view"] = "view"
    name: str
    inputs: tuple[str]
    outputs: tuple[str]


class _Document(_Record):
    format: Literal["mosaic-graph"] = FORMAT
    version: Literal[1] = VERSION
    name: str
    tensors: tuple[Annotated[_Free | _Constant, Field(discriminator="kind")], ...]
    nodes: tuple[Annotated[_KernelNode | _ViewNode, Field(discriminator="kind")], ...]
    outputs: tuple[str, ...]


class _Header(BaseModel):
    """What every version of the format has; read first, so that another version is told from damage."""

    format: Any = None
    version: Any = None


def to_json(graph: Graph) -> str:
    """The graph's structure as JSON; constants by digest, nodes in topological order.

    Raises GraphError if the graph is not valid.
    """
    graph.validate()
    tensors: list[_Free | _Constant] = []
    for tensor in graph.tensors.values():
        if tensor.kind == "constant":
            digest = graph.constant_digest(tensor.name)
            tensors.append(_Constant(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, sha256=digest))
        else:
            tensors.append(_Free(kind=tensor.kind, name=tensor.name, shape=tensor.shape, dtype=tensor.dtype))
    digests = kernel_digests(graph)
    nodes = tuple(_node_record(node, digests.get(node.name, "")) for node in graph.nodes)
    document = _Document(name=graph.name, tensors=tuple(tensors), nodes=nodes, outputs=graph.outputs)
    try:
        return document.model_dump_json(indent=1) + "\n"
    except ValueError as error:  # a lone surrogate in an attribute
        raise GraphError(f"graph {graph.name!r} cannot be written as JSON: {_reason(error)}") from error


def from_json(text: str | bytes) -> Graph:
    """The graph that `to_json` wrote; its constants have no content.

    Warns (KernelChangedWarning) of each kernel whose registration has changed since.
    Raises InputError if `text` is truncated, malformed or of another version, KernelError for an
    unknown kernel or attribute, GraphError if the graph makes no sense.
    """
    return _assemble(_parse(text), {})


def save(graph: Graph, path: str | os.PathLike[str]) -> None:
    """Write the graph to `path`, and its constants, if any, beside it as `.safetensors` with the same stem.

    Both files are complete before either takes its name; what was there before stays if that fails.
    Raises InputError if they cannot be written, GraphError if the graph is not valid or has lost its constants' contents.
    """
    target = Path(path)
    weights = _weights_path(target)
    text = to_json(graph)
    contents = {}
    for name, content in graph.constants.items():
        if content is None:
            raise GraphError(f"graph {graph.name!r}: the content of constant {name!r} was never loaded, so it cannot be saved")
        contents[name] = content
    if "__metadata__" in contents:
        raise GraphError("safetensors files cannot hold a constant called '__metadata__'; give it another name")
    writers: dict[Path, Callable[[Path], object]] = {}
    if contents:
        writers[weights] = lambda file: save_file(_apart(contents), file, metadata={"format": "pt"})
    writers[target] = lambda file: file.write_text(text, encoding="utf-8")
    try:
        _write_together(writers)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"cannot write the graph to {target}: {_reason(error)}") from error


def load(path: str | os.PathLike[str], *, weights: bool = True) -> Graph:
    """The graph that `save` wrote; with `weights` False its constants have no content, and their file need not be there.

    Raises what `from_json` does, naming the file, and InputError for a file that cannot be read or a
    constant that is missing or whose content has another digest.
    """
    source = Path(path)
    beside = _weights_path(source)
    try:
        text = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read the graph {source}: {_reason(error)}") from error
    try:
        document = _parse(text)
        constants = [record for record in document.tensors if isinstance(record, _Constant)]
        graph = _assemble(document, _read_weights(beside, constants) if weights and constants else {})
    except MosaicError as error:
        raise type(error)(f"{source}: {error}") from error
    return graph


def _node_record(node: Node, digest: str) -> _KernelNode | _ViewNode:
    if node.kernel is None:
        return _ViewNode(name=node.name, inputs=(node.inputs[0],), outputs=(node.outputs[0],))
    attributes: dict[str, bool | int | float | str | _NotFinite] = {}
    for key, value in node.attributes.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        attributes[key] = value if finite else _NotFinite.model_validate({"number": str(value)})
    return _KernelNode(
        name=node.name,
        kernel=node.kernel.name,
        sha256=digest,
        inputs=node.inputs,
        outputs=node.outputs,
        attributes=attributes,
    )


def _parse(text: str | bytes) -> _Document:
    try:
        header = _Header.model_validate_json(text)
        if header.format != FORMAT:
            raise InputError(f'this is no graph: its "format" is {header.format!r}, not {FORMAT!r}')
        if header.version != VERSION:
            raise InputError(f"the graph has version {header.version!r} of the format, but this Mosaic reads version {VERSION}")
        return _Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        if first["type"] == "json_invalid":
            raise InputError(f"the graph is truncated or no JSON: {first['msg']}") from None
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise InputError(f"the graph is malformed at {place}: {first['msg']}") from None


def _assemble(document: _Document, contents: Mapping[str, torch.Tensor]) -> Graph:
    tensors, constants, digests = [], {}, {}
    for record in document.tensors:
        tensors.append(Tensor(record.name, Spec(record.shape, record.dtype), record.kind))
        if isinstance(record, _Constant):
            constants[record.name] = contents.get(record.name)
            digests[record.name] = record.sha256
    nodes = []
    current: dict[str, str] = {}
    for node in document.nodes:
        if isinstance(node, _ViewNode):
            nodes.append(Node(node.name, None, node.inputs, node.outputs))
            continue
        kernel = find(node.kernel)
        if node.kernel not in current:
            current[node.kernel] = kernel.digest()
            if current[node.kernel] != node.sha256:
                message = f"kernel {node.kernel!r} has changed since graph {document.name!r} was written; its results may differ"
                warnings.warn(message, KernelChangedWarning, stacklevel=3)
        attributes: dict[str, Value] = {
            key: float(value.number) if isinstance(value, _NotFinite) else value for key, value in node.attributes.items()
        }
        nodes.append(Node(node.name, kernel, node.inputs, node.outputs, attributes))
    return Graph.from_parts(document.name, tensors, nodes, document.outputs, constants, digests)


def _weights_path(path: Path) -> Path:
    if path.suffix == ".safetensors" or not path.name:
        raise InputError(f"{str(path)!r} is no name for a graph's file; take one that ends in .json")
    return path.with_suffix(".safetensors")


def _apart(contents: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`contents` with no two sharing storage, which safetensors refuses: tied or sliced weights are copied."""
    seen: set[int] = set()
    result = {}
    for name, tensor in contents.items():
        storage = tensor.untyped_storage()
        alone = storage.data_ptr() not in seen and storage.nbytes() == tensor.nbytes
        seen.add(storage.data_ptr())
        result[name] = tensor if alone else tensor.clone()
    return result


def _write_together(writers: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write all files under temporary names beside their own, then rename them; if either fails, all is as it was."""
    for path in writers:
        check_writable(path)
    temporary = {path: _beside(path) for path in writers}
    backups = {path: _beside(path) for path in writers if path.exists()}
    try:
        for path, write in writers.items():
            temporary[path].touch()
            mode = temporary[path].stat().st_mode
            write(temporary[path])
            temporary[path].chmod(mode)  # safetensors makes files that only their owner may read
        for path, backup in backups.items():
            with contextlib.suppress(OSError):  # where there are no hard links we go on without
                os.link(path, backup)
        try:
            for path in writers:
                os.replace(temporary[path], path)
        except BaseException:
            for path in writers:
                if path not in backups:
                    path.unlink(missing_ok=True)
                elif backups[path].exists():
                    backups[path].replace(path)
            raise
    finally:
        for file in (*temporary.values(), *backups.values()):
            file.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}")


def _read_weights(path: Path, constants: list[_Constant]) -> dict[str, torch.Tensor]:
    contents = {}
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            if unknown := sorted(set(file.keys()) - {record.name for record in constants}):
                raise InputError(f"its weights {path} hold {unknown[0]!r}, which the graph does not know")
            present = set(file.keys())
            for record in constants:
                if record.name not in present:
                    raise InputError(f"its weights {path} lack the constant {record.name!r}")
                contents[record.name] = file.get_tensor(record.name)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"its weights {path} cannot be read: {_reason(error)}") from error
    for record in constants:
        if constant_digest(contents[record.name]) != record.sha256:
            raise InputError(f"its weights {path} hold another {record.name!r} than the graph was written with")
    return contents


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error).partition("\n")[0] or type(error).__name__
