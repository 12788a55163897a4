"""Correctness over the suite: every case, distribution, trial and initialisation on data that nobody has seen, with outputs poisoned.

Contents change at the same addresses and addresses change, inputs are repeated, and an output that is wrong is compared with earlier
ones: so what keeps results, counts calls or replays the last one is told from an honest mistake.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mosaic.errors import InputError
from mosaic.evidence.canonical import digest
from mosaic.harness.account import Account
from mosaic.harness.comparing import Finding, Where, judged
from mosaic.harness.oracle import Initial, Inputs, Oracle, Question
from mosaic.harness.player import Player, Returned
from mosaic.harness.sandbox import Broken
from mosaic.harness.seeds import Commitment
from mosaic.harness.workload import Case, Workload

SMALLEST: Final = 8
"""Bytes of an output from which on it being equal to an earlier one, for other inputs, is no accident."""


@dataclass
class Suite:
    """What the suite found. kind, message: of the first failure, None if there is none."""

    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    explanations: dict[str, str] = field(default_factory=dict)
    kind: str | None = None
    message: str = ""
    runs: int = 0
    seconds: float = 0.0
    account: Account = field(default_factory=Account)

    @property
    def conclusive(self) -> bool:
        """Whether every output had at least one bound that could have shown an error."""
        outputs = {finding.output for finding in self.findings}
        return bool(outputs) and outputs == {finding.output for finding in self.findings if finding.conclusive}


@dataclass(frozen=True)
class _Step:
    case: Case
    distribution: str
    trial: int
    key: str
    explained: bool = False


def check(
    player: Player, oracle: Oracle, workload: Workload, cases: Sequence[Case], seed: Commitment, *, stateful: bool,
    account: Account | None = None, started: Callable[[Inputs], None] | None = None,
) -> Suite:  # fmt: skip
    """Run the suite until something is wrong. What the candidate does is in the result; the task's own faults raise InputError.

    account: gets the seconds of each step. started: called with the first inputs.
    """
    suite = Suite(account=account or Account())
    memory = _Memory(started)
    try:
        for round_, initial in enumerate(_initials(oracle, workload, seed, stateful)):
            if initial is not None:
                missing = player.initialise(initial)
                memory.forget()
                _note_missing(suite, missing)
            steps = list(_steps(workload, cases, seed, round_))
            for step, following in zip(steps, [*steps[1:], None], strict=True):
                _take(player, oracle, suite, memory, (step, following), first=step.distribution == workload.distributions[0])
                if suite.kind is not None:
                    return suite
    except Broken as error:
        suite.kind, suite.message = error.kind, error.message
    return suite


def _initials(oracle: Oracle, workload: Workload, seed: Commitment, stateful: bool) -> Iterator[Initial | None]:
    if not oracle.definition.published:
        yield None
        return
    for index in range(workload.initialisations if stateful else 1):
        yield oracle.initialise(seed.key("initialisation", index))


def _steps(workload: Workload, cases: Sequence[Case], seed: Commitment, round_: int) -> Iterator[_Step]:
    for index, case in enumerate(cases):
        for trial in range(workload.trials):
            for distribution in workload.distributions:
                key = seed.key("data", round_, case.name, trial, distribution)
                last = index == len(cases) - 1 and trial == 0 and round_ == 0  # one case is explained, where nobody waits long for it
                yield _Step(case, distribution, trial + round_ * workload.trials, key, explained=last)


def _note_missing(suite: Suite, missing: list[str]) -> None:
    if missing:
        said = (
            f"the candidate has no place for the reference's parameters {', '.join(missing[:8])}: it must make the same ones from the seed"
        )
        if said not in suite.skipped:
            suite.skipped.append(said)


class _Memory:
    """Digests of earlier outputs, with the digest of the inputs that they were for."""

    def __init__(self, started: Callable[[Inputs], None] | None = None) -> None:
        self.started = started
        self._seen: dict[str, str] = {}
        self.last: tuple[int, ...] | None = None

    def forget(self) -> None:
        self._seen.clear()

    def of_other_inputs(self, question: Question, returned: Returned) -> bool:
        """Whether these outputs, bit for bit, were given for other inputs before; and remember them."""
        data = b"".join(content for _, content in returned.outputs.values())
        key, inputs = digest(data), digest(b"".join(content for _, content in question.inputs.tensors))
        other = len(data) >= SMALLEST and self._seen.get(key, inputs) != inputs
        self._seen.setdefault(key, inputs)
        return other


def _take(player: Player, oracle: Oracle, suite: Suite, memory: _Memory, steps: tuple[_Step, _Step | None], *, first: bool) -> None:
    step, following = steps
    with suite.account.of("correctness: oracle"):
        question = oracle.question(step.case.symbols, step.distribution, step.key, explain=step.explained)
    if following is not None:  # the oracle's process works on it while the candidate's does on this one
        oracle.ahead(following.case.symbols, following.distribution, following.key, explain=following.explained)
    if isinstance(question, str):
        suite.skipped.append(f"{step.distribution} on {step.case.name}: {question}")
        return
    if memory.started is not None:
        memory.started(question.inputs)
        memory.started = None
    suite.explanations.update(question.explanations)
    shapes = tuple(where.bytes for where, _ in question.inputs.tensors)
    same_place = memory.last == shapes and suite.runs % 2 == 1
    memory.last = shapes
    with suite.account.of("correctness: load"):
        player.load([question.inputs], "same" if same_place else "new")
    where = Where(step.case.name, step.distribution, step.trial)
    outputs = oracle.outputs(step.case.symbols)
    with suite.account.of("correctness: run"):
        returned = player.run(question.inputs)
    suite.runs += 1
    with suite.account.of("correctness: compare"):
        findings = judged(where, question, returned, outputs)
        stale = memory.of_other_inputs(question, returned)
    if bad := next((finding for finding in findings if finding.kind is not None), None):
        _fail(suite, findings, _named(bad, stale=stale, same_place=same_place))
        return
    if broken := oracle.broken_invariants(question.inputs, returned.outputs):
        _fail(suite, findings, replace(findings[0], kind="mismatch", message=f"an invariant does not hold: {broken[0]}"))
        return
    if first:
        with suite.account.of("correctness: run"):
            again = player.run(question.inputs)
        suite.runs += 1
        with suite.account.of("correctness: compare"):
            repeated = judged(where, question, again, outputs)
        if bad := next((finding for finding in repeated if finding.kind is not None), None):
            kind = "nondeterministic" if bad.kind in ("mismatch", "nan", "infinity") else bad.kind
            _fail(suite, repeated, replace(bad, kind=kind, message=f"the second run on the same input: {bad.message}"))
            return
    suite.findings += findings
    if player.session.observations:
        cheat, message = player.session.observations[0]
        _fail(suite, [], replace(findings[0], kind=f"cheat.{cheat}", message=message))


def _named(bad: Finding, *, stale: bool, same_place: bool) -> Finding:
    """A wrong output that was returned before, for other inputs, is not recomputed."""
    if not stale or bad.kind not in ("mismatch", "nan", "infinity"):
        return bad
    cheat = "cached_by_pointer" if same_place else "replayed_last_call"
    return replace(
        bad, kind=f"cheat.{cheat}", message=f"the output is, bit for bit, what was returned for other inputs before; {bad.message}"
    )


def _fail(suite: Suite, findings: list[Finding], bad: Finding) -> None:
    suite.findings += [finding for finding in findings if finding.kind is None]
    suite.findings.append(bad)
    suite.kind, suite.message = bad.kind, f"{bad.case}, {bad.distribution} inputs, trial {bad.trial}: {bad.message}"


def check_task(oracle: Oracle, workload: Workload, cases: Sequence[Case], seed: Commitment) -> str | None:
    """Why the task itself tells nothing, if so: its answer is constant, does not vary with its inputs, or would be right if left out.

    Looks at the smallest case and the first two distributions that make sense. Raises InputError for a task that cannot be run.
    """
    case = min(cases, key=lambda one: sum(math.prod(shape) for *_, shape in oracle.inputs(one.symbols)))
    questions = []
    for index, distribution in enumerate(workload.distributions * 2):
        question = oracle.question(case.symbols, distribution, seed.key("task", index), explain=False)
        if isinstance(question, Question):
            questions.append(question)
        if len(questions) == 2:
            break
    if len(questions) < 2:
        raise InputError(f"no distribution of the workload makes sense for the task {oracle.definition.name!r}")
    return degenerate(questions[0], questions[1], oracle.definition.constant_axes)


def degenerate(one: Question, other: Question, constant_axes: object) -> str | None:
    """Why nothing can be told from these two draws of a task."""
    allowed = dict(constant_axes) if isinstance(constant_axes, dict) else {}
    for name, bound in one.bounds.items():
        value, error = bound.value, bound.error
        if value.numel() > 1 and bound.choices is None:
            if float(value.max() - value.min()) <= 2 * float(error.min()):
                return f"the output {name!r} is constant: {float(value.reshape(-1)[0]):.6g} everywhere"
            for axis, size in enumerate(value.shape):
                spread = value.amax(axis) - value.amin(axis) if size > 1 else None
                if spread is not None and bool((spread <= 2 * error.amin(axis)).all()) and axis not in allowed.get(name, ()):
                    return f"the output {name!r} does not vary along its axis {axis} (say so under constant_axes if that is the point)"
        if one.inputs.tensors and bool(((value - other.bounds[name].value).abs() <= error + other.bounds[name].error).all()):
            return f"the output {name!r} does not vary with the inputs"
    return None
