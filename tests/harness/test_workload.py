from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mosaic.errors import InputError
from mosaic.harness.definition import load_definition
from mosaic.harness.workload import default_workload, hidden_cases, load_workload
from tests.harness.tasks import PUBLISHED, WORKLOAD, write_task


def test_a_workload_is_read_and_written(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path))
    made = load_workload(None, task)
    assert [case.name for case in made.cases] == ["small", "odd"]
    assert made.timing.samples == 6
    (tmp_path / "again.json").write_text(json.dumps(made.document()))
    assert load_workload(tmp_path / "again.json", task) == made


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"cases": [{"symbols": {"M": 3}}]}, "a case must give M, N"),
        ({"cases": [{"symbols": {"M": 3, "N": 65}}]}, "N = 65 is not what the task allows"),
        ({"cases": [{"set": "odd"}, {"set": "other"}]}, "must give|not one of"),
        ({"cases": [3]}, "must be an object"),
        ({"distributions": ["gaussian"]}, "there is no distribution 'gaussian'"),
        ({"distributions": []}, "at least one distribution"),
        ({"trials": 0}, "at least 1"),
        ({"hidden": True}, "must be a int"),
        ({"timing": {"cases": ["gone"]}}, "names the case 'gone'"),
        ({"timing": {"cache": "cold"}}, "is unknown"),
        ({"surprise": 1}, "unknown key"),
        ({"version": 2}, "version 1"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    task = load_definition(write_task(tmp_path, workload={**WORKLOAD, **changes}))
    with pytest.raises(InputError, match=says):
        load_workload(None, task)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    cases = [{"name": "a", "symbols": {"M": size, "N": 1}} for size in (1, 2)]
    task = load_definition(write_task(tmp_path, workload={**WORKLOAD, "cases": cases}))
    with pytest.raises(InputError, match="the same name"):
        load_workload(None, task)


def test_the_default_has_a_given_an_odd_and_hidden_cases(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path, symbols={"M": {"min": 1, "max": 4096}, "N": {"min": 8, "max": 8192, "multiple": 8}}))
    made = default_workload(task)
    assert [(case.set, case.symbols) for case in made.cases] == [("given", {"M": 256, "N": 256}), ("odd", {"M": 37, "N": 56})]
    assert made.hidden == 2


@given(st.text(min_size=1), st.integers(1, 40), st.integers(1, 8), st.integers(0, 500))
def test_hidden_shapes_are_allowed_and_repeatable(seed: str, least: int, multiple: int, more: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        most = least * multiple + more
        symbols = {"M": {"min": least, "max": most, "multiple": multiple}, "N": {"min": 1, "max": 7}}
        task = load_definition(write_task(Path(folder), symbols=symbols))
    workload = default_workload(task)
    cases = hidden_cases(task, workload, seed)
    assert cases == hidden_cases(task, workload, seed)
    for case in cases:
        assert case.set == "hidden"
        assert all(task.symbols[name].allows(size) for name, size in case.symbols.items())


def test_another_seed_gives_other_hidden_shapes(tmp_path: Path) -> None:
    task = load_definition(write_task(tmp_path))
    workload = default_workload(task)
    assert len({str([case.symbols for case in hidden_cases(task, workload, str(seed))]) for seed in range(20)}) > 10


def test_the_published_form_has_one_case(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    task = load_definition(tmp_path / "net.py")
    made = load_workload(None, task)
    assert [case.name for case in made.cases] == ["published"]
    assert made.hidden == 0
    assert hidden_cases(task, made, "s") == ()


def test_the_cache_is_flushed_on_a_gpu_unless_something_else_is_said(tmp_path: Path) -> None:
    timing = default_workload(load_definition(write_task(tmp_path))).timing
    assert (timing.on("cpu").cache, timing.on("cuda").cache) == ("warm", "flushed")
