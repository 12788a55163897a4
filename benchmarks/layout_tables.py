"""The tables of layouts in README.md, made from the packets of evidence/ alone.

    python -m benchmarks.layout_tables --readme README.md     puts them between the marks of the section Layouts
    python -m benchmarks.layout_tables                        prints them

from the repository's root, with src on PYTHONPATH. benchmarks/layout_packets.py makes the packets.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

EVIDENCE: Final = Path(__file__).parents[1] / "evidence"
BEGIN: Final = "<!-- layouts: made by `python -m benchmarks.layout_tables --readme README.md` -->"
END: Final = "<!-- end of layouts -->"
TARGETS: Final = ("sm_80", "sm_90a", "gfx942", "gfx950")
CLASSES: Final = (("permute", "permute"), ("shuffle", "shuffle"), ("permute and shuffle", "**both**"), ("shared", "shared"))

Document = dict[str, Any]


def packet(path: str) -> Document:
    found: Document = json.loads((EVIDENCE / path).read_text(encoding="utf-8"))
    return found


def tables() -> str:
    """All of them, as Markdown."""
    parts = [_pairs(), _corpus(), _conversions(), _solver()]
    return "\n\n".join(parts)


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _pairs() -> str:
    lowered, ran = packet("cpu/handovers.json"), packet("nvidia-h200/handovers.json")
    kinds: dict[tuple[str, str], str] = {}
    for case in lowered["candidate"]["cases"]:
        name, _, target = case["name"].rpartition(", ")
        kinds[name, target] = case["attributes"]["class"]
    right = {check["case"] for check in ran["validation"]["checks"] if check["outcome"] == "pass"}
    names = list(dict.fromkeys(name for name, _ in kinds))
    rows = []
    for name in names:
        on_gpu = [target for target in TARGETS[:2] if f"{name}, {target}" in right]
        rows.append([name, *(kinds.get((name, target), "") for target in TARGETS), ", ".join(on_gpu)])
    count, earlier = _ran(ran), _ran(packet("nvidia-h200/handovers_by_shuffles.json"))
    checks = lowered["validation"]["checks"]
    good = sum(check["outcome"] == "pass" for check in checks)
    return (
        _table(["refused by TileLang alone", *TARGETS, "right on an H200"], rows)
        + "\n\n`direct`: no conversion, but a layout that TileLang did not find. Empty: TileLang takes it there, or the target "
        + "lacks the format (gfx942's own fp8 is a test of `tests/stitch/test_contraction.py`). "
        + f"{good} of {len(checks)} compile and are right on the CPU, before and after conversion; none is a `split`. "
        + f"{count} random kernels of the corpus ran on the H200 too, all right; so were {earlier} when contractions were not permuted yet."
    )


def _ran(found: dict[str, Any]) -> int:
    """Random kernels that ran on a GPU."""
    sample = found["handovers"]["sample"]
    return sum(int(figure["value"]) for classes in sample.values() for kind, figure in classes.items() if kind != "product")


def _corpus() -> str:
    parts = [packet(f"cpu/{path.name}")["handovers"] for path in sorted((EVIDENCE / "cpu").glob("corpus*.json"))]
    kernels = sum(int(part["kernels"]["value"]) for part in parts)
    kinds = ("direct", "identity", "permute", "shuffle", "shared", "refused", "product")

    def count(target: str, kind: str) -> int:
        return sum(int(part["corpus"].get(target, {}).get(kind, {"value": 0})["value"]) for part in parts)

    rows = [[target, *(count(target, kind) for kind in kinds)] for target in TARGETS]
    programs = sum(sum(int(cell) for cell in row[1:]) for row in rows)
    note = (
        f"The corpus: {kernels:,} random kernels, {programs:,} programs. `direct`: taken "
        "as it is; `product`: it has no warps for one of the products even if that stands alone, so that there is nothing to hand over."
    )
    return note + "\n\n" + _table(["target", *kinds], rows)


def _conversions() -> str:
    found = packet("nvidia-h200/conversions.json")
    ratios = found["layout_conversions"]["faster_than"]
    rows = []
    for moved, what in ((" moved", "without a cast, as fusion emits them"), ("", "with and without a cast")):
        for key, name in CLASSES:
            cells = [ratios.get(f"{key}{moved}, {how}, against {other}") for other in ("naive", "padded") for how in ("alone", "full")]
            rows.append([name, what, *("-" if cell is None else f"{cell['value']:.2f}x" for cell in cells)])
    conflicts = found["layout_conversions"]["bank_conflicts"]
    head = ["class", "", "naive, one block", "naive, four", "padded, one block", "padded, four"]
    return (
        f"How much faster {len(found['candidate']['cases'])} conversions are than staging through padded shared memory (geometric means, "
        "H200; `naive`: register by register, `padded`: in the widest vectors that the rows allow; one or four blocks a processor):\n\n"
        + _table(head, rows)
        + f"\n\nBank conflicts of what is emitted: {conflicts['emitted']['value']:.0f} by the GPU's counters, "
        f"{found['layout_conversions']['bank_conflicts_by_model']['emitted']['value']:.0f} by the model."
    )


def _solver() -> str:
    found = packet("cpu/solver.json")["solver"]
    rows = [
        [name, f"{row['seconds']['value']:.3f}", "yes" if row["optimal"] else f"within {row['gap']['value']:.0%}"]
        for name, row in found.items()
    ]
    return "The solver, on one core:\n\n" + _table(["graph (1,000 edges, or a model)", "seconds", "best proven"], rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--readme", type=Path)
    options = parser.parse_args(argv)
    made = tables()
    if options.readme is None:
        print(made)
        return 0
    text = options.readme.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    options.readme.write_text(f"{before}{BEGIN}\n{made}\n\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
