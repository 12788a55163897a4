"""A task: what is to be computed. A folder with definition.json and the reference's files, or one Python file in the published form.

    {"format": "mosaic-task", "version": 1, "name": "rms_norm",
     "symbols": {"M": {"min": 1, "max": 4096}, "N": {"min": 8, "max": 8192, "multiple": 8}},
     "inputs": {"x": {"shape": ["M", "N"], "dtype": "float16"}, "w": {"shape": ["N"], "dtype": "float16", "range": [0.5, 2]}},
     "outputs": {"y": {"shape": ["M", "N"], "dtype": "float16"}},
     "attributes": {"eps": 1e-5},
     "reference": {"file": "reference.py", "function": "reference"}}

The published form is a file with `Model` (a torch.nn.Module), `get_inputs()` and `get_init_inputs()`; it is judged unchanged.
Reading a task runs nothing of it: the reference is run by the oracle, in its own process.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from mosaic.dtypes import DTYPES
from mosaic.errors import InputError, KernelError
from mosaic.evidence.canonical import canonical, digest
from mosaic.graph.dims import evaluate, symbols_of

FORMAT: Final = "mosaic-task"
PUBLISHED: Final = ("Model", "get_inputs", "get_init_inputs")
"""What a file in the published form defines."""

LARGEST_FILES: Final = 64 << 20
"""Bytes of a task's or a candidate's files together."""

_KNOWN: Final = {
    "format", "version", "name", "description", "symbols", "inputs", "outputs", "attributes", "reference", "invariants", "calls",
    "constant_axes",
}  # fmt: skip


@dataclass(frozen=True)
class TensorRole:
    """An input or output. dims: numbers, symbols or whole-number expressions of them. range: of an input's values, both inclusive."""

    name: str
    dims: tuple[str, ...]
    dtype: str
    range: tuple[float, float] | None = None

    def shape(self, symbols: Mapping[str, int]) -> tuple[int, ...]:
        """The shape for these symbols. Raises InputError if it is none."""
        try:
            made = tuple(evaluate(dim, symbols) for dim in self.dims)
        except (KeyError, ZeroDivisionError) as error:
            raise InputError(f"the shape of {self.name!r} cannot be computed from {dict(symbols)}: {error}") from None
        if any(size < 1 for size in made):
            raise InputError(f"the shape of {self.name!r} would be {made} for {dict(symbols)}; every size must be at least 1")
        return made


@dataclass(frozen=True)
class Symbol:
    """A size that varies, between `least` and `most` (both inclusive), in steps of `multiple`."""

    least: int
    most: int
    multiple: int = 1

    def allows(self, value: int) -> bool:
        """Whether the size may be this."""
        return self.least <= value <= self.most and value % self.multiple == 0


@dataclass(frozen=True)
class Definition:
    """A task. `files`: their content by path in the task's folder; `reference`, `invariants`: (file, functions' names).

    Of a task in the published form, shapes and dtypes are not known before its file is run: inputs and outputs are empty.
    """

    name: str
    description: str
    symbols: Mapping[str, Symbol]
    inputs: tuple[TensorRole, ...]
    outputs: tuple[TensorRole, ...]
    attributes: Mapping[str, Any]
    reference: tuple[str, str]
    invariants: tuple[str, tuple[str, ...]] | None
    forbid: tuple[str, ...]
    allow: tuple[str, ...]
    constant_axes: Mapping[str, tuple[int, ...]]
    files: Mapping[str, bytes]
    root: Path
    published: bool = False

    @cached_property
    def sha256(self) -> str:
        """Of the names and contents of all its files: any change of the task is another task."""
        return content_hash(self.files)


def content_hash(files: Mapping[str, bytes]) -> str:
    """SHA-256 of the canonical JSON of {path: SHA-256 of its content}."""
    return digest(canonical({name: digest(data) for name, data in files.items()}))


def load_definition(path: str | Path | Definition) -> Definition:
    """The task in a folder, a definition.json, or a Python file of the published form.

    Raises InputError, in a sentence, for what is none.
    """
    if isinstance(path, Definition):
        return path
    place = Path(path)
    if place.is_dir():
        place = place / "definition.json"
        if not place.is_file():
            found = sorted(item for item in place.parent.glob("*.py") if _is_published(item))
            if len(found) == 1:
                return _published(found[0])
            raise InputError(f"{place.parent} is no task: it has neither a definition.json nor one Python file with {', '.join(PUBLISHED)}")
    if not place.is_file():
        raise InputError(f"there is no task at {place}")
    return _published(place) if place.suffix == ".py" else _written(place)


def read_json(path: Path, form: str, what: str) -> dict[str, Any]:
    """A JSON object of a format, version 1. Raises InputError for anything else."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {(error.strerror or str(error)).lower()}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("format") != form or document.get("version") != 1:
        raise InputError(f"{what} {path} must be a JSON object with format {form!r} and version 1")
    return document


def take(document: Mapping[str, Any], key: str, kind: type | tuple[type, ...], where: str, default: Any = None) -> Any:
    """A field of a kind, or the default. Raises InputError for another kind."""
    value = document.get(key, default)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"{where}: {key!r} must be a {names}, not {value!r}")
    return value


def refuse_unknown(document: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise InputError for a key that is not among the known ones."""
    allowed = set(known)
    for key in document:
        if key not in allowed:
            raise InputError(f"{where} has the unknown key {key!r}; the known ones are {', '.join(sorted(allowed))}")


def read_files(folder: Path, what: str) -> dict[str, bytes]:
    """A folder's files by their paths in it, hidden ones and caches left out. Raises InputError for links that lead out, or too much."""
    made: dict[str, bytes] = {}
    size = 0
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") or part == "__pycache__" for part in Path(name).parts) or path.is_dir():
            continue
        if not path.resolve().is_relative_to(folder.resolve()):
            raise InputError(f"{what}: {name} leads out of its folder; put the file itself there")
        size += path.stat().st_size
        if size > LARGEST_FILES:
            raise InputError(f"{what}: its files are larger than {LARGEST_FILES} bytes together; leave out what it doesn't need")
        made[name] = path.read_bytes()
    return made


def _written(path: Path) -> Definition:
    where = f"the task {path}"
    document = read_json(path, FORMAT, "the task")
    refuse_unknown(document, _KNOWN, where)
    name = take(document, "name", str, where)
    if not name.isidentifier():
        raise InputError(f"{where}: its name {name!r} must be letters, digits and underscores")
    symbols = {key: _symbol(key, value, where) for key, value in take(document, "symbols", dict, where, {}).items()}
    files = read_files(path.parent, where)
    inputs = _roles(document, "inputs", symbols, where)
    outputs = _roles(document, "outputs", symbols, where)
    if not outputs:
        raise InputError(f"{where} has no outputs")
    if clash := {role.name for role in inputs} & {role.name for role in outputs}:
        raise InputError(f"{where}: {sorted(clash)[0]!r} is both an input and an output")
    reference = take(document, "reference", dict, where, {})
    calls = take(document, "calls", dict, where, {})
    return Definition(
        name=name,
        description=take(document, "description", str, where, ""),
        symbols=symbols,
        inputs=inputs,
        outputs=outputs,
        attributes=_attributes(document, where),
        reference=(_file(reference, files, f"{where}: reference"), take(reference, "function", str, where, "reference")),
        invariants=_invariants(document, files, where),
        forbid=tuple(map(str, take(calls, "forbid", list, where, []))),
        allow=tuple(map(str, take(calls, "allow", list, where, []))),
        constant_axes={key: tuple(axes) for key, axes in take(document, "constant_axes", dict, where, {}).items()},
        files=files,
        root=path.parent,
    )


def _symbol(name: str, value: Any, where: str) -> Symbol:
    if not name.isidentifier() or not isinstance(value, dict):
        raise InputError(f"{where}: symbol {name!r} must be a name with {{'min': ..., 'max': ...}}")
    refuse_unknown(value, ("min", "max", "multiple"), f"{where}: symbol {name!r}")
    made = Symbol(take(value, "min", int, where, 1), take(value, "max", int, where), take(value, "multiple", int, where, 1))
    if made.least < 1 or made.multiple < 1 or made.most // made.multiple * made.multiple < made.least:
        raise InputError(f"{where}: symbol {name!r} allows no size between {made.least} and {made.most} in steps of {made.multiple}")
    return made


def _roles(document: Mapping[str, Any], key: str, symbols: Mapping[str, Symbol], where: str) -> tuple[TensorRole, ...]:
    made = []
    for name, value in take(document, key, dict, where, {}).items():
        place = f"{where}: {key[:-1]} {name!r}"
        if not name.isidentifier() or not isinstance(value, dict):
            raise InputError(f"{place} must be a name with {{'shape': [...], 'dtype': ...}}")
        refuse_unknown(value, ("shape", "dtype", "range"), place)
        dims = tuple(str(dim) for dim in take(value, "shape", list, place))
        dtype = take(value, "dtype", str, place)
        if dtype not in DTYPES:
            raise InputError(f"{place} has the unknown dtype {dtype!r}; the known ones are {', '.join(DTYPES)}")
        for dim in dims:
            try:
                unknown = symbols_of(dim) - set(symbols)
            except KernelError as error:
                raise InputError(f"{place}: {error}") from None
            if unknown:
                raise InputError(f"{place} needs the symbol {sorted(unknown)[0]!r}, which is not declared under symbols")
        limits = value.get("range")
        if limits is not None and (len(limits) != 2 or not limits[0] <= limits[1]):
            raise InputError(f"{place}: its range must be [lowest, highest]")
        made.append(TensorRole(name, dims, dtype, None if limits is None else (float(limits[0]), float(limits[1]))))
    return tuple(made)


def _attributes(document: Mapping[str, Any], where: str) -> dict[str, Any]:
    made = take(document, "attributes", dict, where, {})
    for name, value in made.items():
        if not name.isidentifier() or not isinstance(value, int | float | str):
            raise InputError(f"{where}: attribute {name!r} must be a number, text, true or false")
    return dict(made)


def _file(entry: Mapping[str, Any], files: Mapping[str, bytes], where: str) -> str:
    name = str(take(entry, "file", str, where, "reference.py"))
    if name not in files:
        raise InputError(f"{where}: there is no file {name!r} in the task's folder")
    return name


def _invariants(document: Mapping[str, Any], files: Mapping[str, bytes], where: str) -> tuple[str, tuple[str, ...]] | None:
    if "invariants" not in document:
        return None
    entry = take(document, "invariants", dict, where)
    return _file(entry, files, f"{where}: invariants"), tuple(map(str, take(entry, "functions", list, where)))


# The published form


def _is_published(path: Path) -> bool:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return False
    names = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    names |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}
    return names >= set(PUBLISHED)


def _published(path: Path) -> Definition:
    if not _is_published(path):
        raise InputError(f"{path} is no task in the published form: it must be Python that defines {', '.join(PUBLISHED)}")
    name = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    return Definition(
        name=name if name.isidentifier() else f"task_{name}", description="", symbols={}, inputs=(), outputs=(), attributes={},
        reference=(path.name, "Model"), invariants=None, forbid=(), allow=(), constant_axes={}, files={path.name: path.read_bytes()},
        root=path.parent, published=True,
    )  # fmt: skip
