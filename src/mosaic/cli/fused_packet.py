"""The packet of what `mosaic fuse` and `mosaic replay` did: when it begins, what it holds, where it is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mosaic.cli.keeping import Kept, keep
from mosaic.cli.options import MODEL
from mosaic.errors import TargetError, VerificationError

if TYPE_CHECKING:
    from mosaic.cli.demo import Quality
    from mosaic.evidence.categories import Conditions
    from mosaic.graph.graph import Graph
    from mosaic.harness.timing import Paired
    from mosaic.report.facts import Facts
    from mosaic.report.fusion_files import Files
    from mosaic.report.fusion_packet import Recipe


@dataclass
class Keeper:
    """Makes the packet of one fusion, and keeps it in a file, a ledger or both. `more` are categories beside those of a fusion."""

    recipe: Recipe
    packet: Path | None
    ledger: Path | None
    more: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    before: Conditions | None = None

    @property
    def is_model(self) -> bool:
        return self.recipe.source == MODEL

    def begin(self, target: Any) -> None:
        """Note the device's state before the work."""
        from mosaic.harness.environment import conditions
        from mosaic.pipeline import runs_here

        self.device = "cuda" if target.kind != "cpu" and runs_here(target) else "cpu"
        self.before = conditions(self.device)

    @contextmanager
    def failures(self, graph: Graph, target: Any) -> Iterator[None]:
        """Within it, a fusion that is refused leaves a packet too."""
        from mosaic.report.fusion_files import needed_files
        from mosaic.report.fusion_packet import failed_fusion

        try:
            yield
        except (TargetError, VerificationError) as error:
            files = needed_files(graph, weights=not self.is_model)
            made = failed_fusion(graph, target, self.recipe, files, error)
            keep(made, files.contents.values(), self.packet, self.ledger)
            raise

    def keep(self, facts: Facts, noise: Paired | None, quality: Quality | None, seconds: Mapping[str, float]) -> Kept:
        """Make the packet and keep it."""
        from mosaic.report.fusion_files import collect_files

        return self.keep_files(facts, collect_files(facts, weights=not self.is_model), noise, quality, seconds)

    def keep_files(self, facts: Facts, files: Files, noise: Paired | None, quality: Quality | None, seconds: Mapping[str, float]) -> Kept:
        """The same with files that were collected already."""
        from mosaic.harness.environment import conditions
        from mosaic.report.fusion_packet import Run, fusion_packet

        figures = {"embeddings": quality.to_dict()} if quality is not None else {}
        run = Run(self.before, conditions(self.device), noise, dict(seconds), figures, wrong=_wrong(quality))
        made = fusion_packet(facts, self.recipe, files, run)
        if self.more:
            made = type(made).model_validate({**made.document(), **self.more})
        return keep(made, files.contents.values(), self.packet, self.ledger)


def _wrong(quality: Quality | None) -> str:
    """What is wrong with the model's embeddings, in a sentence; empty if nothing is."""
    try:
        if quality is not None:
            quality.raise_if_wrong()
    except VerificationError as error:
        return str(error)
    return ""
