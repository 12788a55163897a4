"""The judge: inputs, tolerances that follow from dtypes and reduction lengths, and verification against them."""

from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.bound import Bound, Comparison
from mosaic.harness.inputs import DISTRIBUTIONS, Draw, draw, sample
from mosaic.harness.report import Finding, Report, Skipped
from mosaic.harness.tolerance import bounds, bounds_of
from mosaic.harness.verify import Candidate, poisoned, verify

__all__ = [
    "DISTRIBUTIONS",
    "Arithmetic",
    "Bound",
    "Candidate",
    "Comparison",
    "Draw",
    "Finding",
    "Report",
    "Skipped",
    "bounds",
    "bounds_of",
    "draw",
    "poisoned",
    "sample",
    "verify",
]
