from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.harness.definition import Symbol, load_definition
from tests.harness.tasks import PUBLISHED, SCALE_ADD, write_task


def test_a_task_is_read(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path))
    assert (task.name, [role.name for role in task.inputs], [role.name for role in task.outputs]) == ("scale_add", ["x", "y"], ["z"])
    assert task.inputs[0].shape({"M": 3, "N": 4}) == (3, 4)
    assert set(task.files) == {"definition.json", "reference.py", "workload.json"}
    assert not task.published


def test_its_hash_changes_with_any_file(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    before = load_definition(folder).sha256
    (folder / "reference.py").write_text("def reference(x, y, *, alpha):\n    return alpha * x + 2 * y\n")
    assert load_definition(folder).sha256 != before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "no name"}, "letters, digits"),
        ({"format": "other"}, "must be a JSON object with format"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"outputs": {}}, "has no outputs"),
        ({"outputs": {"x": {"shape": ["M"], "dtype": "float32"}}}, "both an input and an output"),
        ({"inputs": {"x": {"shape": ["K"], "dtype": "float32"}}}, "needs the symbol 'K'"),
        ({"inputs": {"x": {"shape": ["M"], "dtype": "float31"}}}, "unknown dtype 'float31'"),
        ({"inputs": {"x": {"shape": ["M M"], "dtype": "float32"}}}, "no number, symbol"),
        ({"inputs": {"x": {"shape": ["M"], "dtype": "float32", "range": [2, 1]}}}, "lowest, highest"),
        ({"symbols": {"M": {"min": 5, "max": 6, "multiple": 4}}}, "allows no size"),
        ({"symbols": {"M": 5}}, "must be a name with"),
        ({"reference": {"file": "gone.py"}}, "there is no file 'gone.py'"),
        ({"invariants": {"file": "gone.py", "functions": []}}, "there is no file 'gone.py'"),
        ({"attributes": {"a": None}}, "must be a number"),
    ],
)
def test_what_is_no_task_is_refused_in_a_sentence(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_definition(write_task(tmp_path, **changes))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", "[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    folder = write_task(tmp_path)
    (folder / "definition.json").write_text(text)
    with pytest.raises(InputError, match="the task"):
        load_definition(folder)


def test_files_may_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    folder = write_task(tmp_path)
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leads out"):
        load_definition(folder)


def test_a_size_below_one_is_refused(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path, outputs={"z": {"shape": ["M-8", "N"], "dtype": "float32"}}))
    with pytest.raises(InputError, match="at least 1"):
        task.outputs[0].shape({"M": 8, "N": 1})


def test_the_published_form_is_a_task_by_itself(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    by_file, by_folder = load_definition(tmp_path / "net.py"), load_definition(tmp_path)
    assert by_file.published
    assert by_file.sha256 == by_folder.sha256
    assert (by_file.name, by_file.reference) == ("net", ("net.py", "Model"))


def test_python_without_a_model_is_no_task(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("x = 1")
    for path in (tmp_path / "net.py", tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match="no task"):
            load_definition(path)


def test_symbols_say_what_they_allow() -> None:
    symbol = Symbol(8, 64, 8)
    assert [symbol.allows(size) for size in (0, 8, 12, 64, 72)] == [False, True, False, True, False]


def test_a_loaded_task_is_taken_as_it_is(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path))
    assert load_definition(task) is task
    assert json.loads(task.files["definition.json"])["name"] == SCALE_ADD["name"]
