from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mosaic.harness.candidate import load_candidate
from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import Oracle, tensor_of
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Broken, Limits
from mosaic.harness.seeds import commit
from mosaic.harness.timed_run import CHEAPER, DataSource, Pool, SandboxedRun
from mosaic.harness.workload import Case, Rounds
from tests.harness.tasks import HONEST_C, write_candidate, write_task

CASE = Case("small", "given", {"M": 16, "N": 32})
ROUNDS = Rounds(6, 1, "warm", "plain", 0.002)


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    with Oracle(load_definition(write_task(tmp_path))) as made:
        yield made


def player(folder: Path, oracle: Oracle, text: str = HONEST_C, name: str = "a.c") -> Player:
    candidate = load_candidate(write_candidate(folder, text, name))
    made = Player(candidate, oracle.definition, oracle, "cpu", Limits(seconds=20, start_seconds=60))
    made.build(stateful=False)
    return made


def timed(made: Player, oracle: Oracle) -> SandboxedRun:
    seed = commit("seed")
    return SandboxedRun("candidate", made, DataSource(Pool(oracle, CASE, "normal", seed), seed), CASE, ROUNDS)


def test_fresh_data_is_never_the_same_and_can_be_made_again(oracle: Oracle) -> None:
    seed = commit("seed")
    one, again = (DataSource(Pool(oracle, CASE, "normal", seed), seed) for _ in range(2))
    drawn = [one.take().tensors for _ in range(20)]
    assert len({str(tensors) for tensors in drawn}) == 20
    assert [again.take().tensors for _ in range(20)] == drawn
    other = DataSource(Pool(oracle, CASE, "normal", seed), commit("other")).take()
    assert other.tensors not in drawn


def test_shifting_keeps_the_elements(oracle: Oracle) -> None:
    seed = commit("seed")
    source = DataSource(Pool(oracle, CASE, "normal", seed), seed)
    sorted_values = {tuple(sorted(tensor_of(where.dtype, where.shape, data).flatten().tolist())) for where, data in
                     (source.take().tensors[0] for _ in range(20))}  # fmt: skip
    assert len(sorted_values) <= 4
    assert CHEAPER["normal"] == "uniform"


def test_samples_have_both_clocks_and_the_outputs_are_right(tmp_path: Path, oracle: Oracle) -> None:
    with player(tmp_path, oracle) as made:
        run = timed(made, oracle)
        assert run.name == "candidate"
        assert run.floor() > 0
        calls = run.calls(0.001)
        assert calls >= 1
        for data in ("fresh", "moved", "repeat"):
            run.prepare(5)
            sample = run.sample(data)
            assert sample.calls == 5
            assert 0 < sample.inside <= sample.outside
            assert sample.device is None
            assert sample.launch == "call"
        assert run.kept
        assert run.timed_calls >= 15
        for inputs, outputs in run.kept:
            where, content = outputs["z"]
            assert oracle.bounds(inputs)["z"].compare(tensor_of(where.dtype, where.shape, content)).passed
        assert not run.repeated


def test_what_is_returned_twice_for_other_inputs_is_kept(tmp_path: Path, oracle: Oracle) -> None:
    text = "held = []\ndef scale_add(x, y, alpha):\n    held.append(x * alpha + y)\n    return held[0].clone()\n"
    with player(tmp_path, oracle, text, "a.py") as made:
        run = timed(made, oracle)
        run.prepare(6)
        run.sample()
        assert run.repeated


def test_an_output_of_another_kind_when_timed_is_a_cheat(tmp_path: Path, oracle: Oracle) -> None:
    with player(tmp_path, oracle, "def scale_add(x, y, alpha):\n    return (x * alpha + y).double()\n", "a.py") as made:
        run = timed(made, oracle)
        run.prepare(1)
        with pytest.raises(Broken) as caught:
            run.sample()
    assert caught.value.kind == "cheat.counted_calls"
