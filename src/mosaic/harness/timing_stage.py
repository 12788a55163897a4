"""Timing as a step of the judge: candidate, baseline and a second copy of the candidate in turn, and the timed outputs verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from mosaic.errors import MosaicError
from mosaic.evidence.categories import Reference
from mosaic.harness.account import Account
from mosaic.harness.assemble import Record
from mosaic.harness.candidate import Candidate, load_candidate
from mosaic.harness.comparing import Finding, Where, compared
from mosaic.harness.definition import Definition
from mosaic.harness.measure import Measured, measure, performance
from mosaic.harness.oracle import Initial, Inputs, Oracle
from mosaic.harness.player import Player
from mosaic.harness.rates import rates
from mosaic.harness.roofline import Floor, floor
from mosaic.harness.sandbox import Limits
from mosaic.harness.seeds import Commitment
from mosaic.harness.timed_run import DataSource, Pool, SandboxedRun
from mosaic.harness.timed_sample import Cache
from mosaic.harness.work import Work
from mosaic.harness.workload import PUBLISHED_CASE, Case, Rounds, Workload

EAGER: Final = "eager"
COMPILED: Final = "compiled"
NONE: Final = "none"

VERIFY_SECONDS: Final = 2.0
"""For the float64 reference of one case's timed calls; of large cases fewer are verified, `LEAST_VERIFIED` at least."""
LEAST_VERIFIED: Final = 2


def baseline_of(given: str | Path | Candidate | None, definition: Definition) -> Candidate | str:
    """The baseline that is meant: "eager" or "compiled" (the task's reference in PyTorch), "none", or a candidate."""
    if given is None or given in (EAGER, COMPILED, NONE):
        return EAGER if given is None else str(given)
    return load_candidate(given)


def reference_candidate(definition: Definition) -> Candidate:
    """The task's own reference, in the dtypes of its inputs."""
    file, function = definition.reference
    return Candidate(
        name=f"{definition.name}, reference", language="pytorch", file=file, files=definition.files, root=definition.root, entry=function
    )  # fmt: skip


class Companions:
    """What is timed beside the candidate, each in a process of its own: the candidate once more, and the baseline (None if there is to
    be none). They compile and import from the beginning on, and run for the first time, while the candidate is looked at."""

    def __init__(
        self, record: Record, player: Player, oracle: Oracle, baseline: Candidate | str, limits: Limits, *, stateful: bool
    ) -> None:
        self._stateful: Final = stateful
        self._compiled: Final = baseline == COMPILED
        self._beside: Player | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._warmed: dict[Player, Future[None]] = {}
        self._again: Final = Player(player.candidate, player.definition, oracle, player.device, limits)
        self._again.order(stateful=stateful)
        if baseline == NONE:
            return
        self._candidate = baseline if isinstance(baseline, Candidate) else reference_candidate(oracle.definition)
        self._name = self._candidate.name if isinstance(baseline, Candidate) else f"{self._candidate.name}, {baseline}"
        try:
            self._beside = Player(self._candidate, oracle.definition, oracle, record.device, limits)
            self._beside.order(stateful=False, compiled=self._compiled)
        except MosaicError as error:
            record.notes.append(f"the baseline {self._name} could not be run: {error}")

    def warm(self, inputs: Inputs) -> None:
        """Let them run once, meanwhile: what compiles when it is first called takes a while. Not where a constructor needs arguments."""
        if self._threads is not None or self._again.definition.published:
            return
        self._threads = ThreadPoolExecutor(2)
        for player in filter(None, (self._again, self._beside)):
            self._warmed[player] = self._threads.submit(self._built, player, inputs)

    def _built(self, player: Player, inputs: Inputs | None = None) -> None:
        beside = player is self._beside
        player.build(stateful=self._stateful and not beside, compiled=self._compiled and beside)
        if inputs is not None:
            player.warm(inputs)

    def _started(self, player: Player, initial: Initial | None) -> None:
        if player in self._warmed:
            self._warmed[player].result()
        else:
            self._built(player)
        if initial is not None:
            player.initialise(initial)

    def ready(self, record: Record, initial: Initial | None) -> tuple[Player, Player | None]:
        """The candidate's second copy and the baseline, built and initialised; None for a baseline that doesn't run on this device."""
        self._started(self._again, initial)
        if self._beside is None:
            return self._again, None
        try:
            self._started(self._beside, initial)
        except MosaicError as error:
            record.notes.append(f"the baseline {self._name} could not be run: {error}")
            return self._again, None
        candidate = self._candidate
        record.baseline = Reference(name=self._name[:200], version=candidate.sha256[:12], sha256=candidate.sha256)
        return self._again, self._beside

    def close(self) -> None:
        """End their processes."""
        for player, future in self._warmed.items():
            if not future.done():
                player.session.kill()
        if self._threads is not None:
            self._threads.shutdown()
        for one in filter(None, (self._again, self._beside)):
            one.close()


def time_candidate(record: Record, player: Player, companions: Companions, oracle: Oracle, workload: Workload, account: Account) -> None:
    """Time all cases that are to be timed, and enter what was found. What the candidate does wrong raises Broken."""
    settings = workload.timing.on(record.device)
    names = workload.timing.cases or (next((case.name for case in workload.cases if case.set == "given"), workload.cases[0].name),)
    initial = oracle.initialise(record.seed.key("timing")) if oracle.definition.published else None
    with account.of("timing: start"):
        again, beside = companions.ready(record, initial)
        if initial is not None:
            player.initialise(initial)
    found = []
    for case in (case for case in workload.cases if case.name in names):
        found.append(_time_case(record, oracle, (player, beside, again), case, workload, settings, account))
    player.look()
    if record.failure is not None:
        return
    record.performance = performance(found, record.baseline, verified=True)
    reasons = [f"{one.case}: {one.conclusion.reason}" for one in found if one.speedup is not None and one.verdict == "inconclusive"]
    if reasons and len(reasons) == len(found):
        record.reason = "; ".join(reasons)[:4000]


def _time_case(
    record: Record, oracle: Oracle, players: tuple[Player, Player | None, Player], case: Case, workload: Workload, settings: Rounds,
    account: Account,
) -> Measured:  # fmt: skip
    distribution = PUBLISHED_CASE if oracle.definition.published else workload.distributions[0]

    pool = Pool(oracle, case, distribution, record.seed)

    def run(name: str, player: Player) -> SandboxedRun:
        return SandboxedRun(name, player, DataSource(pool, Commitment(record.seed.key("timed", name))), case, settings)

    player, beside, again = players
    own, second = run("candidate", player), run("again", again)
    against = None if beside is None else run("baseline", beside)
    with account.of("timing: work"):
        roof = _roof(record, oracle, case, distribution, settings.cache, account)
    with account.of("timing: first calls"):
        _first_calls([one for one in (own, against, second) if one is not None])
    with account.of("timing: samples"):
        measured = measure(
            own, against, second, case.name, settings, roof, device=record.device, seed=record.seed.number("order"),
            seconds=settings.seconds,
        )  # fmt: skip
    for one in (own, against, second):
        for name, seconds in () if one is None else one.seconds.items():
            account.add(f"timing: samples: {name}", seconds)
    with account.of("timing: verify"):
        _verify(record, oracle, own, case, distribution)
    if record.failure is None and measured.invalid:
        record.failure = (measured.invalid[0].kind, f"{case.name}: {measured.invalid[0].message}")
    record.suspicions += [(one.kind.removeprefix("cheat."), one.message) for one in measured.suspicions]
    return measured


def _first_calls(runs: Sequence[SandboxedRun]) -> None:
    """One sample of each, all at once, that counts for nothing: compiling and loading what is needed first takes a while."""
    for run in runs:
        run.prepare(1)
    with ThreadPoolExecutor(len(runs)) as pool:
        list(pool.map(SandboxedRun.sample, runs))


def _roof(
    record: Record, oracle: Oracle, case: Case, distribution: str, cache: Cache, account: Account
) -> Callable[[bool], Floor | None] | None:
    """The roof, as a function that measures the device's rates anew if asked to; None, and a note, if the work cannot be counted."""
    try:
        inputs = oracle.draw(case.symbols, distribution, record.seed.key("roof"))
        if inputs is None:
            return None
        work = Work.from_dict(oracle.work(inputs))
    except MosaicError as error:
        record.notes.append(f"there is no roof for {case.name}: {error}")
        return None

    def roof(anew: bool) -> Floor | None:
        with account.of("timing: rates"):
            return floor(work, rates(record.device, tuple(work.products), anew=anew), cache=cache)

    return roof


def _verify(record: Record, oracle: Oracle, run: SandboxedRun, case: Case, distribution: str) -> None:
    """Compare the outputs that were kept of the timed calls; they count as findings like any other."""
    suite = record.suite
    if suite is None:
        return
    start, verified = time.perf_counter(), 0
    with closing(oracle.bounds_of([inputs for inputs, _ in run.kept])) as found:
        for index, bounds in enumerate(found):
            inputs, outputs = run.kept[index]
            verified += 1
            for name, (place, data) in outputs.items():
                finding = compared(Where(case.name, f"{distribution}, timed", index), name, bounds[name], place, data)
                if finding.kind is not None:
                    named = _named(finding, run, inputs.key)
                    suite.findings.append(named)
                    record.failure = (named.kind or "mismatch", f"{case.name}, a timed call that was right before: {named.message}")
                    return
                suite.findings.append(finding)
            if verified >= LEAST_VERIFIED and time.perf_counter() - start > VERIFY_SECONDS:
                break
    record.notes.append(f"of {run.timed_calls} timed calls on {case.name}, {verified} were verified, chosen after they had run")


def _named(finding: Finding, run: SandboxedRun, key: str) -> Finding:
    """Right when checked and wrong when timed is no honest mistake; what the output is instead says which cheat it is."""
    if key in run.repeated:
        kind, what = "cheat.replayed_last_call", "the output is, bit for bit, that of another timed call on other inputs"
    else:
        kind, what = "cheat.counted_calls", "the output is right when it is checked, and wrong when it is timed"
    return replace(finding, kind=kind, message=f"{what}; {finding.message}")
