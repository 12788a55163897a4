from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mosaic.harness import loaders
from mosaic.harness.published import tagged
from mosaic.harness.worker_memory import TorchMemory
from tests.harness.tasks import HONEST, HONEST_C

MEMORY = TorchMemory("cpu")


def load(folder: Path, text: str, file: str = "a.py", **changes: Any) -> loaders.Loaded:
    (folder / file).write_text(text)
    order = {
        "language": "pytorch", "entries": ["scale_add"], "file": file, "attributes": {"alpha": 1.5}, "symbols": ["M", "N"], "device": "cpu",
        **changes,
    }  # fmt: skip
    return loaders.load(order, str(folder), str(folder), MEMORY)


X, Y = torch.arange(6.0).reshape(2, 3), torch.ones(2, 3)


def test_python_gets_inputs_and_the_attributes_that_it_names(tmp_path: Path) -> None:
    made = load(tmp_path, HONEST)
    assert torch.equal(made.run([X, Y], [], {}), 1.5 * X + Y)
    assert not made.destination
    bare = load(tmp_path, "def scale_add(x, y):\n    return x\n")
    assert torch.equal(bare.run([X, Y], [], {}), X)


def test_python_may_write_to_outputs(tmp_path: Path) -> None:
    made = load(tmp_path, "def scale_add(x, y, z, alpha):\n    z.copy_(x * alpha + y)\n", style="destination")
    out = torch.empty(2, 3)
    made.run([X, Y], [out], {})
    assert made.destination
    assert torch.equal(out, 1.5 * X + Y)


def test_a_class_gets_the_references_parameters(tmp_path: Path) -> None:
    text = (
        "import torch\nclass ModelNew(torch.nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
        "        self.w = torch.nn.Parameter(torch.randn(n))\n    def forward(self, x):\n        return x * self.w\n"
    )
    made = load(tmp_path, text, entries=["gone", "ModelNew"])
    assert made.initialise is not None
    assert made.initialise([3], 5, {"w": torch.tensor([1.0, 2.0, 3.0]), "other": torch.ones(1)}) == ["other"]
    assert torch.equal(made.run([Y], [], {}), torch.tensor([[1.0, 2.0, 3.0]] * 2))


@pytest.mark.parametrize("text", ["x = 1", "raise ValueError", "import no_such_module", "def f(:"])
def test_what_cannot_be_imported_raises(tmp_path: Path, text: str) -> None:
    with pytest.raises((ImportError, ValueError, SyntaxError)):
        load(tmp_path, text)


def test_c_is_compiled_and_called_with_pointers_symbols_and_attributes(tmp_path: Path) -> None:
    made = load(tmp_path, HONEST_C, "a.c", language="c", build={"flags": ["-O1"]})
    out = torch.empty(2, 3)
    made.run([X, Y], [out], {"M": 2, "N": 3})
    assert torch.equal(out, 1.5 * X + Y)
    assert made.compiler is not None
    assert "-O1" in made.compiler["invocation"]
    assert made.binaries
    assert made.destination


def test_a_status_that_is_not_zero_is_a_launch_error(tmp_path: Path) -> None:
    made = load(tmp_path, "int scale_add() { return 7; }", "a.c", language="c", build={"returns": "status"})
    with pytest.raises(loaders.LaunchError, match="returned 7"):
        made.run([X, Y], [torch.empty(2, 3)], {"M": 2, "N": 3})


def test_compilers_say_what_they_don_t_like(tmp_path: Path) -> None:
    with pytest.raises(loaders.CompileError, match="error"):
        load(tmp_path, "int f( {", "a.c", language="c")
    with pytest.raises(loaders.CompileError, match="no way is known"):
        load(tmp_path, "", language="cobol")
    with pytest.raises(ImportError):
        load(tmp_path, "void other(void) {}", "a.c", language="c")


def test_arguments_survive_being_written() -> None:
    tensors: dict[str, torch.Tensor] = {}
    value = [1, 2.5, None, True, "a", (1, [2]), {"k": (3,)}, torch.ones(2)]
    back = loaders.plain(tagged(value, tensors), tensors)
    assert back[:7] == value[:7]
    assert torch.equal(back[7], torch.ones(2))
