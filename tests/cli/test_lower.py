"""`mosaic lower`: source for every kind of target, fused or not, printed or written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli import lower as verb
from mosaic.cli.app import app
from mosaic.errors import GraphError, InputError, KernelError, TargetError
from mosaic.files import write_whole
from mosaic.targets.tools import find_cuda_tool
from tests.cli.files import GRAPH

SMALL = "M=64,N=64,K=32,block_M=32,block_N=32,block_K=32"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["lower", *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def lowered(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--json"))
    return found


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("lower") / "graph.py"
    path.write_text(GRAPH.replace("users_scale", "lowered_scale"), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("target", "holds"), [("cpu", "#include <stdint.h>"), ("sm_80", "__global__"), ("sm_90a", "__global__"), ("gfx942", "__global__")]
)
def test_source_for_a_target(target: str, holds: str) -> None:
    output = run("gemm", "--target", target, "--set", SMALL)
    assert output.startswith(f"// gemm for {target}")
    assert holds in output


def test_json() -> None:
    (found,) = lowered("gemm", "--target", "sm_80", "--set", SMALL)
    assert (found["name"], found["target"], found["params"]) == ("gemm", "sm_80", ["a", "b", "c"])
    assert found["shared_bytes"] > 0
    assert found["binary"] is None


def test_a_binary_for_the_cpu(tmp_path: Path) -> None:
    output = tmp_path / "gemm.c"
    assert run("gemm", "--target", "cpu", "--binary", "--output", str(output), "--set", SMALL) == "gemm for cpu\n"
    assert output.read_text(encoding="utf-8").startswith("// gemm for cpu\n")
    assert output.with_suffix(".so").read_bytes().startswith(b"\x7fELF")
    assert len(list(tmp_path.iterdir())) == 2


def test_a_binary_for_cuda_where_nvcc_is() -> None:
    (found,) = lowered("gemm", "--target", "sm_80", "--binary", "--set", SMALL)
    if find_cuda_tool("nvcc") is None:
        assert found["binary"] is None
        assert any("nvcc" in note for note in found["notes"])
    else:
        assert Path(found["binary"]).suffix == ".cubin"
        assert found["emitted"]["registers"] > 0


def test_a_graph_is_fused_unless_it_must_not_be(graph_file: str) -> None:
    (fused,) = lowered(graph_file, "--target", "sm_80")
    assert len(fused["params"]) == 3
    apart = lowered(graph_file, "--target", "sm_80", "--no-fuse")
    assert [one["name"] for one in apart] == ["product", "scale"]
    assert "product" in apart[1]["params"]
    assert [one["name"] for one in lowered(graph_file, "--target", "sm_80", "--no-fuse", "--node", "scale")] == ["scale"]
    assert [one["name"] for one in lowered(graph_file, "--target", "sm_80", "--node", "scale")] == [fused["name"]]


def test_a_graph_becomes_a_folder(graph_file: str, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    printed = run(graph_file, "--target", "cpu", "--no-fuse", "--output", str(folder))
    assert printed == "product for cpu\nscale for cpu\n"
    assert sorted(path.name for path in folder.iterdir()) == ["product.c", "scale.c"]


def test_a_folder_is_not_left_half_written(graph_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails_for_the_second(path: Path, content: str | bytes) -> None:
        if path.stem == "scale":
            raise InputError(f"cannot write {path}: no space left on device")
        write_whole(path, content)

    monkeypatch.setattr(verb, "write_whole", fails_for_the_second)
    result = CliRunner().invoke(app, ["lower", graph_file, "--target", "cpu", "--no-fuse", "--output", str(tmp_path / "out")])
    assert result.exit_code == InputError.exit_code
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["gemm", "--target", "sm_91"], TargetError.exit_code, "no target is named 'sm_91'"),
        (["gem"], KernelError.exit_code, "no kernel is named 'gem'"),
        (["gemm", "--output", "{folder}/absent/gemm.c"], InputError.exit_code, "there is no folder"),
        (["gemm", "--node", "c"], InputError.exit_code, "gemm is one kernel, so it has no --node"),
        (["{graph_file}", "--node", "absent"], GraphError.exit_code, "has no kernel 'absent'; it has product, scale"),
        (["{graph_file}", "--output", "{folder}/absent/out"], InputError.exit_code, "cannot make the folder"),
    ],
)
def test_errors(arguments: list[str], code: int, said: str, graph_file: str, tmp_path: Path) -> None:
    filled = [argument.format(graph_file=graph_file, folder=tmp_path) for argument in arguments]
    result = CliRunner().invoke(app, ["lower", *filled])
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.startswith("mosaic: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
