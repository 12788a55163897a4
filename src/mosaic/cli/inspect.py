"""`mosaic inspect`: what was read of a kernel, before anything is done with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic.cli.load import load_module, run_user_code, shipped_kernels
from mosaic.cli.options import Json, KernelFile, Settings
from mosaic.cli.output import console, print_json, track
from mosaic.cli.source import kernel_program, kernel_source, load_source, parse_settings
from mosaic.errors import GraphError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mosaic.tiles.program import Access, TileProgram

EXAMPLES = """\b
Examples:
# a kernel that ships, on sizes of 128
mosaic inspect gemm
# with sizes and tunables
mosaic inspect gemm --set M=512,N=512,block_M=64
# every kernel of a graph, and one of them
mosaic inspect model.py
mosaic inspect model.py --node scale
# a TileLang function that nobody registered
mosaic inspect theirs.py:matmul --set M=512
"""

SOURCE_HELP = (
    "A kernel's name, a Python file that builds a graph, a saved graph (.json), minilm, or FILE.py:NAME, "
    "a PrimFunc in a file or a function that returns one for the settings."
)


def add_to(app: typer.Typer) -> None:
    app.command(name="inspect", epilog=EXAMPLES)(inspect)


def inspect(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP)],
    node: Annotated[str | None, typer.Option(help="Show only this node of the graph.", show_default=False)] = None,
    settings: Settings = None,
    file: KernelFile = None,
    json: Json = False,
) -> None:
    """Show what was read of a kernel: grid, threads, on-chip buffers, and what each block reads and writes."""
    programs = _programs(source, node, settings, file)
    if json:
        print_json([describe(program) for program in programs])
    elif len(programs) == 1:
        _print_details(programs[0])
    else:
        _print_table(source, programs)


def _programs(source: str, node: str | None, settings: list[str] | None, file: Path | None) -> list[TileProgram]:
    from mosaic.stitch.library import Library

    path, colon, name = source.rpartition(":")
    is_function = bool(colon) and path.endswith(".py")
    loaded = None if is_function else load_source(source, settings, file)
    if loaded is None or loaded.is_kernel:
        if node is not None:
            raise InputError(f"{source} is one kernel, so it has no --node")
        return [read_function(Path(path), name, settings or []) if loaded is None else kernel_program(loaded)]
    library = Library(loaded.graph)
    nodes = [found for found in loaded.graph.nodes if not found.is_view and node in (None, found.name)]
    if not nodes:
        names = ", ".join(found.name for found in loaded.graph.nodes if not found.is_view)
        raise GraphError(f"graph {loaded.graph.name!r} has no kernel {node!r}; it has {names}")
    return [library.program(found, loaded.tunables_of(found)) for found in track(nodes, "reading")]


def read_function(path: Path, name: str, settings: Sequence[str]) -> TileProgram:
    """What is read of a kernel in a file: a PrimFunc called `name`, a function that returns one for the settings, or a registered kernel.

    Raises InputError if there is none or the settings don't fit it, ReadError if it cannot be read.
    """
    from mosaic.graph.kernel import Kernel
    from mosaic.stitch.library import as_prim_func
    from mosaic.tiles.read import read

    shipped_kernels()
    found: Any = getattr(load_module(path), name, None)
    if found is None:
        raise InputError(f"{path} has nothing called {name!r}")
    given = parse_settings(settings)
    if isinstance(found, Kernel):
        return kernel_program(kernel_source(found, given))
    if callable(getattr(found, "get_tir", None)):  # made by tilelang.jit
        made = run_user_code(path, lambda: found.get_tir(**given))
    elif callable(found) and type(found).__name__ != "PrimFunc":
        made = run_user_code(path, lambda: found(**given))
    elif given:
        raise InputError(f"{path}: {name} is a PrimFunc and takes no settings")
    else:
        made = found
    return read(as_prim_func(made, name))


def describe(program: TileProgram) -> dict[str, Any]:
    """What was read, as JSON has it; bytes, and regions as text in the block's and the loops' variables."""
    return {
        "name": program.name,
        "grid": [{"axis": axis.var.name, "extent": axis.extent} for axis in program.grid],
        "threads": list(program.threads),
        "shared_bytes": program.shared_bytes,
        "fragment_bytes": program.fragment_bytes,
        "work": program.work,
        "params": [{"name": p.name, "shape": list(p.shape), "dtype": p.dtype, "mode": p.mode} for p in program.params],
        "buffers": [
            {"name": b.name, "shape": list(b.shape), "dtype": b.dtype, "scope": b.scope, "versions": b.versions, "bytes": b.bytes}
            for b in program.buffers
        ],
        "accesses": [
            {"tensor": a.tensor, "mode": a.mode, "op": a.op, "region": region(a), "loops": loops(a), "guarded": bool(a.guards)}
            for a in program.accesses
        ],
        "ops": [{"op": op.op, "reads": list(op.reads), "writes": list(op.writes), "runs": op.runs, "work": op.work} for op in program.ops],
        "features": sorted(program.features),
    }


def region(access: Access) -> str:
    """The part of the tensor that an access touches, start and extent of each dim: `[64*by : +64, 32*k : +32]`."""
    dims = zip(access.start, access.extent, strict=True)
    return "[" + ", ".join(f"{'anywhere' if start is None else repr(start)} : +{extent}" for start, extent in dims) + "]"


def loops(access: Access) -> str:
    """The loops around an access, outermost first: `k < 12 (pipelined, 2 stages)`."""

    def kind(name: str, stages: int) -> str:
        return f" ({name}, {stages} stages)" if stages else "" if name == "serial" else f" ({name})"

    return ", ".join(f"{loop.var.name} < {loop.extent}{kind(loop.kind, loop.stages)}" for loop in access.loops)


def _grid(program: TileProgram) -> str:
    return ", ".join(f"{axis.var.name} < {axis.extent}" for axis in program.grid)


def _kib(count: int) -> str:
    return f"{count / 1024:.1f} KiB"


def _print_table(source: str, programs: Sequence[TileProgram]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{len(programs)} kernels of {source}", title_justify="left")
    for column in ("node", "grid", "threads", "shared", "fragments", "tile operators", "features"):
        table.add_column(column)
    for program in programs:
        operators = ", ".join(dict.fromkeys(op.op for op in program.ops))
        sizes = (str(program.thread_count), _kib(program.shared_bytes), _kib(program.fragment_bytes))
        row = (program.name, _grid(program), *sizes, operators, ", ".join(sorted(program.features)))
        table.add_row(*(Text(cell) for cell in row))
    console().print(table)


def _print_details(program: TileProgram) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(program.name, style="bold"))
    blocks = "1 block" if program.blocks == 1 else f"{program.blocks or 'a dynamic number of'} blocks"
    out.print(Text(f"grid      {_grid(program)}: {blocks} of {program.thread_count} threads"))
    out.print(Text(f"on chip   {_kib(program.shared_bytes)} shared memory, {_kib(program.fragment_bytes)} in fragments, a block"))
    if program.features:
        out.print(Text(f"features  {', '.join(sorted(program.features))}"))

    def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        table = Table(title=title, title_justify="left")
        for column in columns:
            table.add_column(column)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        out.print(table)

    def spec(dtype: str, shape: Sequence[object]) -> str:
        return f"{dtype}[{', '.join(map(str, shape))}]"

    show("tensors", ("name", "what", "mode"), [(p.name, spec(p.dtype, p.shape), p.mode) for p in program.params])
    show("accesses to device memory", ("tensor", "mode", "operator", "region", "loops"), _access_rows(program))
    buffers = [(b.name, spec(b.dtype, b.shape), b.scope, str(b.versions), _kib(b.bytes)) for b in program.buffers]
    show("buffers on the chip", ("name", "what", "scope", "copies", "size"), buffers)
    ops = [(op.op, ", ".join(op.reads), ", ".join(op.writes), str(op.runs), f"{op.work:,}") for op in program.ops]
    show("tile operators", ("operator", "reads", "writes", "runs a block", "operations a run"), ops)


def _access_rows(program: TileProgram) -> list[tuple[str, ...]]:
    return [(a.tensor, a.mode, a.op, region(a) + (" if guarded" if a.guards else ""), loops(a)) for a in program.accesses]
