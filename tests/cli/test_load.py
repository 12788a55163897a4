"""Loading users' files: what is found, and the one sentence when it is not."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from pathlib import Path

import pytest

from mosaic.cli.load import load_graph, load_kernels, load_module, shipped_kernels
from mosaic.errors import GraphError, InputError, KernelError, MosaicError
from mosaic.graph.serialize import save
from tests.cli.files import GRAPH, KERNEL


def write(folder: Path, text: str, name: str = "users.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_kernels_of_a_file(tmp_path: Path) -> None:
    path = write(tmp_path, KERNEL)
    found = load_kernels(path)
    assert list(found) == ["users_scale"]
    assert found["users_scale"].family == "users"
    assert "users_scale" not in shipped_kernels()
    assert "gemm" in shipped_kernels()


def test_a_relative_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, KERNEL.replace("users_scale", "relative_scale"))
    monkeypatch.chdir(tmp_path)
    assert list(load_kernels(Path("./users.py"))) == ["relative_scale"]


def test_a_graph_from_a_function(tmp_path: Path) -> None:
    graph = load_graph(write(tmp_path, GRAPH.replace("users_scale", "function_scale")))
    assert [node.name for node in graph.nodes] == ["product", "scale"]


def test_a_graph_from_a_variable(tmp_path: Path) -> None:
    text = GRAPH.replace("users_scale", "variable_scale") + "\n\ngraph = graph()\n"
    assert load_graph(write(tmp_path, text)).kernel_count == 2


def test_a_saved_graph(tmp_path: Path) -> None:
    graph = load_graph(write(tmp_path, GRAPH.replace("users_scale", "saved_scale")))
    save(graph, tmp_path / "saved.json")
    assert [node.name for node in load_graph(tmp_path / "saved.json").nodes] == ["product", "scale"]


def test_a_saved_graph_whose_kernel_has_changed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, GRAPH.replace("users_scale", "changed_scale"))
    save(load_graph(path), tmp_path / "saved.json")
    path.write_text(path.read_text().replace("block_N=64", "block_N=32"))
    load_kernels(path)
    load_graph(tmp_path / "saved.json")
    assert "mosaic: warning: kernel 'changed_scale' has changed" in capsys.readouterr().err


def test_modules_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    write(tmp_path, "NUMBER = 7\n", "beside_for_test_load.py")
    assert load_module(write(tmp_path, "from beside_for_test_load import NUMBER\n")).NUMBER == 7


def test_a_file_replaces_no_library(tmp_path: Path) -> None:
    import json

    assert load_module(write(tmp_path, "MINE = True\n", "json.py")).MINE
    assert json.dumps([1]) == "[1]"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("x = (\n", InputError, "users.py, line 1: '(' was never closed"),
        ("x = 1\n\ny = 1 / 0\n", InputError, "users.py, line 3: ZeroDivisionError: division by zero"),
        ("def graph():\n    raise ValueError\n", InputError, "users.py, line 2: ValueError"),
        (
            "import no_such_module_anywhere\n",
            InputError,
            "users.py, line 1: ModuleNotFoundError: No module named 'no_such_module_anywhere'",
        ),
        ("import sys\nsys.exit(3)\n", InputError, "users.py, line 2: the file ends the program; a file to be loaded must not"),
        ("x = 1\n", InputError, "users.py builds no graph; give it a function graph()"),
        ("graph = 3\n", InputError, "graph is of type int, but must be a mosaic.Graph"),
        ("def graph():\n    return None\n", InputError, "graph is of type NoneType"),
        (
            "def graph(batch):\n    return None\n",
            InputError,
            "users.py: TypeError: graph() missing 1 required positional argument: 'batch'",
        ),
        (
            "import mosaic\ng = mosaic.Graph('g')\ng.call('no_such_kernel')\n",
            KernelError,
            "users.py, line 3: no kernel is named 'no_such_kernel'",
        ),
        ("import json\njson.loads('{')\n", InputError, "users.py, line 2: JSONDecodeError: "),
        ("import mosaic\nmosaic.Graph('g').input('x', (0,), 'float16')\n", GraphError, "users.py, line 2: "),
        ("\0", InputError, "users.py: "),
    ],
)
def test_what_is_wrong_with_a_graph_file(tmp_path: Path, text: str, error: type[MosaicError], said: str) -> None:
    with pytest.raises(error) as raised:
        load_graph(write(tmp_path, text))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_wrong_with_a_path(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load_graph(tmp_path / "absent.py")
    with pytest.raises(InputError, match=r"cannot read the graph .*absent\.json: No such file"):
        load_graph(tmp_path / "absent.json")
    with pytest.raises(InputError, match="is no graph; give a Python file"):
        load_graph(tmp_path / "graph.txt")
    with pytest.raises(InputError, match="is no file"):
        load_kernels(tmp_path)
    with pytest.raises(InputError, match="registers no kernel"):
        load_kernels(write(tmp_path, "x = 1\n"))
    with pytest.raises(InputError, match=r"its name must end in \.py"):
        load_kernels(write(tmp_path, "x = 1\n", "users.txt"))
    with pytest.raises(InputError, match="truncated or no JSON"):
        load_graph(write(tmp_path, '{"format": "mosaic-gr', "cut.json"))


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the import system sees it; the tests may run as root, who may read every file."""

    def refuse(self: SourceFileLoader, path: str) -> bytes:
        raise PermissionError(13, "Permission denied", path)

    path = write(tmp_path, KERNEL)
    monkeypatch.setattr(SourceFileLoader, "get_data", refuse)
    with pytest.raises(InputError, match=r"users\.py: PermissionError: \[Errno 13\] Permission denied"):
        load_kernels(path)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "users.py"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"users\.py"):
        load_kernels(path)
