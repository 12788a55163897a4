"""The corpus of handovers: lowered for each target, none refused, and right on the processor."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosaic.targets.cache import Cache
from mosaic.targets.cpu import compile_cpu
from mosaic.targets.lower import lower
from tests.fuzz.handovers import CORPUS, TARGETS, handovers, takes
from tests.layouts.chain import Chain, build
from tests.layouts.checked import check

PART = 12


def lowered_and_right(chain: Chain, target: str, folder: Path) -> None:
    lowered = lower(build(chain), target, binary=False, cache=Cache(folder))
    report = check(chain.tensors(), chain.steps(), compile_cpu(lowered.program, poison=True), device="cpu", tf32=False)
    assert not report.failures, report.failures[0].message


@pytest.mark.parametrize("number", range(PART))
def test_a_part_of_the_corpus(number: int, tmp_path: Path) -> None:
    chain = list(handovers(0, PART))[number]
    targets = [target for target in TARGETS if takes(chain, target)]
    lowered_and_right(chain, targets[number % len(targets)], tmp_path)


@pytest.mark.fuzz
def test_the_corpus(tmp_path: Path) -> None:
    problems = []
    for chain in handovers(0, CORPUS):
        for target in TARGETS:
            if takes(chain, target):
                try:
                    lowered_and_right(chain, target, tmp_path)
                except Exception as error:  # all of them are listed at the end
                    problems.append(f"{chain.name} for {target}: {error}")
    assert not problems, "\n".join(problems)


def test_the_corpus_is_the_same_for_a_seed_and_varied() -> None:
    chains = list(handovers(0, CORPUS))
    assert chains[:50] == list(handovers(0, 50))
    assert len(set(chains)) == CORPUS
    assert {chain.threads for chain in chains} == {64, 128, 256, 512}
    assert {chain.consumer for chain in chains} == {"a", "at", "b", "bt", "add", "rows", "columns", "both", "norm", "accumulate"}
    assert {chain.dtype for chain in chains} == {"float16", "bfloat16", "float32", "int8", "float8_e4m3fn"}
    assert any(chain.m & (chain.m - 1) and chain.n & (chain.n - 1) for chain in chains)
