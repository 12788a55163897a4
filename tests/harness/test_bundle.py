from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.evidence.packet import Packet, from_document
from mosaic.harness import bundle
from mosaic.harness.candidate import load_candidate
from mosaic.harness.definition import load_definition
from mosaic.harness.workload import load_workload
from tests.harness.tasks import HONEST, write_candidate, write_task
from tests.harness.test_reward import packet as bare_packet


def made(folder: Path, **changes: Any) -> Packet:
    """A packet whose hashes are those of the bundle's files, with some of the bundle changed."""
    task, mine = load_definition(write_task(folder)), load_candidate(write_candidate(folder, HONEST))
    packed = bundle.pack(task, mine, load_workload(None, task), "eager", "cpu", timing=False)
    document = json.loads(json.dumps(bare_packet().document()))
    document["candidate"]["task_sha256"] = task.sha256
    document["candidate"]["source"]["files"] = [{"path": path, "sha256": digest(data)} for path, data in mine.files.items()]
    document["environment"]["seed"] = {"revealed": "abc", "commitment": digest(b"abc")}
    return from_document({**document, "bundle": {**packed, **changes}})


def test_what_was_packed_is_unpacked(tmp_path: Path) -> None:
    got = bundle.unpack(made(tmp_path / "a"), tmp_path / "b")
    assert load_definition(got.definition).sha256 == load_definition(tmp_path / "a" / "task").sha256
    assert load_candidate(got.candidate).files == {"mine.py": HONEST.encode()}
    assert load_workload(got.workload, load_definition(got.definition)) == load_workload(None, load_definition(tmp_path / "a" / "task"))
    assert (got.baseline, got.seed, got.device, got.timing) == ("eager", "abc", "cpu", False)


def test_bytes_that_are_no_text_survive(tmp_path: Path) -> None:
    (write_task(tmp_path) / "weights.bin").write_bytes(bytes(range(256)))
    got = bundle.unpack(made(tmp_path), tmp_path / "out")
    assert (got.definition / "weights.bin").read_bytes() == bytes(range(256))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"files": {}}, "holds no files"),
        ({"files": {"../../x": {"a": "b"}}}, "which is none of"),
        ({"files": {"definition": {"a": "b"}}}, "not those that its hash names"),
        ({"files": 3}, "holds no files"),
        ({"files": {"definition": 3}}, "malformed"),
        ({"entries": {"definition": "../../etc/passwd", "candidate": "mine.py"}}, "which it doesn't hold"),
        ({"entries": {}}, "malformed"),
        ({"baseline": "files"}, "malformed"),
    ],
)
def test_a_strange_bundle_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        bundle.unpack(made(tmp_path, **changes), tmp_path / "out")


def test_files_that_lead_out_are_refused_even_if_the_hashes_are_right(tmp_path: Path) -> None:
    right = made(tmp_path).document()
    document = json.loads(json.dumps(right))
    document["candidate"]["source"]["files"] = [{"path": "../../x.py", "sha256": digest(b"x")}]
    document["bundle"]["files"]["candidate"] = {"../../x.py": "x"}
    with pytest.raises(InputError, match="leads out"):
        bundle.unpack(from_document(document), tmp_path / "out")
    assert not (tmp_path.parent / "x.py").exists()
    assert not (tmp_path / "x.py").exists()


def test_what_is_too_large_is_left_out(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    (folder / "large").write_bytes(bytes(bundle.LARGEST + 1))
    task, mine = load_definition(folder), load_candidate(write_candidate(tmp_path, HONEST))
    assert bundle.pack(task, mine, load_workload(None, task), "none", "cpu", timing=True)["files"] == {}
