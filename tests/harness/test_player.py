from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from mosaic.harness.candidate import load_candidate
from mosaic.harness.definition import load_definition
from mosaic.harness.oracle import Inputs, Oracle, tensor_of
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Broken, Limits
from tests.harness.tasks import HONEST, HONEST_C, PUBLISHED, write_candidate, write_task

LIMITS = Limits(seconds=20, start_seconds=60)
SYMBOLS = {"M": 3, "N": 5}


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Oracle]:
    with Oracle(load_definition(write_task(tmp_path))) as made:
        yield made


def drawn(oracle: Oracle, key: str) -> Inputs:
    made = oracle.draw(SYMBOLS, "normal", key)
    assert made is not None
    return made


def wanted(inputs: Inputs) -> torch.Tensor:
    x, y = (tensor_of(where.dtype, where.shape, data) for where, data in inputs.tensors)
    return 1.5 * x + y


def test_inputs_go_in_and_outputs_come_out(tmp_path: Path, oracle: Oracle) -> None:
    with Player(load_candidate(write_candidate(tmp_path, HONEST_C, "a.c")), oracle.definition, oracle, "cpu", LIMITS) as player:
        built = player.build(stateful=False)
        assert built.compiler is not None
        assert built.binaries[0][1].startswith(b"\x7fELF")
        for key, how in (("a", "new"), ("b", "same"), ("c", "new")):
            inputs = drawn(oracle, key)
            player.load([inputs], how)  # type: ignore[arg-type]
            returned = player.run(inputs)
            where, data = returned.outputs["z"]
            assert torch.allclose(tensor_of(where.dtype, where.shape, data), wanted(inputs))
            assert returned.echo == tuple(data for _, data in inputs.tensors)
        player.look()


def test_what_does_not_compile_is_broken(tmp_path: Path, oracle: Oracle) -> None:
    candidate = load_candidate(write_candidate(tmp_path, "int f( {", "a.c"))
    with Player(candidate, oracle.definition, oracle, "cpu", LIMITS) as player, pytest.raises(Broken) as caught:
        player.build(stateful=False)
    assert caught.value.kind == "compile_error"


def test_a_model_is_initialised_with_the_references_parameters(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(PUBLISHED)
    task = load_definition(tmp_path / "net.py")
    candidate = load_candidate(write_candidate(tmp_path, PUBLISHED.replace("class Model(", "class ModelNew("), "new.py"))
    with Oracle(task) as oracle, Player(candidate, task, oracle, "cpu", LIMITS) as player:
        player.build(stateful=True)
        assert player.initialise(oracle.initialise("ab" * 32)) == []
        inputs = oracle.draw({}, "published", "cd" * 32)
        assert inputs is not None
        player.load([inputs])
        where, data = player.run(inputs).outputs["output0"]
        assert oracle.bounds(inputs)["output0"].compare(tensor_of(where.dtype, where.shape, data)).passed


def test_it_can_be_ordered_and_warmed_before_anybody_waits(tmp_path: Path, oracle: Oracle) -> None:
    candidate = load_candidate(write_candidate(tmp_path, HONEST, "a.py"))
    inputs = drawn(oracle, "key")
    with Player(candidate, oracle.definition, oracle, "cpu", LIMITS) as player:
        player.order(stateful=False)
        player.order(stateful=False)  # once is enough
        assert player.build(stateful=False).binaries == ()
        player.warm(inputs)
        player.load([inputs])
        assert set(player.run(inputs).outputs) == {"z"}
        first = player.segment("outputs", 100)
        assert player.segment("outputs", 50) is first
        assert player.segment("outputs", 200) is not first


def test_a_process_that_is_waited_for_can_be_killed(tmp_path: Path, oracle: Oracle) -> None:
    candidate = load_candidate(write_candidate(tmp_path, "import time\ntime.sleep(60)\n", "a.py"))
    with Player(candidate, oracle.definition, oracle, "cpu", LIMITS) as player, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(player.build, stateful=False)
        player.session.kill()
        with pytest.raises(Broken):
            waiting.result(30)
