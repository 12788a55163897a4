"""`mosaic replay`: run again what a packet records, from the packet alone, and say whether it comes out the same."""

from __future__ import annotations

import contextlib
import shlex
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic.cli.fused_packet import Keeper
from mosaic.cli.keeping import Kept, LedgerFile, PacketFile, PacketName, check_places, find_packet
from mosaic.cli.options import MODEL, MODEL_SETTINGS, Json
from mosaic.cli.output import console, print_json
from mosaic.cli.phases import Phases
from mosaic.errors import InputError, MosaicError

if TYPE_CHECKING:
    from mosaic.evidence.collection import Found
    from mosaic.graph.graph import Graph
    from mosaic.harness.timing import Paired
    from mosaic.pipeline import Fused
    from mosaic.report.replay import Part

EXAMPLES = """\b
Examples:
# from a file that somebody sent
mosaic replay model.zip
# from your own ledger
mosaic replay 3f91a04c
# is it right? (anywhere, in less time)
mosaic replay model.zip --no-timing
# it brings kernels of its own: Python that you have read
mosaic replay model.zip --trust
# with the packet of the replay
mosaic replay model.zip --packet again.zip --json

Exit codes: 0 reproduced, 1 not reproduced, 2 a packet that is damaged or can't be replayed.
"""

NOT_REPRODUCED = 1


def add_to(app: typer.Typer) -> None:
    app.command(name="replay", epilog=EXAMPLES)(replay)


def replay(
    name: PacketName,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Only whether it is right; leave out the times.")] = False,
    rounds: Annotated[int, typer.Option(min=2, help="Paired runs of a fusion's timing.")] = 11,
    trust: Annotated[
        bool, typer.Option("--trust", help="Load kernels that a fusion's packet brings: its Python runs in this process, not in a sandbox.")
    ] = False,
    packet: PacketFile = None,
    ledger: LedgerFile = None,
    json: Json = False,
) -> None:
    """Run again what a packet records: correctness anywhere, times only on a device of the same kind."""
    from mosaic.report.fusion_replay import is_fusion
    from mosaic.report.replay import claims, is_reproduced

    check_places(packet, ledger)
    found = find_packet(name)
    claims(found.packet, found.place)
    phases = Phases()
    with phases.shown():
        if is_fusion(found.packet):
            parts, kept = _fusion(found, phases, packet, ledger, rounds=0 if no_timing else rounds, trust=trust)
        elif not isinstance(found.packet.__pydantic_extra__.get("bundle"), dict):
            command = shlex.join(found.packet.environment.replay.command)
            raise InputError(f"{found.place} does not hold what it takes to run it again here; it says how: {command}{_where(found)}")
        else:
            from mosaic.cli.judged import replay_judged

            parts, kept = replay_judged(found, phases, packet, ledger, timing=not no_timing)
    same = is_reproduced(parts)
    if json:
        shown = {"reproduced": same, "parts": [asdict(part) for part in parts], "packet": kept.to_dict() if kept is not None else None}
        print_json({"of": found.place, **shown, "seconds": phases.seconds})
    else:
        _show(parts, found, kept, phases, same=same)
    if not same:
        raise typer.Exit(NOT_REPRODUCED)


def _where(found: Found) -> str:
    """The revision at which a packet's own command is to be run."""
    revision = found.packet.environment.replay.revision
    return f", at revision {revision}" if revision is not None else ""


def _show(parts: tuple[Part, ...], found: Found, kept: Kept | None, phases: Phases, *, same: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {"reproduced": "green", "not reproduced": "bold red", "not replayed": "yellow"}
    title = f"{found.packet.candidate.name}, of {found.packet.created[:10]} on {found.packet.environment.device.name}"
    table = Table(title=title, title_justify="left")
    for column in ("the packet says", "replay", "what was found"):
        table.add_column(column, overflow="fold")
    for part in parts:
        table.add_row(Text(part.claim), Text(part.outcome, style=styles[part.outcome]), Text(part.detail))
    console().print(table)
    done, left = (
        ", ".join(dict.fromkeys(part.claim.partition(":")[0] for part in parts if (part.outcome != "not replayed") == which))
        for which in (True, False)
    )
    typer.echo(f"{'reproduced' if same else 'NOT reproduced'}; replayed: {done or 'nothing'}{f'; not replayed: {left}' if left else ''}")
    if kept is not None:
        kept.tell()
    typer.echo(f"took: {phases.summary()}")


def _fusion(
    found: Found, phases: Phases, packet: Path | None, ledger: Path | None, *, rounds: int, trust: bool
) -> tuple[tuple[Part, ...], Kept | None]:
    """A fusion's packet: fused anew for the same target, verified, and timed where the device is the same."""
    from mosaic.evidence.packet import FailPacket, packet_id
    from mosaic.pipeline import fuse as fuse_graph
    from mosaic.pipeline import runs_here
    from mosaic.report.facts import collect
    from mosaic.report.fusion_files import collect_files
    from mosaic.report.fusion_packet import Recipe
    from mosaic.report.fusion_replay import compare, compare_failure, files_of, recipe_of, target_of, tuning_of, untuned
    from mosaic.report.replay import same_device

    source, settings, prefer = recipe_of(found.packet, found.place)
    target = target_of(found.packet, found.place)
    recipe = Recipe(source, prefer, ("mosaic", "replay", packet.name if packet is not None else "packet.json"), settings)
    phases.say("loading the packet")
    held = files_of(found)
    tuning = tuning_of(found, held)
    with _graph(found, held, source, settings, trust=trust) as graph:
        keeper = Keeper(recipe, packet, ledger)
        keeper.begin(target)
        failed = isinstance(found.packet, FailPacket)
        more: tuple[Part, ...] = ()
        try:
            with keeper.failures(graph, target):
                try:
                    fused = fuse_graph(graph, target, prefer=prefer, tune=tuning or False, progress=phases.say)
                except InputError as error:
                    if tuning is None:
                        raise
                    more = (untuned(error),)
                    fused = fuse_graph(graph, target, prefer=prefer, progress=phases.say)
        except MosaicError as error:
            if not failed:
                raise
            return compare_failure(found.packet, error), None
        times = noise = None
        if rounds and runs_here(target) and not same_device(found.packet, keeper.device):
            times, noise = _times(fused, rounds, phases)
        facts = collect(fused, times)
        files = collect_files(facts, weights=source != MODEL)
        parts = compare_failure(found.packet, None) if failed else (*more, *compare(found, facts, files))
        keeper.more = {"replay": {"of": packet_id(found.packet), "parts": [asdict(part) for part in parts]}}
        return parts, keeper.keep_files(facts, files, noise, None, phases.seconds)


@contextlib.contextmanager
def _graph(found: Found, files: Mapping[str, bytes], source: str, settings: dict[str, Any], *, trust: bool) -> Iterator[Graph]:
    """The packet's graph, with its constants. Kernels that it brings lie in a folder for as long, as they are read when they are built."""
    from mosaic.cli.load import load_kernels, shipped_kernels
    from mosaic.report.fusion_replay import code_of

    shipped_kernels()
    code = code_of(files)
    if code and not trust:
        names = ", ".join(code)
        raise InputError(f"{found.place} brings kernels of its own ({names}): read them, and give --trust to run them in this process")
    with tempfile.TemporaryDirectory(prefix="mosaic-kernels-") as folder:
        for name, content in code.items():
            path = Path(folder) / Path(name).name
            path.write_bytes(content)
            load_kernels(path)
        yield _loaded(found, _model(found, files, settings) if source == MODEL else files)


def _model(found: Found, files: Mapping[str, bytes], settings: dict[str, Any]) -> dict[str, bytes]:
    """The packet's files with the weights of the model that ships; that they are what was recorded is checked when they are loaded."""
    from mosaic.models.minilm import minilm
    from mosaic.report.fusion_files import WEIGHTS, weights_of

    if set(settings) != set(MODEL_SETTINGS) or any(type(settings[name]) is not type(MODEL_SETTINGS[name]) for name in settings):
        raise InputError(
            f"{found.place} must say of {MODEL} its {', '.join(MODEL_SETTINGS)}, not {', '.join(map(str, settings)) or 'nothing'}"
        )
    weights = weights_of(minilm(**settings))
    return {**files, **({WEIGHTS: weights} if weights is not None else {})}


def _loaded(found: Found, files: Mapping[str, bytes]) -> Graph:
    """The packet's graph; of kernels that have changed since, a warning."""
    from mosaic.graph.serialize import KernelChangedWarning
    from mosaic.report.fusion_replay import graph_of

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", KernelChangedWarning)
        graph = graph_of(found, files)
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        typer.echo(f"mosaic: warning: {text}", err=True)
    return graph


def _times(fused: Fused, rounds: int, phases: Phases) -> tuple[Paired, Paired]:
    from mosaic.cli.fuse import inputs_of, longest, time_fused

    inputs = inputs_of(fused, is_model=fused.graph.name == MODEL)
    return time_fused(fused, inputs[longest(inputs)], rounds, phases)
