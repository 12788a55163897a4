"""`mosaic fuse`: a graph of kernels becomes fewer kernels; what was done, why, whether it is right, and whether it is faster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mosaic.cli import demo
from mosaic.cli.fused_packet import Keeper
from mosaic.cli.keeping import Kept, LedgerFile, PacketFile, check_places
from mosaic.cli.options import MODEL, MODEL_SETTINGS, Json, KernelFile, Settings, SourceName, TargetName
from mosaic.cli.output import console, print_json
from mosaic.cli.phases import Phases
from mosaic.cli.source import load_source, parse_settings
from mosaic.errors import InputError
from mosaic.files import check_writable, write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from mosaic.graph.graph import Graph
    from mosaic.harness.timing import Paired
    from mosaic.pipeline import Fused
    from mosaic.report.facts import Facts

EXAMPLES = """\b
Examples:
# the model that ships: fused, checked, run on real sentences
mosaic fuse minilm --report minilm.html
# a graph that your own file builds
mosaic fuse model.py
# for a GPU that is not here: planned, compiled, checked on the CPU
mosaic fuse model.py --target sm_90a
# every edge, also of layers that repeat
mosaic fuse minilm --edges all
# with the packet of the run: what was done, with every check and sample; anyone can replay it
mosaic fuse model.py --packet model.zip
# not the tunables that the cost model likes, but the fastest of some that are timed on this machine
mosaic fuse minilm --tune
# only the plan, fast
mosaic fuse model.py --no-check --rounds 0
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="fuse", epilog=EXAMPLES)(fuse)


@dataclass(frozen=True)
class Result:
    """What the verb shows: the facts, the seconds of each phase, and for the model that ships, how good its embeddings are."""

    facts: Facts
    phases: Phases
    quality: demo.Quality | None
    report: Path | None
    kept: Kept


def fuse(  # noqa: PLR0913, PLR0917  # one parameter for each option
    source: SourceName,
    target: TargetName = "auto",
    report: Annotated[
        Path | None,
        typer.Option(help="Write one self-contained HTML page: the graph before and after, edges, layouts.", show_default=False),
    ] = None,
    edges: Annotated[Literal["grouped", "all"], typer.Option(help="Edges that repeat layer by layer in one line, or each.")] = "grouped",
    prefer: Annotated[
        Literal["shared", "register"], typer.Option(help="Memory for what is handed over on the chip, where both would do.")
    ] = "shared",
    no_check: Annotated[bool, typer.Option("--no-check", help="Do not verify the stitched kernels.")] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Time some recipes of each kernel here and take the fastest, fused and unfused: minutes.")
    ] = False,
    rounds: Annotated[int, typer.Option(min=0, help="Paired runs that time it against the unfused graph; 0 for none.")] = 11,
    settings: Settings = None,
    file: KernelFile = None,
    packet: PacketFile = None,
    ledger: LedgerFile = None,
    json: Json = False,
) -> None:
    """Fuse a graph, verify every fused kernel, and time it against the unfused graph."""
    from mosaic.report.fusion_packet import Recipe
    from mosaic.targets.target import find

    # Before the work, not after it.
    if report is not None:
        check_writable(report)
    check_places(packet, ledger)
    if rounds == 1:
        raise InputError("--rounds is 1, but a comparison needs at least 2 runs of each; or 0 for no timing")
    device = find(target)
    phases = Phases()
    with phases.shown():
        phases.say(f"loading {source}")
        graph = _graph(source, settings, file)
        replay = ("mosaic", "replay", packet.name if packet is not None else "packet.json")
        recipe = Recipe(Path(source).name, prefer, replay, _model_settings(settings) if source == MODEL else {})
        result = _work(graph, report, phases, Keeper(recipe, packet, ledger), device=device, check=not no_check, rounds=rounds, tune=tune)
    if json:
        from mosaic.report.record import record

        print_json(
            {
                **record(result.facts, every_edge=edges == "all"),
                "embeddings": result.quality.to_dict() if result.quality is not None else None,
                "seconds": result.phases.seconds,
                "report": str(report) if report is not None else None,
                "packet": result.kept.to_dict(),
            }
        )
    else:
        _show(result, every_edge=edges == "all")
    if result.quality is not None:
        result.quality.raise_if_wrong()


def _graph(source: str, settings: Sequence[str] | None, file: Path | None) -> Graph:
    if source == MODEL:
        settings = [f"{name}={value}" for name, value in _model_settings(settings).items()]
    loaded = load_source(source, settings, file)
    if loaded.is_kernel:
        raise InputError(f"{source} is one kernel, so there is nothing to fuse; give a graph (see mosaic fuse --help), or use mosaic lower")
    return loaded.graph


def _model_settings(settings: Sequence[str] | None) -> dict[str, Any]:
    return {**MODEL_SETTINGS, **demo.SETTINGS, **parse_settings(settings or ())}


def _work(
    graph: Graph, report: Path | None, phases: Phases, keeper: Keeper, *, device: Any, check: bool, rounds: int, tune: bool
) -> Result:
    """All that takes time: fusing, timing, the model's sentences, the page, the packet."""
    from mosaic.pipeline import fuse as fuse_graph
    from mosaic.report.facts import collect

    keeper.begin(device)
    with keeper.failures(graph, device):
        fused = fuse_graph(graph, device, check=check, prefer=keeper.recipe.prefer, tune=tune, progress=phases.say)
    is_model = keeper.is_model
    inputs = inputs_of(fused, is_model=is_model)
    quality = None
    if is_model and inputs:
        from mosaic.models.sentences import SENTENCES

        phases.say("embedding real sentences")
        found = demo.embed(fused, inputs, len(SENTENCES))
        phases.say("comparing with the original model")
        quality = demo.compare(graph, SENTENCES, inputs, found)
    times, noise = time_fused(fused, inputs[longest(inputs)], rounds, phases) if inputs and rounds else (None, None)
    facts = collect(fused, times)
    if report is not None:
        from mosaic.report.page import page

        phases.say("reporting")
        write_whole(report, page(facts, quality.figures() if quality is not None else ()))
    phases.say("keeping the packet")
    return Result(facts, phases, quality, report, keeper.keep(facts, noise, quality, phases.seconds))


def inputs_of(fused: Fused, *, is_model: bool) -> list[dict[str, torch.Tensor]]:
    """What to run the program on: the model's sentences, or one draw of normal numbers; nothing if it can't run here."""
    if fused.program is None or any(content is None for content in fused.graph.constants.values()):
        return []
    if is_model:
        from mosaic.models.sentences import SENTENCES

        return demo.batches(fused.graph, SENTENCES)
    from mosaic.harness.inputs import draw

    drawn = draw(fused.graph, "normal", 0).tensors
    return [drawn] if drawn is not None else []


def longest(inputs: Sequence[dict[str, torch.Tensor]]) -> int:
    """The batch with the fewest zeros in its mask, for a model; else the only one."""
    return max(range(len(inputs)), key=lambda i: int(inputs[i]["attention_mask"].sum())) if len(inputs) > 1 else 0


def time_fused(fused: Fused, inputs: dict[str, torch.Tensor], rounds: int, phases: Phases) -> tuple[Paired, Paired]:
    """The fused program and the graph with a kernel for each node, in turn; and the fused program and itself: the noise floor."""
    from mosaic.harness.timing import paired
    from mosaic.pipeline import fuse as fuse_graph

    phases.say("building the unfused program")
    # What is compared is fusing, so both are tuned or neither; a replay's fused program was tuned elsewhere.
    apart = fuse_graph(fused.graph, fused.target, fuse=False, check=False, tune=fused.tuning is not None, progress=phases.say)
    assert fused.program is not None
    device = fused.program.device
    here = {name: tensor.to(device) for name, tensor in inputs.items()}
    phases.say("timing")
    times = paired(lambda: fused.run(here), lambda: apart.run(here), rounds=rounds, device=device)
    return times, paired(lambda: fused.run(here), lambda: fused.run(here), rounds=rounds, device=device)


def _show(result: Result, *, every_edge: bool) -> None:
    from mosaic.cli.fused_tables import show

    show(console(), result.facts, result.quality.figures() if result.quality is not None else (), every_edge=every_edge)
    if result.report is not None:
        typer.echo(f"report: {result.report}")
    result.kept.tell()
    typer.echo(f"took: {result.phases.summary()}")
