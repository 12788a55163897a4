"""From a failure to its name: what was seen in the process, then what an interrogation shows, then what it is called by its values alone.

Also asks what a suite of fresh data alone would not show: whether contents that change at the same addresses, or in one element,
get answers of their own, and whether calls were made that the task forbids.
"""

from __future__ import annotations

import math
import secrets
import statistics
from collections.abc import Callable, Sequence
from typing import Final

from mosaic.errors import InputError
from mosaic.harness.cheats import CHEATS
from mosaic.harness.comparing import Finding, Where, judged
from mosaic.harness.correctness import Suite
from mosaic.harness.forbidden_calls import judge_trace
from mosaic.harness.interrogate import CALLS, VALUES, interrogate, near, question_of
from mosaic.harness.oracle import Oracle
from mosaic.harness.player import Player
from mosaic.harness.sandbox import Broken
from mosaic.harness.signatures import Signature
from mosaic.harness.workload import Case

ASKED: Final = (
    *VALUES, "input_mutated", "wrong_shape", "wrong_dtype", "mosaic.shared_output", "cheat.counted_calls", "cheat.replayed_last_call",
    "cheat.cached_by_pointer",
)  # fmt: skip
"""Failure classes of which an interrogation may say more."""

LIMITS: Final = ("resource_limit", "out_of_memory", "timeout")

LARGE: Final = 1 << 20
"""Elements of a case's inputs."""

SLEEP: Final = 0.02
"""Seconds of a call that idles, at least: less could be the machine's own doing."""

Failure = tuple[str, str]


def given_case(cases: Sequence[Case]) -> Case:
    """The first case that the candidate's author was told, or the first of all."""
    return next((case for case in cases if case.set == "given"), cases[0])


def named(
    failure: Failure, make: Callable[[], Player], oracle: Oracle, cases: Sequence[Case], suite: Suite, observed: Sequence[tuple[str, str]],
    signatures: Sequence[Signature],
) -> Failure:  # fmt: skip
    """The failure by the most telling name that there is evidence for. What the interrogation itself cannot find out changes nothing."""
    kind, message = failure
    seen = [(cheat, text) for cheat, text in observed if cheat in CHEATS]
    if kind in LIMITS:  # who starts processes without end, or none that ends, is told by that
        seen = [(cheat, text) for cheat, text in seen if cheat != "obfuscated_code"]
    if seen and kind != "degenerate_task":
        return f"cheat.{seen[0][0]}", f"{seen[0][1]}; {message}" if message else seen[0][1]
    hints = [signature.cheat for signature in signatures]
    if kind == "cheat.work_after_end" and "other_stream" in hints:
        return "cheat.other_stream", f"{message}; it has streams of its own"
    if kind not in ASKED:
        return failure
    failed = next((finding for finding in reversed(suite.findings) if finding.kind is not None), None)
    failed = failed or Finding(given_case(cases).name, "", "normal", 0, kind, message)
    try:
        found = interrogate(make, oracle, given_case(cases), failed, {case.name: case for case in cases}, hints)
    except (Broken, InputError):
        return failure
    return failure if found is None else (f"cheat.{found[0]}", f"{found[1]}; {message}")


def _probed_case(oracle: Oracle, cases: Sequence[Case]) -> Case:
    """The given case; if it is so large that its reference takes long, the smallest one: the timed calls are verified on the large."""

    def elements(case: Case) -> int:
        return sum(math.prod(shape) for _, _, shape in oracle.inputs(case.symbols))

    case = given_case(cases)
    return case if elements(case) <= LARGE else min(cases, key=elements)


def probe(player: Player, oracle: Oracle, cases: Sequence[Case]) -> Failure | None:
    """Three more calls of a candidate that was right so far: new memory, other contents at the same addresses, one element changed.

    Returns what is wrong, if anything. Raises Broken for what the candidate does.
    """
    case, base = _probed_case(oracle, cases), secrets.token_hex(8)
    first = question_of(oracle, case, f"{base}/0")
    second = question_of(oracle, case, f"{base}/1")
    for index, asked in enumerate((first, second, near(oracle, second))):
        player.load([asked.inputs], "same" if index == 1 else "new")
        returned = player.run(asked.inputs)
        findings = judged(Where(case.name, asked.inputs.distribution, index), asked, returned, oracle.outputs(case.symbols))
        bad = next((finding for finding in findings if finding.kind is not None), None)
        if bad is not None and bad.kind is not None:
            return bad.kind, f"{case.name}, probe {index}: {bad.message}"
    return _remembered(player, oracle, case, base)


def _remembered(player: Player, oracle: Oracle, case: Case, base: str) -> Failure | None:
    """Whether operators that contents need the first time are left out when the same contents come again, twice in a row.

    Preparations for a shape are over by now, and what depends on contents in an honest way depends on them both times.
    """
    if not player.trace:
        return None  # native code: only its times can tell
    left_out: set[str] = set()
    for index in range(2):
        inputs = question_of(oracle, case, f"{base}/again/{index}").inputs
        seen: list[set[str]] = []
        for _ in range(2):
            player.load([inputs], "new")
            player.run(inputs)
            seen.append(set(player.trace.get("last", ())))
        left_out = seen[0] - seen[1] if index == 0 else left_out & (seen[0] - seen[1])
    if not left_out:
        return None
    return "cheat.cached_by_content", f"{', '.join(sorted(left_out)[:4])} runs for contents that are new, and not when they come again"


def slow_start(player: Player, make: Callable[[], Player], oracle: Oracle, cases: Sequence[Case]) -> Failure | None:
    """Whether calls after the first idle that later ones do not: compiling takes the first call of a shape, and keeps a processor busy.

    What a busy machine might have done is asked of two more processes. Raises Broken for what the candidate does.
    """
    said = _idles(player, 2.0)
    votes: list[Failure] = []
    for _ in range(3 if said is not None else 0):
        question = question_of(oracle, given_case(cases), secrets.token_hex(8))
        with make() as other:
            other.load([question.inputs], "new")
            for _ in range(CALLS):
                other.run(question.inputs)
            votes += [one for one in (_idles(other, 3.0),) if one is not None]
    return votes[0] if len(votes) > 1 else None


def _idles(player: Player, times: float) -> Failure | None:
    runs = [run for run in player.runs if player.runs and run[0] == player.runs[0][0]]
    if len(runs) < CALLS - 1:
        return None
    idle = [seconds - busy for _, seconds, busy in runs]
    early, late = min(idle[1:3]), statistics.median(idle[-3:])
    if early < SLEEP or early < times * late:
        return None
    return "cheat.slow_warm_up", f"calls 2 and 3 leave the processor idle for {early * 1e3:.0f} ms, the last ones for {late * 1e3:.0f} ms"


def forbidden_call(player: Player) -> Failure | None:
    """What it dispatched in the runs so far that the task forbids."""
    found = judge_trace(player.trace, player.definition.forbid)
    return None if found is None else (f"cheat.{found[0]}", found[1])
