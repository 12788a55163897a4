"""The judge's own packet: what an audit found and what the judge costs, the documents that say so as artifacts; and the README's table.

    mosaic audit --device cpu --json > audit.json
    python benchmarks/judge.py --device cpu --ledger-packets 100000 --appends 10000 --out judge.json
    python benchmarks/judge_packet.py --audit audit.json --figures judge.json --out evidence/cpu/judge.json
    python benchmarks/judge_packet.py --readme README.md         the table, from the packets in evidence/

An audit in parts, and the packet of each entry (`audit_ENTRY.json`), from what benchmarks/audit.py leaves in a folder:

    python benchmarks/audit.py --device cuda --group cheats --output build/1
    python benchmarks/audit.py --device cuda --group controls --output build/2
    python benchmarks/judge_packet.py --audit build/1/audit.json build/2/audit.json --entries --out evidence/nvidia-h200/judge.json
    python benchmarks/judge_packet.py --copy triton.zip rms_norm_triton --out evidence/nvidia-h200/judge.json

Artifacts of more than 256 KiB (libraries, which building the sources gives again) are left out of evidence/; their hashes stay.

Known limitation: the environment that the packet tells is the one that this script runs in; run it where the figures were measured, or name
with --environment a packet of that machine.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import mosaic
from mosaic.errors import InputError
from mosaic.evidence import parse, seal
from mosaic.evidence.canonical import digest
from mosaic.evidence.collection import Found, find
from mosaic.harness.audit import table
from mosaic.harness.environment import describe, versions

ROOT: Final = Path(__file__).parents[1]
HARNESS: Final = Path(mosaic.__file__).parent / "harness"
ARTIFACT_BYTES: Final = 1 << 18  # the largest that evidence/ keeps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audit", type=Path, nargs="+", default=[], help="what `mosaic audit --json` printed; several are parts of one")
    parser.add_argument("--entries", action="store_true", help="the packets of the entries too, of packets.sqlite beside each --audit")
    parser.add_argument("--copy", nargs=2, metavar=("PACKET", "NAME"), help="put this packet, as NAME.json, beside --out, and no more")
    parser.add_argument("--figures", type=Path, help="what `benchmarks/judge.py --out` wrote")
    parser.add_argument("--environment", type=Path, help="a packet whose environment is meant; this machine's if none")
    parser.add_argument("--revision", help="of the judge that was audited; the files as they are if none")
    parser.add_argument("--out", type=Path, help="the packet; its artifacts lie beside it")
    parser.add_argument("--readme", type=Path, help="put the table of all audits in evidence/ into this file")
    options = parser.parse_args()
    if options.copy is not None:
        keep(find(options.copy[0]), options.out.parent / f"{options.copy[1]}.json")
    elif options.out is not None:
        if options.entries:
            entries(options.audit, options.out.parent)
        write(options.audit, options.figures, options.environment, options.out, options.revision)
    if options.readme is not None:
        text = options.readme.read_text(encoding="utf-8")
        options.readme.write_text(table.put(text, table.of_documents(audits())), encoding="utf-8")


def audits() -> list[dict[str, Any]]:
    """The audits that are in packets of evidence/, those of a CPU first."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ROOT.glob("evidence/*/judge.json"))]
    return [document["audit"] for document in documents if "audit" in document]


def together(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One audit of several on a device (`Report.document`), each with ways and entries of its own. Raises InputError if they are not."""
    paths = [name for part in parts for name in {result["number"] or result["path"] for result in part["results"]}]
    kinds = {tuple(part[key] for key in ("format", "version", "mosaic", "corpus", "device")) for part in parts}
    if len(kinds) != 1 or len(paths) != len(set(paths)):
        raise InputError("these audits are not parts of one: the device, corpus or version differs, or an entry or a way is in two of them")
    whole = dict(parts[0])
    for key in ("ways", "caught", "false_alarms"):
        whole[key] = [sum(numbers) for numbers in zip(*(part[key] for part in parts), strict=True)]
    whole["seconds"] = round(sum(part["seconds"] for part in parts), 1)
    whole["results"] = [result for part in parts for result in part["results"]]
    return whole


def entries(audits: Sequence[Path], folder: Path) -> None:
    """The packet of each entry that was tried, from the ledgers beside the audits."""
    for path in audits:
        for result in json.loads(path.read_text(encoding="utf-8"))["results"]:
            if result["packet"]:
                keep(find(f"{path.parent / 'packets.sqlite'}#{result['packet']}"), folder / f"audit_{result['path']}.json")


def keep(found: Found, path: Path) -> None:
    """A sealed packet as it is, and those of its artifacts that are not too large."""
    (path.parent / "artifacts").mkdir(parents=True, exist_ok=True)
    for name, data in found.contents().items():
        if len(data) <= ARTIFACT_BYTES:
            (path.parent / "artifacts" / name).write_bytes(data)
    path.write_bytes(seal(found.packet))
    print(f"{path}: {found.packet.status}")


def write(audit: Sequence[Path], figures: Path | None, environment: Path | None, out: Path, revision: str | None = None) -> None:
    """A sealed packet and its artifacts."""
    contents: dict[str, bytes] = {}
    found: dict[str, Any] = {"results": [], "corpus": None}
    if audit:
        found = together([json.loads(path.read_text(encoding="utf-8")) for path in audit])
        contents["audit.json"] = audit[0].read_bytes() if len(audit) == 1 else (json.dumps(found, indent=1) + "\n").encode()
    if figures is not None:
        contents["judge.json"] = figures.read_bytes()
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
