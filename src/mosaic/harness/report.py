"""The record of a verification."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from mosaic.errors import VerificationError

Failure = Literal[
    "wrong_type", "wrong_shape", "wrong_dtype", "nan", "infinity", "mismatch", "missing_output", "input_mutated", "crashed"
]  # fmt: skip
Status = Literal["pass", "fail", "inconclusive"]

LOOSEST: Final = 0.25
"""A bound above this fraction of the values' root mean square tells too little to call an output verified."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Finding(_Record):
    """One output of one run.

    failure: None if it is right. ratio: the largest |got - wanted| / allowed; at `worst`, which indexes the output. unchecked:
    fraction of elements of which the bound knows nothing. looseness: median bound over the reference's root mean square.
    """

    distribution: str
    trial: int
    output: str
    note: str = ""
    failure: Failure | None = None
    message: str = ""
    ratio: float = 0.0
    worst: tuple[int, ...] = ()
    got: float | None = None
    wanted: float | None = None
    allowed: float | None = None
    unchecked: float = 0.0
    looseness: float = float("inf")

    @property
    def is_conclusive(self) -> bool:
        """Whether the bound would have shown an error of a fraction of the values."""
        return self.failure is None and self.unchecked < 0.5 and self.looseness <= LOOSEST


class Skipped(_Record):
    """A distribution that makes no sense for the graph."""

    distribution: str
    trial: int
    reason: str


class Report(_Record):
    """All findings of a verification; `explanations` says for each output where its bound comes from (first run)."""

    graph: str
    seed: str
    trials: int
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    explanations: dict[str, str] = {}

    @property
    def failures(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.failure is not None)

    @property
    def status(self) -> Status:
        """`inconclusive` if nothing failed, but no run had a bound for some output that could have shown an error."""
        if self.failures:
            return "fail"
        outputs = {finding.output for finding in self.findings}
        seen = {finding.output for finding in self.findings if finding.is_conclusive}
        return "pass" if outputs and seen == outputs else "inconclusive"

    @property
    def passed(self) -> bool:
        return self.status == "pass"

    @property
    def ratio(self) -> float:
        """The largest error of all, as a fraction of what is allowed."""
        return max((finding.ratio for finding in self.findings), default=0.0)

    def raise_if_failed(self) -> None:
        """Raises VerificationError, with the first failure, unless the status is `pass`."""
        if self.failures:
            first = self.failures[0]
            what = f"{first.failure} on {first.distribution!r} inputs (seed {self.seed}, trial {first.trial}): {first.message}"
            raise VerificationError(f"graph {self.graph!r} is not computed as its references say: {what}")
        if not self.passed:
            raise VerificationError(f"graph {self.graph!r}: the bounds of some outputs are too loose to tell; verify smaller parts of it")

    def summary(self) -> str:
        """A table: a line for each distribution and output (the worst of its trials), then what failed or was left out."""
        lines = [f"{self.graph}: {self.status} ({len(self.findings)} comparisons, largest error {self.ratio:.3g} of what is allowed)"]
        width = max((len(finding.output) for finding in self.findings), default=6)
        worst: dict[tuple[str, str], Finding] = {}
        for finding in self.findings:
            key = (finding.distribution, finding.output)
            if key not in worst or (finding.failure is not None, finding.ratio) > (worst[key].failure is not None, worst[key].ratio):
                worst[key] = finding
        for (distribution, output), finding in worst.items():
            verdict = finding.failure or "ok"
            extra = f", {finding.unchecked:.0%} unchecked" if finding.unchecked else ""
            lines.append(f"  {distribution:9} {output:{width}} {verdict:14} {finding.ratio:9.3g} of the bound{extra}")
        lines += [f"  failed: {finding.distribution}: {finding.message}" for finding in self.failures[:8]]
        lines += [f"  left out: {item.distribution}: {item.reason}" for item in self.skipped]
        lines += [f"  bound of {name}: {text}" for name, text in self.explanations.items()]
        return "\n".join(lines)


def joined(reports: Sequence[Report]) -> Report:
    """One report of verifications of the same graph from the same seed on different distributions. There must be at least one."""
    first = reports[0]
    return first.model_copy(
        update={
            "findings": tuple(finding for report in reports for finding in report.findings),
            "skipped": tuple(item for report in reports for item in report.skipped),
            "explanations": {name: text for report in reversed(reports) for name, text in report.explanations.items()},
        }
    )
