"""The corpus is whole, and its cheats are real: a judge of the usual sort falls for them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from mosaic.errors import InputError
from mosaic.harness.audit import corpus
from mosaic.harness.candidate import load_candidate
from mosaic.harness.cheats import CHEATS
from mosaic.harness.definition import load_definition
from tests.harness import naive

TRIES = 6
FOOLED = [entry for entry in corpus.entries("cheats") if entry.naive]


def test_every_way_to_cheat_is_there_under_its_name() -> None:
    assert corpus.cheat_names() == {cheat.number: name for name, cheat in CHEATS.items()}
    assert set(corpus.cheat_names()) == set(range(1, 47))


def test_there_are_enough_honest_ones() -> None:
    controls = corpus.entries("controls")
    assert len(controls) >= 30
    assert sum(entry.needs == "cpu" for entry in controls) >= 26
    assert {entry.needs for entry in controls} >= {"cpu", "cuda", "triton", "tilelang"}
    assert any(entry.faster and entry.faster >= 10 for entry in controls)


def test_paths_tell_entries_apart() -> None:
    paths = [entry.path for entry in corpus.entries()]
    assert len(set(paths)) == len(paths)
    assert {line["path"] for line in corpus.catalogue()} == set(paths)
    with pytest.raises(InputError, match="no entry 'nobody'"):
        corpus.find("nobody")


def test_what_runs_on_a_cpu_is_most_of_it() -> None:
    """What needs a device is what has to do with streams, events, graphs and caches of a device."""
    on_cpu = {entry.number for entry in corpus.entries("cheats") if entry.needs == "cpu"}
    assert set(range(1, 47)) - on_cpu == {1, 2, 7, 8, 17, 41}


@pytest.mark.parametrize("entry", corpus.entries(), ids=lambda entry: f"{entry.group}-{entry.path}")
def test_entries_can_be_loaded(entry: corpus.Entry, tmp_path: Path) -> None:
    definition = load_definition(entry.task.write(tmp_path))
    candidate = load_candidate(entry.write(tmp_path))
    assert definition.name
    assert {name for name in entry.files if name != "candidate.json"} <= set(candidate.files)
    assert entry.text or entry.group != "cheats"


def test_the_digest_is_that_of_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = corpus.digest()
    for path in corpus.ROOT.glob("*/*.md"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        (tmp_path / path.parent.name / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(corpus, "ROOT", tmp_path)
    assert corpus.digest() == before
    changed = tmp_path / "controls" / "clamp_steps.md"
    changed.write_text(changed.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert corpus.digest() != before


@pytest.mark.parametrize(
    "content",
    ["no title\n", "# Title only\n", "# A\n\n- task: nothing\n\n```python a.py\n```\n", "# A\n\n- wrong: 1\n\n```python a.py\n```\n"],
)
def test_files_that_are_no_entries_are_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.md"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"no entry of the corpus|no task"):
        corpus._entry("controls", path)


@pytest.mark.parametrize("entry", FOOLED, ids=lambda entry: entry.path)
def test_a_naive_judge_is_fooled(entry: corpus.Entry, tmp_path: Path) -> None:
    """Accepted as correct; and where that is the point, believed to be fast, or timed with a sample or two.

    That it can be fooled is the claim: one time in some is enough, as its clock and its memory are those of a busy machine.
    """
    for attempt in range(TRIES):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        said = naive.verdict(entry, folder)
        if entry.path == "39_carried_state":
            Path("/tmp/mosaic-audit-carried-state.pt").unlink(missing_ok=True)
        if said["correct"] and _is_fooled(entry, said):
            return
        time.sleep(attempt)
    if entry.path == "18_stale_memory":
        pytest.skip("which memory comes back is the allocator's business, and a process that is forked inherits its mood")
    pytest.fail(f"not in {TRIES} times; the last: {said}")


def _is_fooled(entry: corpus.Entry, said: dict[str, Any]) -> bool:
    if "samples" in entry.naive:
        return bool(said["samples"] <= 2)
    return bool(said["speedup"] >= 1.2) if "fooled" in entry.naive else True


def test_most_of_what_runs_on_a_cpu_fools_a_naive_judge() -> None:
    on_cpu = {entry.number for entry in corpus.entries("cheats") if entry.needs == "cpu"}
    assert on_cpu - {entry.number for entry in FOOLED} == {42}, "memory that was never set is nought often enough, not always"
