"""What holds for the repository as a whole: it can be built and installed, its documents are true, its files are of a readable size."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path
from typing import Any, Final

import pytest
import torch

from mosaic.version import __version__

ROOT: Final = Path(__file__).parents[1]
SOURCE: Final = ROOT / "src" / "mosaic"
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

FILE_LINES: Final = 400
FUNCTION_LINES: Final = 60

# Longer than that, each with a reason that a reader would accept: "file" or "file::function".
_ONE_KERNEL: Final = "one TileLang kernel, whose loops share their tiles: it can't be split"
LONG: Final[dict[str, str]] = {
    "benchmarks/layout_packets.py": "one short function for each kind of packet, over the same few helpers",
    "src/mosaic/pipeline.py::fuse": "the way through, flat: a line and a reason a stage, below a signature and docstring of 35 lines",
    "src/mosaic/kernels/attention.py::attention": _ONE_KERNEL,
    "src/mosaic/kernels/attention.py::attention_causal": _ONE_KERNEL,
    "src/mosaic/kernels/attention.py::attention_masked": _ONE_KERNEL,
    "tests/tiles/foreign_attention.py::flash": _ONE_KERNEL,
    "tests/stitch/test_legality.py": "every named check, each with the kernels that trip it and those that do not",
}

# Source files (as src/mosaic/...) that no test file mirrors, each with where they are tested.
TESTED_ELSEWHERE: Final[dict[str, str]] = {
    "cli/options.py": "it holds declarations only; tests/cli/test_app.py tries every verb's examples against them",
    "__main__.py": "tests/cli/test_app.py runs `python -m mosaic`",
    "version.py": "tests/cli/test_app.py and the wheel's test here",
}


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def python_files(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def package_files() -> set[str]:
    """Every file of the package, relative to src/, as git would have it."""
    return {
        str(path.relative_to(SOURCE.parent))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


# The wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    built = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", *options, str(ROOT)], capture_output=True, text=True, check=False, timeout=300
    )
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment that has the wheel, and sees this environment's other packages but not this source tree."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False)
    paths = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--disable-pip-version-check"]
    installed = subprocess.run([*command, "--no-deps", str(wheel)], capture_output=True, text=True, check=False, timeout=300)
    assert installed.returncode == 0, installed.stderr
    # A path file's entries are searched, but their own path files (such as that of an editable install) are not followed.
    Path(paths["purelib"], "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    return folder


def run_elsewhere(elsewhere: Path, *command: str) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [str(elsewhere / "bin" / command[0]), *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        cwd=elsewhere,
        env=environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata_name,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(metadata_name).decode())
    folder = metadata_name.rpartition("/")[0]
    assert {name for name in names if not name.startswith(folder)} == package_files()
    assert f"{folder}/licenses/LICENSE" in names
    assert "mosaic/py.typed" in names
    assert (metadata["Name"], metadata["Version"]) == ("mosaic-compiler", __version__)
    assert metadata["License-Expression"] == "Apache-2.0"


def test_the_wheel_works_without_the_source_tree(elsewhere: Path) -> None:
    where = run_elsewhere(elsewhere, "python", "-c", "import mosaic; print(mosaic.__file__)")
    assert where.startswith(str(elsewhere))
    assert run_elsewhere(elsewhere, "mosaic", "--version") == f"mosaic {__version__}\n"
    assert "gemm" in run_elsewhere(elsewhere, "mosaic", "kernels")


# Sizes


def lengths(path: Path) -> Iterator[tuple[str, int, int]]:
    """For a file and each of its functions: the name, its lines, and how many are allowed."""
    name = str(path.relative_to(ROOT))
    text = path.read_text(encoding="utf-8")
    yield name, text.count("\n"), FILE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            yield f"{name}::{node.name}", node.end_lineno - node.lineno + 1, FUNCTION_LINES


def test_files_and_functions_are_short_or_have_a_reason() -> None:
    too_long = {name: count for path in python_files("src", "tests", "benchmarks") for name, count, most in lengths(path) if count > most}
    unexplained = {name: count for name, count in too_long.items() if name not in LONG}
    assert unexplained == {}
    assert set(LONG) <= set(too_long), "a reason is given for what is short"


# The tests mirror the source


def only_collects_names(path: Path) -> bool:
    """Whether an `__init__.py` holds only its docstring, imports and `__all__`."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.Assign(targets=[ast.Name(id="__all__")]):
                pass
            case _:
                return False
    return True


def test_every_source_file_has_its_test() -> None:
    missing = []
    for path in python_files("src"):
        relative = path.relative_to(SOURCE)
        if path.name == "__init__.py" and only_collects_names(path):
            continue
        mirror = ROOT / "tests" / relative.parent / f"test_{path.stem.strip('_')}.py"
        if not mirror.is_file() and str(relative) not in TESTED_ELSEWHERE:
            missing.append(f"src/mosaic/{relative} needs {mirror.relative_to(ROOT)}, or a line in TESTED_ELSEWHERE")
    assert missing == []


def test_no_exemption_is_left_over() -> None:
    for name in TESTED_ELSEWHERE:
        path = SOURCE / name
        assert path.is_file(), name
        assert not (ROOT / "tests" / path.relative_to(SOURCE).parent / f"test_{path.stem.strip('_')}.py").exists(), name


def test_every_package_says_what_it_is_for() -> None:
    for folder in {path.parent for path in python_files("src")} - {SOURCE.parent}:
        assert (folder / "__init__.py").is_file(), folder
    for path in python_files("src"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


# The documents


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/architecture.md"])
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text_of(name)):
        if "://" not in target:
            assert (ROOT / name).parent.joinpath(target).exists(), f"{name} links to {target}"


def test_the_commands_in_the_documents_exist() -> None:
    from mosaic.cli.app import app

    documents = text_of("README.md") + text_of("CONTRIBUTING.md") + text_of("CHANGELOG.md")
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^    |`)make ([a-z]+)", documents, re.MULTILINE)) <= targets
    verbs = {command.name for command in app.registered_commands} | {group.name for group in app.registered_groups}
    assert set(re.findall(r"(?:^    |`)mosaic ([a-z-]+)", documents, re.MULTILINE)) <= verbs
    assert set(re.findall(r"^\| `mosaic ([a-z-]+)` \|", documents, re.MULTILINE)) == verbs


def test_the_readmes_kernel_computes_what_it_says(tmp_path: Path) -> None:
    from mosaic.cli.load import load_graph
    from mosaic.graph.reference import run

    (example,) = re.findall(r"^```python\n(.*?)^```", text_of("README.md"), re.MULTILINE | re.DOTALL)
    path = tmp_path / "scaled.py"
    path.write_text(example, encoding="utf-8")
    graph = load_graph(path)
    generator = torch.Generator().manual_seed(1)
    inputs = {name: torch.rand(graph.tensors[name].shape, generator=generator).half() for name in graph.inputs}
    result = run(graph, inputs, precision="float64")[graph.outputs[0]]
    assert torch.allclose(result, inputs["a"].double() @ inputs["b"].double() * inputs["scale"].double())


def test_the_changelog_knows_this_version() -> None:
    assert re.search(rf"^## {re.escape(__version__)}\b", text_of("CHANGELOG.md"), re.MULTILINE)


def test_the_map_has_a_line_for_every_file() -> None:
    listed = re.findall(r"^\| `([\w/.]+\.py)` \| .+ \|$", text_of("docs/architecture.md"), re.MULTILINE)
    assert len(listed) == len(set(listed)), "a file is listed twice"
    files = {
        str(path.relative_to(SOURCE)) for path in python_files("src") if not (path.name == "__init__.py" and only_collects_names(path))
    }
    assert {"listed but not there": set(listed) - files, "there but not listed": files - set(listed)} == {
        "listed but not there": set(),
        "there but not listed": set(),
    }


# The set-up


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_required_is_pinned() -> None:
    lines = [line for line in text_of("constraints.txt").splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line) for line in lines)
    pinned = {normal(line.partition("==")[0]) for line in lines}
    assert len(pinned) == len(lines)
    extras = PROJECT["optional-dependencies"].values()
    required = [requirement for group in (PROJECT["dependencies"], *extras) for requirement in group]
    assert {normal(re.split(r"[^\w.-]", requirement)[0]) for requirement in required} <= pinned


def test_each_dependency_has_its_reason_in_the_map() -> None:
    text = text_of("docs/architecture.md")
    extras = PROJECT["optional-dependencies"].values()
    for requirement in (requirement for group in (PROJECT["dependencies"], *extras) for requirement in group):
        name = re.split(r"[^\w.-]", requirement)[0]
        assert f"`{name}`" in text, f"{name} has no line in docs/architecture.md"


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in text_of(".ci/run")


@pytest.mark.parametrize("version", ["3.10", "3.14"])
def test_setup_refuses_other_pythons_in_a_sentence(version: str, tmp_path: Path) -> None:
    """With a stand-in for the interpreter that says it is another version."""
    python = tmp_path / "python"
    major, minor = version.split(".")
    python.write_text(
        f"""#!/bin/sh
[ "$1" = "--version" ] && echo "Python {version}.0" && exit
exec {sys.executable} -c "import sys; sys.version_info = ({major}, {minor}, 0); exec(sys.argv[1])" "$2"
""",
        encoding="utf-8",
    )
    python.chmod(0o755)
    result = subprocess.run(
        [str(ROOT / "scripts" / "setup")],
        env={**os.environ, "PYTHON": str(python)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"setup: Mosaic needs Python 3.11, 3.12 or 3.13, but there is Python {version}.0; ")
    assert result.stderr.count("\n") == 1


def test_setup_leaves_a_foreign_environment_alone(tmp_path: Path) -> None:
    for name in ("scripts/setup", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    mine = tmp_path / ".venv" / "mine"
    mine.parent.mkdir()
    mine.write_text("precious", encoding="utf-8")
    result = subprocess.run(
        [str(tmp_path / "scripts" / "setup")],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 1
    assert result.stderr == "setup: there is a .venv that this script did not make; move it away, then run make setup again\n"
    assert mine.read_text(encoding="utf-8") == "precious"
