"""The audit of the judge: every way to cheat and every honest control, as a table, JSON, and a packet each.

    python benchmarks/audit.py --output build/audit                  # what runs on this machine's CPU
    python benchmarks/audit.py --device cuda --output build/audit    # what needs a GPU, on a GPU

Limitations: a cheat that no entry of the corpus resembles may pass; names rest partly on what is seen inside the candidate's
process, refusals do not. docs/threat-model.md says what cannot be caught from inside, and what bounds it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from mosaic.evidence import Ledger
from mosaic.harness.audit.corpus import GROUPS
from mosaic.harness.audit.run import Result, audit
from mosaic.harness.audit.table import markdown


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="cuda: only what needs a GPU")
    parser.add_argument("--only", nargs="*", default=(), help="paths, numbers or names of entries")
    parser.add_argument("--group", nargs="*", choices=GROUPS, default=GROUPS, help="cheats, controls, mistakes")
    parser.add_argument("--timing", action="store_true", help="time every entry, not only those that need it")
    parser.add_argument(
        "--output", type=Path, default=Path("build/audit"), help="folder for audit.json, audit.md and the ledger of packets"
    )
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()

    def show(result: Result) -> None:
        if result.verdict != "skipped":
            said = f"{result.verdict:11} {result.entry.group}/{result.entry.path} {result.status} {result.kind} {result.seconds:.1f} s"
            print(said, "" if result.verdict == "right" else result.message[:300], flush=True)

    with Ledger(options.output / "packets.sqlite") as ledger:
        report = audit(options.device, groups=options.group, only=options.only, ledger=ledger, timing=options.timing, progress=show)
    text = markdown(report)
    (options.output / "audit.md").write_text(text, encoding="utf-8")
    (options.output / "audit.json").write_text(json.dumps(report.document(), indent=1) + "\n", encoding="utf-8")
    print(f"\n{text}\n{time.perf_counter() - start:.0f} s in all")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
