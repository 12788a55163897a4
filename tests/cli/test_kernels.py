"""`mosaic kernels`: the table, one kernel's details, and both as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.cli.kernels import signature
from mosaic.cli.load import shipped_kernels
from mosaic.errors import InputError, KernelError
from mosaic.graph.kernel import find
from tests.cli.files import KERNEL


def mosaic(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["kernels", *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture(scope="module")
def users_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One file for all tests here: a kernel's name may not come from two files."""
    path = tmp_path_factory.mktemp("users") / "table.py"
    path.write_text(KERNEL.replace("users_scale", "table_scale"), encoding="utf-8")
    return str(path)


def test_the_table_names_every_kernel_that_ships() -> None:
    rows = {line.split()[1]: line for line in mosaic().splitlines() if line.startswith("│") and line.split()[1] != "│"}
    assert set(rows) == set(shipped_kernels())
    assert "eps=" in rows["layer_norm"]


def test_the_table_of_a_users_file(users_file: str) -> None:
    output = mosaic("--file", users_file)
    assert "table_scale" in output
    assert "x[M N] dtype → y[M N] dtype" in output
    assert "factor=2.0" in output
    assert "gemm" not in output


def test_details(users_file: str) -> None:
    output = mosaic("table_scale", "--file", users_file)
    assert "y = factor · x." in output
    lines = [line.split() for line in output.splitlines()]
    assert ["input", "x", "[M", "N]", "dtype"] in lines
    assert ["attribute", "factor", "default", "2.0"] in lines
    assert ["tunable", "block_N", "64", "of", "32,", "64"] in lines


def test_details_of_a_shipped_kernel_beside_a_users_file(users_file: str) -> None:
    assert "layer_norm" in mosaic("layer_norm", "--file", users_file)


def test_json_of_one() -> None:
    found = json.loads(mosaic("layer_norm", "--json"))
    kernel = find("layer_norm")
    assert found["name"] == "layer_norm"
    assert [role["name"] for role in found["inputs"]] == [role.name for role in kernel.inputs]
    assert found["digest"] == kernel.digest()
    for name, tunable in found["tunables"].items():
        assert tunable["default"] == kernel.default_tunables()[name]
        assert tunable["default"] in tunable["choices"]


def test_json_of_all() -> None:
    assert {kernel["name"] for kernel in json.loads(mosaic("--json"))} == set(shipped_kernels())


def test_signature() -> None:
    assert signature(find("gemm")) == "a[M K] dtype, b[K N] dtype → c[M N] dtype"


def test_errors(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["kernels", "layer_nrm"])
    assert result.exit_code == KernelError.exit_code
    assert result.stderr.startswith("mosaic: no kernel is named 'layer_nrm'; did you mean layer_norm")
    result = CliRunner().invoke(app, ["kernels", "--file", str(tmp_path / "absent.py")])
    assert result.exit_code == InputError.exit_code
    assert result.stderr == f"mosaic: there is no file {tmp_path / 'absent.py'}\n"
