"""mosaic fuse writes a packet, and mosaic replay runs it again: here, from that one file, in a process that knows nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import InputError, VerificationError
from mosaic.evidence import archive
from mosaic.evidence.collection import find
from mosaic.evidence.packet import FailPacket, from_document, packet_id
from tests.cli.files import GRAPH
from tests.evidence.samples import passed, skipped

SHIPPED: Final = """import mosaic
import torch


def graph():
    g = mosaic.Graph("block")
    weight = torch.arange(64 * 64).reshape(64, 64).remainder(7).half() / 8
    y = g.call("gemm", g.input("x", (64, 64), "float16"), g.constant("w", weight), name="product")
    g.output(g.call("gelu_erf", y, name="gelu"))
    return g
"""


def run(*arguments: object, code: int = 0) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packets of a fusion with kernels that ship, as one JSON file, and of one with a kernel of its own, as an archive; no sources."""
    folder = tmp_path_factory.mktemp("packets")
    path = folder / "shipped.py"
    path.write_text(SHIPPED, encoding="utf-8")
    run("fuse", path, "--target", "cpu", "--rounds", "3", "--packet", folder / "shipped.json")
    path.unlink()
    path = folder / "own.py"
    path.write_text(GRAPH.replace("users_scale", "scale_of_replay_test"), encoding="utf-8")
    run("fuse", path, "--target", "cpu", "--rounds", "0", "--packet", folder / "own.zip")
    path.unlink()
    return folder


def test_what_fuse_wrote(folder: Path) -> None:
    shipped, own = (find(str(folder / name)) for name in ("shipped.json", "own.zip"))
    assert shipped.packet.status in ("pass", "inconclusive")
    assert shipped.packet.environment.replay.command == ("mosaic", "replay", "shipped.json")
    assert own.packet.status == "pass"
    assert {artifact.sha256 for artifact in own.packet.artifacts or ()} == set(own.contents())


def test_it_comes_out_the_same(folder: Path) -> None:
    found = json.loads(run("replay", folder / "shipped.json", "--no-timing", "--packet", folder / "again.json", "--json").stdout)
    assert found["reproduced"]
    outcomes = {part["claim"].partition(":")[0]: part["outcome"] for part in found["parts"]}
    assert outcomes.pop("speed") == "not replayed"
    assert set(outcomes.values()) == {"reproduced"}
    assert set(outcomes) == {"kernels", "bytes between kernels", "sources", "correctness", "statistics"}
    again = find(str(folder / "again.json")).packet
    replayed: Any = again.__pydantic_extra__["replay"]
    assert replayed["of"] == packet_id(find(str(folder / "shipped.json")).packet)


def test_times_are_taken_again_on_the_same_device(folder: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(folder / "shipped.json"), "--rounds", "3", "--json"])
    (speed,) = (part for part in json.loads(result.stdout)["parts"] if part["claim"].startswith("speed"))
    assert speed["outcome"] in ("reproduced", "not reproduced")
    assert speed["detail"].startswith("now ")


def test_times_of_another_device_are_left_alone(folder: Path) -> None:
    document: Any = find(str(folder / "shipped.json")).packet.model_dump(mode="json", exclude_unset=True)
    document["environment"]["device"]["name"] = "Another Processor"
    archive.write(folder / "elsewhere.json", from_document(document))
    result = run("replay", folder / "elsewhere.json")
    assert "the packet's times are of Another Processor" in " ".join(result.stdout.split())
    assert "reproduced; replayed: kernels" in result.stdout
    assert "not replayed: speed" in result.stdout


def test_a_false_claim_is_not_reproduced(folder: Path) -> None:
    document: Any = find(str(folder / "shipped.json")).packet.model_dump(mode="json", exclude_unset=True)
    document["fusion"]["kernels"]["after"]["value"] = 0
    archive.write(folder / "false.json", from_document(document))
    result = run("replay", folder / "false.json", "--no-timing", code=1)
    assert "NOT reproduced" in result.stdout


def test_code_is_not_run_unasked(folder: Path) -> None:
    result = run("replay", folder / "own.zip", code=InputError.exit_code)
    assert "brings kernels of its own (own.py)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_kernel_of_its_own_in_a_process_that_never_saw_it(folder: Path) -> None:
    command = [sys.executable, "-m", "mosaic", "replay", str(folder / "own.zip"), "--trust", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["reproduced"]


def test_a_refused_fusion_leaves_a_packet_that_replays(tmp_path: Path) -> None:
    wrong = GRAPH.replace("users_scale", "wrong_of_replay_test").replace("x * factor", "x * factor + 1.0")
    path = tmp_path / "wrong.py"
    path.write_text(wrong, encoding="utf-8")
    run("fuse", path, "--target", "cpu", "--rounds", "0", "--packet", tmp_path / "wrong.zip", code=VerificationError.exit_code)
    packet = find(str(tmp_path / "wrong.zip")).packet
    assert isinstance(packet, FailPacket)
    assert packet.failure.kind == "mismatch"
    path.unlink()
    command = [sys.executable, "-m", "mosaic", "replay", str(tmp_path / "wrong.zip"), "--trust", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (result.returncode, json.loads(result.stdout)["reproduced"]) == (0, True)


@pytest.mark.parametrize("settings", [{}, {"batch": 2, "sequence": 32}, {"batch": 2, "sequence": 32, "dtype": 3}, {"package_dir": "/"}])
def test_settings_of_a_model_that_make_no_sense(settings: dict[str, Any], folder: Path) -> None:
    document: Any = find(str(folder / "shipped.json")).packet.model_dump(mode="json", exclude_unset=True)
    document["fusion"]["source"], document["fusion"]["settings"] = "minilm", settings
    archive.write(folder / "model.json", from_document(document))
    result = run("replay", folder / "model.json", code=InputError.exit_code)
    assert "must say of minilm its batch, sequence, dtype" in result.stderr


def test_damaged_and_empty_ones_are_a_sentence(folder: Path, tmp_path: Path) -> None:
    data = (folder / "shipped.json").read_bytes()
    (tmp_path / "cut.json").write_bytes(data[:-100])
    (tmp_path / "flipped.json").write_bytes(data.replace(b'"status":"pass"', b'"status":"past"').replace(b"inconclusive", b"inconclusivf"))
    (tmp_path / "flipped.zip").write_bytes(bytes(255 - b if i == 700 else b for i, b in enumerate((folder / "own.zip").read_bytes())))
    archive.write(tmp_path / "skipped.json", skipped())
    archive.write(tmp_path / "foreign.json", passed())
    (tmp_path / "no.json").write_text("[]", encoding="utf-8")
    for name in ("cut.json", "flipped.json", "flipped.zip", "skipped.json", "foreign.json", "no.json", "nowhere.json"):
        result = run("replay", tmp_path / name, code=InputError.exit_code)
        assert (result.stdout, result.stderr.count("\n")) == ("", 1), name
