"""The judge's own packet: what an audit found and what the judge costs, the documents that say so as artifacts; and the README's table.

    mosaic audit --device cpu --json > audit.json
    python benchmarks/judge.py --device cpu --ledger-packets 100000 --appends 10000 --out judge.json
    python benchmarks/judge_packet.py --audit audit.json --figures judge.json --out evidence/cpu/judge.json
    python benchmarks/judge_packet.py --readme README.md         the table, from the packets in evidence/

Known limitation: the environment that the packet tells is the one that this script runs in; run it where the figures were measured, or name
with --environment a packet of that machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mosaic
from mosaic.evidence import parse, seal
from mosaic.evidence.canonical import digest
from mosaic.harness.audit import table
from mosaic.harness.environment import describe, versions

ROOT: Final = Path(__file__).parents[1]
HARNESS: Final = Path(mosaic.__file__).parent / "harness"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", type=Path, help="what `mosaic audit --json` printed")
    parser.add_argument("--figures", type=Path, help="what `benchmarks/judge.py --out` wrote")
    parser.add_argument("--environment", type=Path, help="a packet whose environment is meant; this machine's if none")
    parser.add_argument("--revision", help="of the judge that was audited; the files as they are if none")
    parser.add_argument("--out", type=Path, help="the packet; its artifacts lie beside it")
    parser.add_argument("--readme", type=Path, help="put the table of all audits in evidence/ into this file")
    options = parser.parse_args()
    if options.out is not None:
        write(options.audit, options.figures, options.environment, options.out, options.revision)
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(table.put(text, table.of_documents(audits())), encoding="utf-8")


def audits() -> list[dict[str, Any]]:
    """The audits that are in packets of evidence/, those of a CPU first."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("evidence/*/judge.json"))]
    return [document["audit"] for document in documents if "audit" in document]


def write(audit: Path | None, figures: Path | None, environment: Path | None, out: Path, revision: str | None = None) -> None:
    """A sealed packet and its artifacts."""
    contents = {name: path.read_bytes() for name, path in (("audit.json", audit), ("judge.json", figures)) if path is not None}
    found = json.loads(contents["audit.json"]) if audit is not None else {"results": [], "corpus": None}
    wrong = [result for result in found["results"] if result["verdict"] not in ("right", "skipped")]
    document = {
        "format": "mosaic-packet", "version": 1, "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "status": "fail" if wrong else "pass", "candidate": _candidate(found, revision), "environment": _environment(environment, revision),
        "validation": {"method": "the verdict on each entry of the corpus beside what it must be", "checks": _checks(found),
                       "outcome": "fail" if wrong else "pass"},
        "artifacts": [{"kind": "report", "name": name, "sha256": digest(data), "size": len(data)} for name, data in contents.items()],
        "audit": found,
    }  # fmt: skip
    if wrong:
        document["failure"] = {
            "kind": "mosaic.audit",
            "message": f"{wrong[0]['path']}: {wrong[0]['verdict']}: {wrong[0]['message']}"[:1000],
        }
    if figures is not None:
        document["figures"] = json.loads(contents["judge.json"])
    packet = parse(json.dumps(document).encode())
    (out.parent / "artifacts").mkdir(parents=True, exist_ok=True)
    for data in contents.values():
        (out.parent / "artifacts" / digest(data)).write_bytes(data)
    out.write_bytes(seal(packet))
    print(f"{out}: {packet.status}, {len(found['results'])} entries")


def _sources(revision: str | None) -> dict[str, bytes]:
    """The judge's files, as they are or as they were."""
    if revision is None:
        return {path.name: path.read_bytes() for path in sorted(HARNESS.glob("*.py"))}

    def git(*words: str) -> bytes:
        return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout

    names = git("ls-tree", "--name-only", f"{revision}:src/mosaic/harness").decode().split()
    return {name: git("show", f"{revision}:src/mosaic/harness/{name}") for name in names if name.endswith(".py")}


def _candidate(found: dict[str, Any], revision: str | None) -> dict[str, Any]:
    files = [{"path": name, "sha256": digest(data)} for name, data in _sources(revision).items()]
    made = {
        "name": "the judge", "task": "tell cheats, honest candidates and honest mistakes apart", "dtypes": ["float32"], "cases": [_case()],
        "source": {"language": "python", "entry": "mosaic.harness.judge", "files": files},
        "target": {"kind": "cuda" if found.get("device", "cpu") != "cpu" else "cpu", "architecture": found.get("device", "cpu")},
    }  # fmt: skip
    return made | ({"task_sha256": found["corpus"]} if found["corpus"] else {})


def _case() -> dict[str, Any]:
    """What goes in: files; what comes out: a verdict, which has no shape."""
    return {
        "name": "every entry of the corpus",
        "set": "given",
        "tensors": [{"name": "verdict", "dtype": "text", "shape": [], "role": "output"}],
    }


def _environment(packet: Path | None, revision: str | None) -> dict[str, Any]:
    if packet is not None:
        environment: dict[str, Any] = json.loads(packet.read_text(encoding="utf-8"))["environment"]
        kept: dict[str, Any] = {key: environment[key] for key in ("device", "libraries", "system") if key in environment}
    else:
        system = f"{platform.system()} {platform.release()} {platform.machine()}"
        kept = {"device": describe("cpu").document(), "libraries": versions(), "system": system}
    return {**kept, "replay": {"command": ["mosaic", "audit", "--json"], **({"revision": revision} if revision else {})}}


def _checks(found: dict[str, Any]) -> list[dict[str, Any]]:
    made = []
    for result in found["results"]:
        if result["verdict"] == "skipped":
            continue
        check = {"case": result["path"], "output": "verdict", "distribution": result["group"], "trial": 0, "outcome": "pass"}
        if result["verdict"] != "right":
            check |= {
                "outcome": "fail",
                "failure": "mosaic.audit",
                "message": f"{result['verdict']}: {result['kind']} {result['message']}"[:1000],
            }
        made.append(check)
    return made


if __name__ == "__main__":
    main()
