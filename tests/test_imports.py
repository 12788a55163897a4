"""The order in which Mosaic's rooms may import each other, read off the source without running it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src"

# What each room may import: those named, and what these may import in turn (of `kernels` and `models` see below).
BELOW: Final[dict[str, tuple[str, ...]]] = {
    "cli": ("report", "models"),
    "report": ("pipeline",),
    "candidates": ("pipeline",),
    "pipeline": ("tune", "harness", "kernels"),
    "tune": ("targets",),
    "targets": ("stitch", "megakernel"),
    "stitch": ("layouts",),
    "megakernel": ("layouts",),
    "layouts": ("tiles",),
    "tiles": ("graph",),
    # The harness knows the graph, which says what is true, and nothing of how it is compiled.
    "harness": ("evidence", "graph"),
    "models": ("kernels",),
    "kernels": ("graph",),
    "evidence": (),
    "graph": (),
}
# Small files of no room, which all may import, and which import only each other.
LEAVES: Final = ("dtypes", "errors", "files", "version")
# The public names, which point anywhere, and the way in.
ABOVE: Final = ("", "__main__")
# Import names whose distribution has another name: TileLang brings TVM with it.
DISTRIBUTIONS: Final = {"tvm": "tilelang", "tvm_ffi": "tilelang"}
# What only a room may use, and only inside functions, as it comes with an extra.
OPTIONAL: Final = {"demo": "models"}


@dataclass(frozen=True)
class Import:
    """One import: of `target` (a dotted module name) by the module `module`, on `line`."""

    module: str
    target: str
    line: int
    in_function: bool
    for_types: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: Final = {name_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def imports_in(module: str, text: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import statement of a module's text, wherever it stands; `from package import module` counts as of that module."""

    def visit(node: ast.AST, in_function: bool, for_types: bool) -> Iterator[Import]:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(module, alias.name, node.lineno, in_function, for_types)
            case ast.ImportFrom(module=base, names=names, level=level):
                if level:
                    parents = module.split(".")[: len(module.split(".")) - level + is_package]
                    base = ".".join([*parents, *([base] if base else [])])
                for alias in names:
                    whole = f"{base}.{alias.name}"
                    yield Import(module, whole if whole in MODULES else str(base), node.lineno, in_function, for_types)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), body=body, orelse=orelse):
                for statement in body:
                    yield from visit(statement, in_function, True)
                for statement in orelse:
                    yield from visit(statement, in_function, for_types)
                return
        inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside, for_types)

    yield from visit(ast.parse(text), False, False)


IMPORTS: Final = [
    found
    for module, path in MODULES.items()
    for found in imports_in(module, path.read_text(encoding="utf-8"), is_package=path.name == "__init__.py")
]


def room_of(module: str) -> str:
    """The part of the name after `mosaic`: a room, a leaf, or "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def may_import(room: str) -> set[str]:
    """A room's own name, the rooms below it, and the leaves."""
    allowed = {room, *LEAVES}
    for below in BELOW.get(room, ()):
        allowed |= may_import(below)
    return allowed


def violates(found: Import) -> str | None:
    """Why the import is against the order, or None."""
    source = room_of(found.module)
    if not found.target.startswith("mosaic") or source in ABOVE:
        return None
    target = room_of(found.target)
    if source not in BELOW and source not in LEAVES:
        return f"{found}, but the order has no place for the room {source!r}; give it one in BELOW"
    if target == "":
        return f"{found}: import the module that holds the name, not the package of public names"
    if target not in may_import(source):
        return f"{found}, but {source} may import only {', '.join(sorted(may_import(source) - {source}))}"
    return None


def cycle_in(imports: list[Import]) -> list[str] | None:
    """Modules that import each other in a ring, functions' imports counted, those for types only not; or None."""
    graph: dict[str, set[str]] = {}
    for found in imports:
        if found.target in MODULES and not found.for_types and found.target != found.module:
            graph.setdefault(found.module, set()).add(found.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return None


def test_the_source_is_found() -> None:
    assert "mosaic.errors" in MODULES
    assert any(found.target == "mosaic.errors" for found in IMPORTS)


def test_imports_go_one_way() -> None:
    assert [reason for found in IMPORTS if (reason := violates(found))] == []


def test_no_modules_import_each_other() -> None:
    assert cycle_in(IMPORTS) is None


def import_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", requirement)[0].lower().replace("-", "_") for requirement in requirements}


def test_what_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = import_names(project["dependencies"])
    optional = {room: import_names(project["optional-dependencies"][extra]) for extra, room in OPTIONAL.items()}
    undeclared = []
    for found in IMPORTS:
        root = found.target.partition(".")[0]
        if root in sys.stdlib_module_names or root == "mosaic" or DISTRIBUTIONS.get(root, root) in declared:
            continue
        if root in optional.get(room_of(found.module), ()) and (found.in_function or found.for_types):
            continue
        undeclared.append(str(found))
    assert undeclared == []


def test_the_command_line_answers_without_pytorch() -> None:
    script = "import sys, mosaic, mosaic.cli; print([name for name in ('torch', 'tilelang', 'numpy', 'pydantic') if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("module", "text", "wrong"),
    [
        ("mosaic.graph.graph", "from mosaic.tiles.program import TileProgram", True),
        ("mosaic.graph.graph", "def f():\n    import mosaic.cli.app", True),
        ("mosaic.graph.graph", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from mosaic.stitch import inline", True),
        ("mosaic.graph.graph", "from ..tiles import program", True),
        ("mosaic.graph.graph", "from mosaic import Graph", True),
        ("mosaic.harness.verify", "import mosaic.targets.lower", True),
        ("mosaic.kernels.gemm", "import mosaic.tiles.read", True),
        ("mosaic.cellar.wine", "import mosaic.errors", True),
        ("mosaic.errors", "import mosaic.graph.graph", True),
        ("mosaic.cli.fuse", "from mosaic.graph import graph", False),
        ("mosaic.stitch.inline", "from mosaic.tiles import program\nimport mosaic.errors", False),
        ("mosaic.graph.graph", "from .kernel import Kernel", False),
    ],
)
def test_the_order_is_really_held(module: str, text: str, wrong: bool) -> None:
    assert any(violates(found) for found in imports_in(module, text)) is wrong


def test_a_cycle_is_really_found() -> None:
    ring = [Import("mosaic.errors", "mosaic.dtypes", 1, True, False), Import("mosaic.dtypes", "mosaic.errors", 1, False, False)]
    assert set(cycle_in(ring) or ()) == {"mosaic.errors", "mosaic.dtypes"}
    assert cycle_in(ring[:1]) is None
