"""`mosaic lower --intent`: what is told of code that is as it should be, of code that isn't, and of targets without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.cli.intended import Checked, read_intent
from mosaic.errors import InputError
from mosaic.targets.intent import Intent, Requirement, to_json
from mosaic.targets.tools import find_cuda_tool

SMALL = "M=64,N=64,K=64,block_M=64,block_N=32,block_K=32"
NEEDS_TOOLS = pytest.mark.skipif(find_cuda_tool("nvcc") is None or find_cuda_tool("nvdisasm") is None, reason="needs nvcc and nvdisasm")


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["lower", "gemm", "--set", SMALL, *arguments])
    assert result.exit_code == code
    return result.stdout if code == 0 else result.stderr


@NEEDS_TOOLS
def test_code_that_is_as_it_should_be() -> None:
    lines = run("--target", "sm_80", "--intent", "auto").splitlines()
    assert lines[0].startswith("gemm for sm_80")
    assert lines[1:] == ["  intent: the code holds what it should"]


@NEEDS_TOOLS
def test_an_intent_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "intent.json"
    path.write_text(to_json(Intent("sm_80", (Requirement(("wgmma",), "the product"),), (), {"registers": 8})))
    lines = run("--target", "sm_80", "--intent", str(path)).splitlines()
    assert lines[1].startswith("  intent: no wgmma for the product in the machine code")
    assert "registers a thread, where 8 are allowed" in lines[2]
    (found,) = json.loads(run("--target", "sm_80", "--intent", str(path), "--json"))
    told: dict[str, Any] = found["intent"]
    assert [diagnosis["what"] for diagnosis in told["diagnoses"]] == ["wgmma", "registers"]
    assert told["wanted"]["target"] == "sm_80"


@NEEDS_TOOLS
def test_an_intent_for_another_target(tmp_path: Path) -> None:
    path = tmp_path / "intent.json"
    path.write_text(to_json(Intent("sm_90a")))
    assert "the intent is for sm_90a, and this was lowered for sm_80" in run("--target", "sm_80", "--intent", str(path), code=2)


def test_targets_of_whose_code_little_is_read() -> None:
    assert (
        run("--target", "cpu", "--intent", "auto").splitlines()[1] == "  intent: nothing is read of this target's code, so nothing is told"
    )
    assert "  intent: not told by it: registers, spill_bytes" in run("--target", "gfx942", "--intent", "auto")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read the intent .*give a file, or auto"):
        read_intent(str(tmp_path / "none.json"))
    with pytest.raises(InputError, match="cannot read the intent"):
        read_intent(str(tmp_path))
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_intent(str(tmp_path / "bad.json"))
    assert read_intent("auto") is read_intent(None) is None


def test_as_json_without_code() -> None:
    assert Checked(Intent("cpu"), (), None).to_dict()["untold"] is None
