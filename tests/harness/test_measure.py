"""Measuring: the order, the conclusions, what invalidates, and the records that a packet holds."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest
import torch

from mosaic.errors import InputError
from mosaic.evidence.categories import Reference
from mosaic.harness.measure import HOST_SECONDS, PROBES, Measured, measure, performance
from mosaic.harness.roofline import Floor
from mosaic.harness.trusted_run import Rounds, TrustedRun
from tests.harness.scripted import Lie, Machine, Scripted, machine, scaled

ROUNDS = Rounds(samples=20, warm_up=2)


def measured(own: float, beside: float | None, *, device: bool = False, lie: Lie | None = None, moved: float | None = None,
             roof: Floor | None = None, seed: int = 0) -> Measured:  # fmt: skip
    shared = machine(seed)
    runs = [Scripted(shared, own, device=device, lie=lie, moved=moved) for _ in range(2)]
    baseline = Scripted(shared, beside, device=device) if beside is not None else None
    return measure(runs[0], baseline, runs[1], "case", ROUNDS, roof, seed=seed)


@pytest.mark.parametrize("device", [True, False])
@pytest.mark.parametrize(("beside", "verdict"), [(2e-4, "faster"), (1.2e-4, "faster"), (0.5e-4, "slower"), (1e-4, "inconclusive")])
def test_conclusions(device: bool, beside: float, verdict: str) -> None:
    found = measured(1e-4, beside, device=device)
    assert (found.verdict, found.invalid) == (verdict, ())
    assert found.speedup is not None
    assert found.speedup.value == pytest.approx(beside / 1e-4, rel=0.03)
    assert found.seconds == pytest.approx(1e-4, rel=0.1)
    assert found.noise is not None
    assert found.noise.value == pytest.approx(1, abs=0.03)


def test_a_program_beside_itself_is_seldom_called_faster() -> None:
    verdicts = [measured(1e-4, 1e-4, seed=seed).verdict for seed in range(60)]
    assert verdicts.count("faster") <= 4, "2.5 % are allowed: with 60 trials 4 or fewer in 98 of 100 cases"


class Ordered(Scripted):
    """Writes down who was asked, in a list that several share."""

    def __init__(self, shared: Machine, who: str, order: list[str]) -> None:
        super().__init__(shared, 1e-4)
        self.who, self.order = who, order

    def prepare(self, calls: int) -> None:
        self.order.append(self.who)
        super().prepare(calls)


def test_each_round_asks_everyone_once_in_an_order_drawn_by_the_seed() -> None:
    def order(seed: int) -> list[tuple[str, ...]]:
        asked: list[str] = []
        shared = machine()
        own, beside, again = (Ordered(shared, who, asked) for who in "abc")
        measure(own, beside, again, "case", ROUNDS, seed=seed, probe=False)
        return [tuple(asked[i : i + 3]) for i in range(0, len(asked), 3)]

    rounds = order(1)
    assert len(rounds) == ROUNDS.warm_up + ROUNDS.samples
    assert {frozenset(one) for one in rounds} == {frozenset("abc")}
    assert len(set(rounds)) >= 5
    assert rounds == order(1)
    assert rounds != order(2)


def test_data_seen_before_that_is_quicker_is_found_unless_it_is_for_the_baseline() -> None:
    assert [one.kind for one in measured(1e-4, 1e-4, moved=1e-5).invalid] == ["cheat.cached_by_content"]
    assert measured(1e-4, 1e-4, moved=0.7e-4).invalid == ()
    shared = machine()
    runs = [Scripted(shared, 1e-4, moved=2e-5) for _ in range(3)]
    found = measure(runs[0], runs[1], runs[2], "case", ROUNDS)
    assert found.invalid == (), "the machine's caches, not the program's"
    assert [data for data, _ in runs[0].log].count("moved") == PROBES


LIES = [(scaled(device=0.3), "cheat.hooked_elapsed_time"), (scaled(device=0.3, inside=0.3), "cheat.patched_clock")]


@pytest.mark.parametrize(("lie", "kind"), LIES)
def test_clocks_that_disagree_invalidate(lie: Lie, kind: str) -> None:
    found = measured(1e-4, 1e-4, device=True, lie=lie)
    assert found.verdict == "invalid"
    assert kind in [one.kind for one in found.invalid]
    assert found.conclusion.verdict == "faster", "it would have been"


def test_a_slow_start_is_suspected() -> None:
    shared = machine()

    class Slow(Scripted):
        def calls(self, seconds: float) -> int:
            self.fits, fits = 100.0, self.fits
            return max(1, round(fits * seconds / self.seconds))

    found = measure(Slow(shared, 1e-4), Scripted(shared, 1e-4), None, "case", ROUNDS)
    assert [one.kind for one in found.suspicions] == ["cheat.slow_warm_up"]
    assert found.invalid == ()
    assert measured(1e-4, 1e-4).suspicions == ()


def test_one_copy_that_was_disturbed_at_the_start_is_no_slow_start() -> None:
    shared = machine()
    disturbed, again = Scripted(shared, 1e-4), Scripted(shared, 1e-4)
    disturbed.fits = 0.01
    found = measure(disturbed, Scripted(shared, 1e-4), again, "case", ROUNDS)
    assert found.suspicions == ()
    assert {calls for _, calls in disturbed.log} == {round(HOST_SECONDS / 1e-4)}, "as many as fit the other copy"


def roof(least: float) -> Floor:
    return Floor(seconds=2 * least, limit="memory", least=least, why_least="4,096 bytes cannot be moved", how="by hand")


def test_a_time_below_the_roof_is_impossible() -> None:
    found = measured(1e-6, 1e-3, roof=roof(1e-4))
    (one,) = found.invalid
    assert one.kind == "impossible_time"
    assert "4,096 bytes cannot be moved in less than 100 us" in one.message
    assert measured(1.5e-4, 1e-3, roof=roof(1e-4)).invalid == ()


def test_the_roof_is_measured_anew_before_a_time_is_called_impossible_and_left_out_if_the_baseline_passes_it() -> None:
    asked: list[bool] = []

    def again(anew: bool) -> Floor:
        asked.append(anew)
        return roof(1e-7 if anew else 1e-4)

    shared = machine()
    found = measure(Scripted(shared, 1e-5), Scripted(shared, 1e-3), None, "case", ROUNDS, again)
    assert (asked, found.invalid) == ([False, True], ())
    assert found.roof is not None
    beyond = measured(1e-5, 2e-5, roof=roof(1e-4))
    assert (beyond.roof, beyond.invalid) == (None, ())


def test_samples_that_are_mostly_requests_tell_nothing() -> None:
    shared = machine()
    runs = [Scripted(shared, 1e-8, request=1e-3) for _ in range(2)]
    for run in runs:
        run.fits = 1e-3
    found = measure(runs[0], runs[1], None, "case", ROUNDS)
    assert found.verdict == "inconclusive"
    assert "an empty request takes" in found.conclusion.reason


def test_without_a_baseline_nothing_is_concluded() -> None:
    found = measured(1e-4, None)
    assert (found.speedup, found.verdict) == (None, "inconclusive")
    assert "no baseline" in found.conclusion.reason


def test_the_record_holds_every_sample_by_every_clock() -> None:
    found = [measured(1e-4, 2e-4, device=True, roof=roof(1e-6)), replace(measured(1e-4, 3e-4, device=True), case="other")]
    found[1] = replace(found[1], timings=tuple(t.model_copy(update={"case": "other"}) for t in found[1].timings))
    record = performance(found, Reference(name="theirs", version="1"), verified=True)
    assert [(t.case, t.clock, t.launch) for t in record.timings[:3]] == [
        ("case", "device-events", "plain"),
        ("case", "host", "plain"),
        ("case", "host-in-worker", "plain"),
    ]
    assert all(len(t.samples.values) == ROUNDS.samples for t in record.timings)
    assert record.timings[0].median.value == statistics.median(record.timings[0].samples.values)
    assert record.baselines is not None
    assert record.baselines[0].speedup["case"].value == pytest.approx(2, rel=0.05)
    assert set(record.baselines[0].speedup) == {"case", "other"}
    assert record.noise is not None
    assert 0 <= record.noise.value < 0.05
    assert record.roofs is not None
    assert record.roofs[0].fraction.value == pytest.approx(0.02, rel=0.1)
    assert (record.method.interleaved, record.method.verified) == (True, True)
    assert record.method.warm_up == ROUNDS.warm_up * round(HOST_SECONDS / 1e-4)
    with pytest.raises(InputError, match="no case was measured"):
        performance([], None, verified=False)


def test_no_rounds_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1 round, not 0"):
        measure(Scripted(machine(), 1e-4), None, None, "case", Rounds(samples=0))


def test_real_programs_on_this_processor() -> None:
    """A product of 192 by 192 beside one and a half times as many of them: no device, the host's clock."""

    def draw(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.randn(192, 192, generator=generator), torch.randn(192, 192, generator=generator)

    def thrice(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return ((a @ b) @ b) @ b

    own = TrustedRun("once", torch.matmul, draw)
    found = measure(own, TrustedRun("thrice", thrice, draw), own.again(), "192", Rounds(samples=10, warm_up=1), seconds=0.004)
    assert found.invalid == ()
    assert found.speedup is not None
    assert 1.5 < found.speedup.value < 6
