"""`mosaic inspect`: what is told of registered kernels, of graphs, and of functions that nobody registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mosaic.cli.app import app
from mosaic.errors import GraphError, InputError, KernelError, ReadError
from tests.cli.files import GRAPH

UNREGISTERED = '''"""TileLang functions in the forms that there are, none of them registered."""

import tilelang
import tilelang.language as T


def add_one(M, block=32):
    @T.prim_func
    def main(x: T.Tensor((M,), "float32"), y: T.Tensor((M,), "float32")):
        with T.Kernel(T.ceildiv(M, block), threads=32) as b:
            for i in T.Parallel(block):
                y[b * block + i] = x[b * block + i] + 1.0

    return main


fixed = add_one(96)


@tilelang.jit
def compiled(M, block=32):
    return add_one(M, block)


def nothing(M):
    return M


def broken(M):
    raise RuntimeError("on purpose")
'''


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["inspect", *arguments], catch_exceptions=False)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def read_json(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(*arguments, "--json"))
    return found


@pytest.fixture(scope="module")
def graph_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inspect") / "graph.py"
    path.write_text(GRAPH.replace("users_scale", "inspected_scale"), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inspect") / "functions.py"
    path.write_text(UNREGISTERED, encoding="utf-8")
    return str(path)


def test_a_product() -> None:
    (found,) = read_json("gemm", "--set", "M=256,N=128,K=64,block_M=64,block_N=128,block_K=32")
    assert found["name"] == "gemm"
    assert sorted(axis["extent"] for axis in found["grid"]) == [1, 4]
    assert {(p["name"], tuple(p["shape"]), p["mode"]) for p in found["params"]} == {
        ("a", (256, 64), "read"),
        ("b", (64, 128), "read"),
        ("c", (256, 128), "write"),
    }
    assert found["work"] == 2 * 256 * 128 * 64
    reads = {access["tensor"]: access for access in found["accesses"] if access["mode"] == "read"}
    assert set(reads) == {"a", "b"}
    assert reads["a"]["loops"].startswith("k < 2 (pipelined, ")
    assert reads["a"]["region"].endswith(", 32*k : +32]")
    shared = [buffer for buffer in found["buffers"] if buffer["scope"].startswith("shared")]
    assert found["shared_bytes"] == sum(buffer["bytes"] for buffer in shared) > 0


def test_details_for_people() -> None:
    output = run("gemm", "--set", "M=256")
    assert output.splitlines()[0] == "gemm"
    for title in ("tensors", "accesses to device memory", "buffers on the chip", "tile operators"):
        assert title in output
    assert "blocks of 128 threads" in output


def test_a_graph_and_one_of_its_nodes(graph_file: str) -> None:
    assert [program["name"] for program in read_json(graph_file)] == ["product", "scale"]
    assert [program["name"] for program in read_json(graph_file, "--node", "scale")] == ["scale"]
    output = run(graph_file)
    assert "product" in output
    assert "gemm" in output


@pytest.mark.parametrize(
    ("name", "settings", "blocks"),
    [("add_one", "M=64", 2), ("add_one", "M=64,block=16", 4), ("fixed", None, 3), ("compiled", "M=160", 5)],
)
def test_functions_that_nobody_registered(functions: str, name: str, settings: str | None, blocks: int) -> None:
    (found,) = read_json(f"{functions}:{name}", *(["--set", settings] if settings else []))
    assert [axis["extent"] for axis in found["grid"]] == [blocks]
    assert {p["name"]: p["mode"] for p in found["params"]} == {"x": "read", "y": "write"}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["{functions}:absent"], InputError.exit_code, "has nothing called 'absent'"),
        (["{functions}:add_one"], InputError.exit_code, "TypeError: add_one() missing 1 required positional argument: 'M'"),
        (["{functions}:fixed", "--set", "M=3"], InputError.exit_code, "fixed is a PrimFunc and takes no settings"),
        (["{functions}:nothing", "--set", "M=3"], KernelError.exit_code, "'nothing' returns a int; it must return a TileLang PrimFunc"),
        (["{functions}:broken", "--set", "M=3"], InputError.exit_code, "functions.py, line 30: RuntimeError: on purpose"),
        (["{functions}:fixed", "--node", "x"], InputError.exit_code, "is one kernel, so it has no --node"),
        (["{graph_file}", "--node", "absent"], GraphError.exit_code, "has no kernel 'absent'; it has product, scale"),
    ],
)
def test_errors(arguments: list[str], code: int, said: str, functions: str, graph_file: str) -> None:
    filled = [argument.format(functions=functions, graph_file=graph_file) for argument in arguments]
    result = CliRunner().invoke(app, ["inspect", *filled])
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.startswith("mosaic: ")
    assert result.stderr.count("\n") == 1


def test_a_kernel_that_cannot_be_read(tmp_path: Path) -> None:
    """It allocates a tile whose size is not known before it runs."""
    path = tmp_path / "unreadable.py"
    path.write_text(
        """import tilelang.language as T


def unreadable():
    M = T.dynamic("M")

    @T.prim_func
    def main(x: T.Tensor((M,), "float32"), y: T.Tensor((M,), "float32")):
        with T.Kernel(1, threads=32):
            tile = T.alloc_shared((M,), "float32")
            T.copy(x, tile)
            T.copy(tile, y)

    return main
""",
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["inspect", f"{path}:unreadable"])
    assert result.exit_code == ReadError.exit_code
    assert result.stderr.startswith("mosaic: ")
    assert result.stderr.count("\n") == 1


def test_a_registered_kernel_of_a_file(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from mosaic.graph.kernel import kernel\n"
        "import tilelang.language as T\n"
        "@kernel(inputs={'x': 'M N : dtype'}, outputs={'y': 'M N : dtype'}, reference=lambda x: x)\n"
        "def doubled(M, N, dtype):\n"
        "    @T.prim_func\n"
        "    def main(x: T.Tensor((M, N), dtype), y: T.Tensor((M, N), dtype)):\n"
        "        with T.Kernel(T.ceildiv(M, 16), threads=64) as bx:\n"
        "            for i, j in T.Parallel(16, 32):\n"
        "                y[bx * 16 + i, j] = x[bx * 16 + i, j]\n"
        "    return main\n"
    )
    result = CliRunner().invoke(app, ["inspect", f"{source}:doubled", "--set", "M=64,N=32"])
    assert result.exit_code == 0, result.stderr
    assert "bx < 4: 4 blocks of 64 threads" in result.stdout
