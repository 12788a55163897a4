from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.harness.candidate import load_candidate
from mosaic.harness.definition import load_definition
from mosaic.harness.workload import load_workload
from tests.harness.tasks import HONEST, HONEST_C, write_candidate


def folder(path: Path, **changes: Any) -> Path:
    document = {"format": "mosaic-candidate", "version": 1, "name": "mine", "language": "c", "entry": "scale_add", "file": "k.c", **changes}
    (path / "k.c").write_text(HONEST_C)
    (path / "candidate.json").write_text(json.dumps(document))
    return path


def test_a_folder_is_read(tmp_path: Path) -> None:
    made = load_candidate(folder(tmp_path, build={"flags": ["-O2"]}, style="destination"))
    assert (made.name, made.language, made.entries("t"), made.style) == ("mine", "c", ("scale_add",), "destination")
    assert set(made.files) == {"candidate.json", "k.c"}
    assert load_candidate(tmp_path / "candidate.json").sha256 == made.sha256
    assert load_candidate(made) is made


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("a.py", HONEST, "pytorch"),
        ("a.py", "import triton\n", "triton"),
        ("a.py", "from tilelang import language as T\n", "tilelang"),
        ("a.py", "def broken(:", "pytorch"),
        ("a.c", HONEST_C, "c"),
        ("a.cpp", "", "c"),
        ("a.cu", "", "cuda"),
        ("a.so", "", "extension"),
    ],
)
def test_a_file_tells_its_language(tmp_path: Path, name: str, text: str, language: str) -> None:
    assert load_candidate(write_candidate(tmp_path, text, name)).language == language


def test_names_that_are_tried(tmp_path: Path) -> None:
    assert load_candidate(write_candidate(tmp_path, HONEST)).entries("scale_add") == ("scale_add", "kernel", "ModelNew", "Model", "forward")
    assert load_candidate(write_candidate(tmp_path, HONEST_C, "a.c")).entries("scale_add") == ("scale_add",)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"language": "cobol"}, "is not one of"),
        ({"file": "gone.c"}, "there is no file"),
        ({"style": "new"}, "return or destination"),
        ({"build": {"flag": 1}}, "unknown key 'flag'"),
        ({"dtypes": ["half"]}, "dtype 'half' is unknown"),
        ({"entry": 3}, "must be a str"),
        ({"format": "x"}, "with format"),
    ],
)
def test_what_is_no_candidate_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_candidate(folder(tmp_path, **changes))


def test_a_missing_or_unknown_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no candidate at"):
        load_candidate(tmp_path / "gone.py")
    with pytest.raises(InputError, match="a candidate is a folder"):
        load_candidate(write_candidate(tmp_path, "", "a.rs"))


def test_nothing_of_it_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    load_candidate(write_candidate(tmp_path, f"open({str(mark)!r}, 'w')"))
    assert not mark.exists()


def test_what_needs_pytorch(tmp_path: Path) -> None:
    python, c = (load_candidate(write_candidate(tmp_path, text, name)) for text, name in ((HONEST, "a.py"), (HONEST_C, "a.c")))
    assert [python.needs_torch("cpu"), c.needs_torch("cpu"), c.needs_torch("cuda")] == [True, False, True]


def test_the_examples_for_a_gpu_load_and_compile(tmp_path: Path) -> None:
    task = Path(__file__).parents[2] / "examples" / "gpu" / "rms_norm"
    definition = load_definition(task)
    assert [case.set for case in load_workload(None, definition).cases] == ["given", "odd"]
    triton, cuda = load_candidate(task / "candidates" / "rms_norm_triton.py"), load_candidate(task / "candidates" / "cuda")
    assert (triton.language, cuda.language) == ("triton", "cuda")
    assert definition.name in triton.entries(definition.name)
    if shutil.which("nvcc") is None:
        pytest.skip("no nvcc here")
    command = [
        "nvcc",
        "-std=c++17",
        "-arch=sm_90a",
        "-cubin",
        "-o",
        str(tmp_path / "a.cubin"),
        str(task / "candidates" / "cuda" / cuda.file),
    ]
    assert subprocess.run(command, check=False).returncode == 0
