"""Clocks that cannot all be right, and honest ones that differ by what launching and waiting take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mosaic.harness.clocks import SHARE, claimed, disagreements
from mosaic.harness.timed_sample import Sample
from tests.harness.scripted import Lie, Machine, Scripted, machine, scaled


def taken(run: Scripted, rounds: int = 20, calls: int = 50) -> list[Sample]:
    run.prepare(calls)
    return [run.sample() for _ in range(rounds)]


def kinds(own: Scripted, beside: Scripted | None = None, *, calls: int = 50) -> list[str]:
    baseline = taken(beside, calls=calls) if beside is not None else []
    return [one.kind for one in disagreements(taken(own, calls=calls), baseline, own.request, "uncontrolled")]


@pytest.mark.parametrize("with_baseline", [True, False])
@pytest.mark.parametrize("seconds", [2e-6, 1e-4, 1e-2])
@pytest.mark.parametrize("device", [True, False])
def test_honest_clocks_agree(device: bool, seconds: float, with_baseline: bool) -> None:
    shared = machine()
    own = Scripted(shared, seconds, device=device)
    assert kinds(own, Scripted(shared, 10 * seconds, device=device) if with_baseline else None) == []


LIES: list[tuple[str, Lie]] = [
    ("cheat.patched_clock", scaled(inside=0.5, device=0.4)),
    ("cheat.patched_clock", scaled(inside=1.5)),
    ("cheat.hooked_elapsed_time", scaled(device=0.5)),
    ("cheat.hooked_elapsed_time", scaled(device=1.5)),
    ("cheat.work_after_end", lambda sample: replace(sample, late=0.5 * (sample.device or 0.0))),
]


@pytest.mark.parametrize("with_baseline", [True, False])
@pytest.mark.parametrize(("kind", "lie"), LIES)
def test_what_is_hidden_from_a_clock_is_seen_by_the_next(kind: str, lie: Lie, with_baseline: bool) -> None:
    shared = machine()
    own = Scripted(shared, 1e-3, device=True, lie=lie)
    assert kind in kinds(own, Scripted(shared, 1e-3, device=True) if with_baseline else None)


def test_beside_a_baseline_smaller_lies_are_seen() -> None:
    shared = machine()
    own = Scripted(shared, 1e-4, device=True, lie=scaled(device=0.5))
    assert kinds(own) == []
    assert kinds(own, Scripted(shared, 1e-4, device=True)) == ["cheat.hooked_elapsed_time"]


def test_handing_outputs_over_on_a_processor_is_no_lie_but_a_stopped_clock_is() -> None:
    shared = machine()
    returned: Lie = lambda sample: replace(sample, outside=sample.outside + 2e-4 * sample.calls)  # noqa: E731  as above
    assert kinds(Scripted(shared, 1e-4, lie=returned), Scripted(shared, 1e-4)) == []
    assert kinds(Scripted(shared, 1e-3, lie=scaled(inside=0.01)), Scripted(shared, 1e-3)) == ["cheat.patched_clock"]


def test_capturing_a_graph_lies_outside_of_its_replay() -> None:
    shared = machine()
    graph: Lie = lambda sample: replace(sample, outside=sample.outside + 0.05, launch="graph-replay")  # noqa: E731  as above
    assert kinds(Scripted(shared, 1e-5, device=True, lie=graph), Scripted(shared, 1e-5, device=True)) == []


def test_a_difference_within_the_bound_is_none() -> None:
    shared = machine()
    assert kinds(Scripted(shared, 1e-4, device=True, lie=scaled(device=1 / (1 + 0.6 * SHARE)))) == []


def test_a_slow_road_to_both_programs_is_no_lie() -> None:
    """Copies of outputs that take longer than the program, as they do for the baseline."""
    shared = machine()
    slow: Lie = lambda sample: replace(sample, outside=sample.outside + 2e-4 * sample.calls)  # noqa: E731  lies are written like that in the table above
    assert kinds(Scripted(shared, 1e-5, device=True, lie=slow), Scripted(shared, 1e-5, device=True, lie=slow)) == []
    assert kinds(Scripted(shared, 1e-5, device=True, lie=slow), Scripted(shared, 1e-5, device=True)) == ["cheat.patched_clock"]


def test_flushing_between_the_calls_is_told_from_lies_by_the_baseline_only() -> None:
    def flushed(own: Machine) -> Scripted:
        return Scripted(own, 1e-5, device=True, lie=lambda sample: replace(sample, outside=sample.outside + 1e-4 * sample.calls))

    shared = machine()
    assert not disagreements(taken(flushed(shared)), [], 5e-5, "flushed")
    assert not disagreements(taken(flushed(shared)), taken(flushed(shared)), 5e-5, "flushed")
    assert disagreements(taken(flushed(shared)), taken(Scripted(shared, 1e-5, device=True)), 5e-5, "flushed")


def test_the_claim_is_the_devices_else_the_asking_clocks() -> None:
    assert claimed(Sample(10, 5.0, 4.0, 2.0, 0.0, "plain", 1), 1.0) == pytest.approx(0.2)
    assert claimed(Sample(10, 5.0, 4.0, None, None, "call", 1), 1.0) == pytest.approx(0.4)
    assert claimed(Sample(1, 1.0, 1.0, None, None, "call", 1), 2.0) > 0
