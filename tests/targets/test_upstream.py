"""The wrapper around TileLang: stable texts of programs, refusals in one line, nothing printed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import mosaic
from mosaic.stitch.finish import NO_SPECIALIZATION
from mosaic.targets import upstream
from mosaic.targets.target import TARGETS, find
from tests.targets import programs

GPUS = [name for name, target in TARGETS.items() if target.kind != "cpu"]


def test_a_text_tells_programs_apart() -> None:
    built = [
        *(programs.gemm(), programs.gemm(stages=3), programs.gemm(threads=256), programs.gemm(dtype="bfloat16"), programs.gemm(M=512)),
        *(programs.row_norm(), programs.sequence(), programs.branches(), programs.nest(), programs.nest(carried=False)),
        # These two differ in nothing but the annotated layout.
        *(programs.one_layout(by_row=True), programs.one_layout(by_row=False)),
    ]
    assert len({upstream.canonical(program) for program in built}) == len(built)


@pytest.mark.parametrize("build", [programs.gemm, programs.branches, programs.one_layout, programs.free_sizes])
@pytest.mark.parametrize("target", ["sm_90a", "gfx942"])
def test_a_text_is_the_same_before_and_after_lowering(build: Callable[[], Any], target: str) -> None:
    program = build()
    before = upstream.canonical(program)
    upstream.lower_source(program, find(target), {})
    assert upstream.canonical(program) == before == upstream.canonical(build())


PRINT_DIGESTS = """
import hashlib
from mosaic.targets import upstream
from tests.targets import programs
for program in (programs.gemm(), programs.one_layout(), programs.branches()):
    print(hashlib.sha256(upstream.canonical(program)).hexdigest())
"""


# Not all of sys.path: other tests load users' files, whose folders come first in it.
PATH: Final = os.pathsep.join([str(Path(mosaic.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])


def test_a_text_is_the_same_in_every_process() -> None:
    here = [hashlib.sha256(upstream.canonical(p)).hexdigest() for p in (programs.gemm(), programs.one_layout(), programs.branches())]
    environment = {**os.environ, "PYTHONPATH": PATH, "PYTHONHASHSEED": "12345"}
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PRINT_DIGESTS], capture_output=True, text=True, check=True, env=environment, cwd=root)
    assert done.stdout.split() == here


def test_a_text_holds_no_path_of_this_machine() -> None:
    assert b"programs.py" not in upstream.canonical(programs.gemm())


@pytest.mark.parametrize("target", GPUS)
def test_launches_are_what_the_source_says(target: str) -> None:
    source = upstream.lower_source(programs.gemm(), find(target), {})
    (launch,) = source.launches
    assert f"void __launch_bounds__({launch.threads}" in source.text
    assert launch.name in source.text
    # Two operands of 64×32 halves, with one buffer or several.
    assert launch.dynamic_shared_bytes % (2 * 64 * 32 * 2) == 0


def test_warp_specialization_can_be_switched_off() -> None:
    (with_it,) = upstream.lower_source(programs.gemm(), find("sm_90a"), {}).launches
    (without,) = upstream.lower_source(programs.gemm(), find("sm_90a"), {NO_SPECIALIZATION: True}).launches
    assert (with_it.threads, without.threads) == (256, 128)


@pytest.mark.parametrize("target", ["sm_80", "sm_90a", "sm_100a", "gfx942"])
def test_a_refusal_is_one_line_and_nothing_is_printed(target: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(upstream.Refused, match=r"^Layout infer conflict between rows and columns in T\.Parallel loop$"):
        upstream.lower_source(programs.conflicting_layouts(), find(target), {})
    assert capfd.readouterr() == ("", "")


def test_warnings_are_handed_on_instead_of_printed(capfd: pytest.CaptureFixture[str]) -> None:
    source = upstream.lower_source(programs.gemm(), find("gfx942"), {})
    assert capfd.readouterr() == ("", "")
    assert all("ROCm version" not in warning for warning in source.warnings)
    assert [warning[:30] for warning in source.warnings] == ["T.vectorized loop over `local_"]


def test_what_another_thread_prints_meanwhile_is_printed() -> None:
    script = (
        "import sys, threading, os\n"
        "from mosaic.targets import upstream\n"
        "with upstream.captured_output() as output:\n"
        "    thread = threading.Thread(target=lambda: print('from a thread', file=sys.stderr))\n"
        "    thread.start(); thread.join()\n"
        "    os.write(2, b'from C\\n')\n"
        "assert output.text == 'from C\\n', output.text\n"
        "print('after', file=sys.stderr)\n"
    )
    environment = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "from a thread\nafter\n")


def test_only_one_thread_captures_at_a_time() -> None:
    seen: list[str] = []

    def capture(number: int) -> None:
        with upstream.captured_output() as output:
            os.write(2, f"line {number}\n".encode())
        seen.append(output.text)

    threads = [threading.Thread(target=capture, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == sorted(f"line {number}\n" for number in range(20))


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ("Check failed: (has_best) is false: no available layout found\n", "no available layout found"),
        ("InternalError: Check failed: (M % 16 == 0) is false: M must be divisible by 16", "M must be divisible by 16"),
        ("Layout infer conflict between F and G:\n    loop Fragment(...)\n", "Layout infer conflict between F and G"),
        ("Check failed: block_size >= warp_size (33 vs. 64) : T.gemm needs a wavefront", "T.gemm needs a wavefront"),
        ("StructuralEqual check failed, caused by lhs at <root>[1]:\n(8, 64)\nand rhs at <root>[1]:\n(8, 8)", "(8, 64) and (8, 8)"),
        ("x" * 1000, "x" * 297 + "..."),
    ],
)
def test_the_essence_of_a_message(message: str, wanted: str) -> None:
    assert upstream.essence(RuntimeError(message)).removeprefix("shapes that should be equal are not: ") == wanted


def test_an_error_without_a_message_says_where_it_was() -> None:
    with pytest.raises(AssertionError) as caught:
        raise AssertionError
    assert upstream.essence(caught.value) == "AssertionError in test_an_error_without_a_message_says_where_it_was (test_upstream.py)"


def test_declared_threads() -> None:
    assert upstream.declared_threads(programs.gemm(threads=256)) == 256
    assert upstream.declared_threads(programs.branches()) == 128


def test_the_includes_are_there() -> None:
    templates, cutlass = (Path(flag.removeprefix("-I")) for flag in upstream.include_flags())
    assert (templates / "tl_templates" / "cuda" / "common.h").is_file()
    assert (cutlass / "cute").is_dir()
