"""`mosaic lower`: the source that is compiled for a target, and what the compiler made of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from mosaic.cli.intended import check, read_intent
from mosaic.cli.options import Json, KernelFile, Settings, SourceName, TargetName
from mosaic.cli.output import print_json, track, working
from mosaic.cli.source import kernel_program, load_source
from mosaic.errors import GraphError, InputError
from mosaic.files import check_writable, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mosaic.cli.source import Source
    from mosaic.targets.lowered import Lowered
    from mosaic.targets.target import Target
    from mosaic.tiles.program import TileProgram

EXAMPLES = """\b
Examples:
# CUDA source of a kernel, on sizes of 128
mosaic lower gemm --target sm_90a
# compile it too, and tell what was emitted
mosaic lower gemm --target sm_90a --binary
# for this machine, with sizes and a dtype
mosaic lower gemm --set M=512,dtype=float32
# a graph, fused, as a folder of HIP files
mosaic lower model.py --target gfx942 --output hip
# is the code what it should be for the target? And by an intent of one's own
mosaic lower gemm --target sm_90a --intent auto
mosaic lower gemm --target sm_90a --intent intent.json
# one kernel of a graph, as its author wrote it
mosaic lower model.py --no-fuse --node scale
"""

SUFFIXES: Final = {"cpu": ".c", "cuda": ".cu", "hip": ".hip"}


def add_to(app: typer.Typer) -> None:
    app.command(name="lower", epilog=EXAMPLES)(lower)


def lower(
    source: SourceName,
    target: TargetName = "auto",
    output: Annotated[
        Path | None, typer.Option(help="Write the source to this file; a graph's to this folder, a file a launch.", show_default=False)
    ] = None,
    binary: Annotated[
        bool, typer.Option("--binary", help="Compile it too, if the target's compiler is here, and tell what was emitted.")
    ] = False,
    intent: Annotated[
        str | None,
        typer.Option(help="Compile it, and tell where the code is not what it should be: auto, or a file.", show_default=False),
    ] = None,
    node: Annotated[str | None, typer.Option(help="Only the launch that computes this node of the graph.", show_default=False)] = None,
    no_fuse: Annotated[bool, typer.Option("--no-fuse", help="Lower each kernel of the graph alone, as its author wrote it.")] = False,
    settings: Settings = None,
    file: KernelFile = None,
    json: Json = False,
) -> None:
    """Print the source of a kernel or a graph for a target; the graph is fused first."""
    from mosaic.targets.lower import lower as lower_program
    from mosaic.targets.target import find

    found = find(target)
    loaded = load_source(source, settings, file)
    if output is not None and loaded.is_kernel:
        check_writable(output)
    wanted = read_intent(intent)
    programs = _programs(loaded, found, node, fuse=not no_fuse)
    lowered = [lower_program(program.func, found, binary=binary or intent is not None) for program in track(programs, "lowering")]
    checked = [check(program, one, wanted) for program, one in zip(programs, lowered, strict=True)] if intent is not None else None
    if output is not None:
        _write(lowered, output, is_file=loaded.is_kernel)
    if json:
        shown = [describe(one) for one in lowered]
        print_json([one | {"intent": told.to_dict()} for one, told in zip(shown, checked, strict=True)] if checked else shown)
    elif checked is not None:
        typer.echo("\n".join(f"{summary(one)}\n{told}" for one, told in zip(lowered, checked, strict=True)))
    elif output is None:
        typer.echo("\n".join(f"{header(one)}{one.source}" for one in lowered))
    else:
        typer.echo("\n".join(summary(one) for one in lowered))


def _programs(source: Source, target: Target, node: str | None, *, fuse: bool) -> list[TileProgram]:
    from mosaic.stitch.plan import plan

    if source.is_kernel:
        if node is not None:
            raise InputError(f"{source.graph.name} is one kernel, so it has no --node")
        return [kernel_program(source)]
    with working("planning") as say:
        launches = plan(source.graph, target, fuse=fuse, progress=say).launches
    if node is None:
        return [launch.program for launch in launches]
    chosen = [launch.program for launch in launches if node in launch.nodes]
    if not chosen:
        names = ", ".join(name for launch in launches for name in launch.nodes)
        raise GraphError(f"graph {source.graph.name!r} has no kernel {node!r}; it has {names}")
    return chosen


def summary(lowered: Lowered) -> str:
    """One line: what was made and, where a compiler ran, what it emitted."""
    parts = [f"{lowered.name} for {lowered.target.name}"]
    if lowered.target.kind != "cpu":
        parts += [f"{lowered.threads} threads a block", f"{lowered.shared_bytes:,} bytes of dynamic shared memory"]
    if lowered.warp_specialized:
        parts.append("warp-specialized")
    if (emitted := lowered.emitted) is not None:
        counts = (("registers", emitted.registers), ("bytes spilled", emitted.spill_bytes))
        parts += [f"{count} {what}" for what, count in counts if count is not None]
        families = ", ".join(f"{name} {count}" for name, count in sorted(emitted.families.items()))
        parts += [f"in its {emitted.origin}: {families}"] if families else []
    return "; ".join(parts)


def header(lowered: Lowered) -> str:
    """The summary and the notes, as comments before the source."""
    return "".join(f"// {' '.join(line.split())}\n" for line in (summary(lowered), *lowered.notes))


def describe(lowered: Lowered) -> dict[str, Any]:
    """As JSON has it; `binary` is where it lies in the cache."""
    return {
        "name": lowered.name,
        "target": lowered.target.name,
        "params": list(lowered.params),
        "threads": lowered.threads,
        "shared_bytes": lowered.shared_bytes,
        "kernels": lowered.kernels,
        "warp_specialized": lowered.warp_specialized,
        "notes": list(lowered.notes),
        "emitted": lowered.emitted.to_dict() if lowered.emitted is not None else None,
        "binary": str(lowered.binary) if lowered.binary is not None else None,
        "source": lowered.source,
    }


def _write(lowered: Sequence[Lowered], output: Path, *, is_file: bool) -> None:
    """One file with its header, or a folder of them, and beside each its binary if there is one.

    Raises InputError if something cannot be written; a folder that was made for it is then removed again.
    """
    if is_file:
        _write_one(lowered[0], output)
        return
    fresh = not output.exists()
    try:
        output.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {output}: {(error.strerror or str(error)).lower()}") from error
    written: list[Path] = []
    try:
        for one in lowered:
            written += _write_one(one, output / f"{one.name}{SUFFIXES[one.target.kind]}")
    except InputError:
        if fresh:
            for path in written:
                path.unlink(missing_ok=True)
            output.rmdir()
        raise


def _write_one(lowered: Lowered, path: Path) -> list[Path]:
    write_whole(path, header(lowered) + lowered.source)
    if lowered.binary is None:
        return [path]
    beside = path.with_suffix(lowered.binary.suffix)
    write_whole(beside, lowered.binary.read_bytes())
    return [path, beside]
