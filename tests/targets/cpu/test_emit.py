"""The emitted C: as it was, the same in every run, and right; and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from mosaic.errors import ReadError
from mosaic.targets.cpu import emit_c
from mosaic.targets.cpu.emit import emit
from tests.targets.cpu import epilogue
from tests.targets.cpu.running import run

GOLDEN: Final = Path(__file__).parents[2] / "golden" / "targets" / "cpu"

PROGRAMS: Final[dict[str, Callable[[], Any]]] = {
    "gemm_bias_gelu": lambda: epilogue.gemm_bias_gelu(70, 100, 50),
    "softmax_rows": lambda: epilogue.softmax_rows(6, 100),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_c_is_what_it_was(name: str, golden: Callable[[str, str], None]) -> None:
    """The kernel's own part; the runtime header before it is a file to be read by itself."""
    emitted = emit(PROGRAMS[name]())
    golden(f"targets/cpu/{name}.c", f"/* needs: {' '.join(emitted.sections)} */\n{emitted.text}")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.iterdir()} == set(PROGRAMS)


def test_the_same_program_gives_the_same_c_in_another_process() -> None:
    imports = "from tests.targets.cpu import epilogue; from mosaic.targets.cpu import emit_c"
    script = f"{imports}; print(emit_c(epilogue.softmax_rows(6, 100)), end='')"
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": f"{root / 'src'}:{root}"}
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, timeout=120)
    assert result.stdout == emit_c(epilogue.softmax_rows(6, 100))


@pytest.mark.parametrize(("M", "N", "K"), [(70, 100, 50), (1, 1, 1), (64, 128, 64)])
def test_product_and_epilogue(M: int, N: int, K: int) -> None:
    a, b, bias, c = torch.randn(M, K).half(), torch.randn(K, N).half(), torch.randn(N).half(), torch.zeros(M, N).half()
    run(epilogue.gemm_bias_gelu(M, N, K), a, b, bias, c)
    want = torch.nn.functional.gelu(a.double() @ b.double() + bias.double(), approximate="tanh")
    assert torch.allclose(c.double(), want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("M", "N"), [(6, 100), (1, 1), (13, 64)])
def test_softmax(M: int, N: int) -> None:
    x, y = torch.randn(M, N).bfloat16(), torch.zeros(M, N).bfloat16()
    run(epilogue.softmax_rows(M, N), x, y)
    assert torch.allclose(y.double(), x.double().softmax(1), rtol=2**-8, atol=1e-6)


def test_grids_follow_each_other() -> None:
    x, y, z = torch.randn(100), torch.zeros(100), torch.zeros(100)
    run(epilogue.two_grids(100), x, y, z)
    assert torch.equal(z, ((x + 1) * 2).flip(0))


def test_names_that_c_has_other_uses_for() -> None:
    x, y = torch.randn(64), torch.zeros(64)
    run(epilogue.named(), x, y)
    assert torch.allclose(x, y, atol=1e-5)


def test_only_what_is_used_is_in_the_file() -> None:
    text = emit_c(epilogue.two_grids(16))
    assert "ms_f16_to_f32" not in text
    assert "ms_exp_f32" not in text
    assert "pragma omp" not in text.partition("/* two_grids */")[2], "one block needs no threads"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (epilogue.barriers, r"kernel 'barriers' .* uses the barrier 'ready'"),
        (epilogue.by_thread, r"kernel 'by_thread' .* uses threadIdx explicitly"),
        (epilogue.workspace, r"kernel 'workspace' .* allocates the global buffer 'scratch'"),
    ],
)
def test_what_cannot_run_on_a_cpu_is_refused_in_a_sentence(build: Callable[[], Any], message: str) -> None:
    with pytest.raises(ReadError, match=message):
        emit_c(build())
