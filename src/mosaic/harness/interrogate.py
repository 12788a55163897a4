"""When a candidate is wrong: a few more runs, in a new process, whose pattern tells which way of cheating it is, if any.

One case, eight calls: new memory, twice; other contents at the same addresses; one element changed; then fresh data. Which of them
are right, which outputs are those of earlier calls, what changes after a call has returned, and what follows memory that was never
set, are the marks of the ways to cheat. An honest mistake shows none of them.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import torch

from mosaic.harness.bound import Bound
from mosaic.harness.comparing import Finding, Where, judged
from mosaic.harness.diagnose import Seen, diagnose
from mosaic.harness.oracle import Inputs, Oracle, Question, tensor_of
from mosaic.harness.player import UNWRITTEN, Player, Returned
from mosaic.harness.sandbox import Broken
from mosaic.harness.workload import PUBLISHED_CASE, Case

OTHER_FILL: Final = 0x3F
"""The second content of new memory: 0.747 as float32."""
LATE: Final = 0.06
"""Seconds after which is looked again at what a call returned."""
CALLS: Final = 8
VALUES: Final = ("mismatch", "nan", "infinity", "missing_output", "nondeterministic")

Named = tuple[str, str]


@dataclass
class _Run:
    """One call of the sequence. bad: what is wrong, None if it is right; stale: number of an earlier call with the same output."""

    question: Question
    returned: Returned
    bad: Finding | None
    stale: int | None


@dataclass
class _Story:
    runs: list[_Run] = field(default_factory=list)
    late: str = ""
    observed: Sequence[tuple[str, str]] = ()

    def pattern(self) -> str:
        """A letter a run: r right, s wrong and the same as an earlier one, w wrong."""
        return "".join("r" if run.bad is None else "s" if run.stale is not None else "w" for run in self.runs)


def interrogate(
    make: Callable[[], Player], oracle: Oracle, case: Case, failed: Finding, cases: Mapping[str, Case], hints: Sequence[str]
) -> Named | None:
    """The cheat's name and what shows it, or None. make: a new process with the candidate built and initialised. case: a given one.

    hints: what the source's signatures say, to tell ways apart that behave alike.
    """
    with make() as player:
        if failed.kind == "input_mutated":
            return _mutated(player, oracle, case)
        drift = _drift(player, oracle, case, failed)
        if drift is not None:
            return drift
        story = _Story()
        try:
            _play(player, oracle, case, story)
            found = _named(story, hints) or (None if _is_right_on_ordinary(story) else _values(player, oracle, case, story, hints))
        except Broken:
            found = None
        return found or _beyond(make, oracle, cases, failed, story)


def question_of(oracle: Oracle, case: Case, key: str) -> Question:
    """Ordinary numbers of a case, and what is right for them. Raises Broken if no distribution makes sense."""
    for distribution in ("normal", "uniform", "integers", "mixed", PUBLISHED_CASE):
        question = oracle.question(case.symbols, distribution, f"interrogation {key}", explain=False)
        if isinstance(question, Question):
            return question
    raise Broken("mismatch", "no distribution makes sense")


def _play(player: Player, oracle: Oracle, case: Case, story: _Story) -> None:
    base = secrets.token_hex(8)
    for index in range(CALLS):
        question = near(oracle, story.runs[-1].question) if index == 3 else question_of(oracle, case, f"{base}/{index}")
        player.load([question.inputs], "same" if index == 2 else "new")
        run = _call(player, oracle, case, question, story)
        story.runs.append(run)
        if index == 0 and run.bad is not None:
            player.hold()
            time.sleep(LATE)
            if _is_right(oracle, case, question, _kept(player, question)):
                story.late = "time"
        story.observed = player.session.observations
    first = story.runs[0]
    if first.bad is not None and not story.late and _is_right(oracle, case, first.question, _kept(player, first.question)):
        story.late = "calls"


def _kept(player: Player, question: Question) -> Returned:
    """What the first call returned, as it is now. Its inputs are not looked at again."""
    return replace(player.held(question.inputs), echo=(), aliases=())


def _call(player: Player, oracle: Oracle, case: Case, question: Question, story: _Story) -> _Run:
    returned = player.run(question.inputs)
    findings = judged(Where(case.name, question.inputs.distribution, 0), question, returned, oracle.outputs(case.symbols))
    bad = next((finding for finding in findings if finding.kind is not None), None)
    content = _content(returned)
    stale = next((index for index, run in enumerate(story.runs) if len(content) >= 8 and _content(run.returned) == content), None)
    return _Run(question, returned, bad, stale)


def _content(returned: Returned) -> bytes:
    return b"".join(data for _, data in returned.outputs.values())


def _is_right(oracle: Oracle, case: Case, question: Question, returned: Returned) -> bool:
    findings = judged(Where(case.name, question.inputs.distribution, 0), question, returned, oracle.outputs(case.symbols))
    return all(finding.kind is None for finding in findings)


def near(oracle: Oracle, question: Question) -> Question:
    """The same inputs but for the middle of the last one, where the largest changes place with what was there, doubled."""
    inputs = question.inputs
    where, data = inputs.tensors[-1]
    tensor = tensor_of(where.dtype, where.shape, data).clone()
    flat = tensor.reshape(-1)
    place = flat.numel() // 2 + secrets.randbelow(max(1, flat.numel() // 4))
    flat[place] = flat[place] * 2 + 1 if flat.is_floating_point() else 1 - flat[place].clamp(0, 1)
    content = bytes(flat.view(torch.uint8).numpy().tobytes())
    changed = replace(inputs, key=f"{inputs.key} near", tensors=(*inputs.tensors[:-1], (where, content)))
    return Question(changed, oracle.bounds(changed))


def _named(story: _Story, hints: Sequence[str]) -> Named | None:
    pattern, runs = story.pattern(), story.runs
    seen = [cheat for cheat, _ in story.observed]
    if story.late == "time":
        native = "python_threads" not in seen and "python_threads" not in hints
        return "native_threads" if native else "python_threads", "the output was wrong when the call returned, and right a little later"
    if story.late == "calls":
        return "one_launch_for_all", "the output of a call was wrong when it returned, and right after later calls"
    if pattern[0] == "r" and "s" in pattern:
        return _replayed(pattern, runs, hints)
    if pattern.startswith("rr") and "w" in pattern:
        first = pattern.index("w")
        if set(pattern[first:]) <= {"w", "s"}:
            return "counted_calls", f"the first {first} calls of a new process are right, and none after"
    if pattern == "w" + "s" * (CALLS - 1) and all(run.stale == 0 for run in runs[1:]) and not _is_flat(runs[0].returned):
        cheat = "reproduced_seed" if "reproduced_seed" in hints else "import_time_work"
        return cheat, f"the answers to {CALLS} different inputs are the same to the bit, from the first call on"
    return None


def _replayed(pattern: str, runs: Sequence[_Run], hints: Sequence[str]) -> Named:
    """Right at first, then what an earlier call gave: for which inputs?"""
    if pattern[1:3] == "rs":
        return "cached_by_pointer", "other contents at the same addresses get the answer of the contents before"
    if pattern[1:3] == "rr" and pattern[3] == "s":
        return "cached_by_content", "inputs that differ in one element get the answer of those before"
    if pattern.startswith("rr") and set(pattern[2:]) & {"s"} and "r" not in pattern[pattern.index("s") :]:
        return "counted_calls", f"the first {pattern.index('s')} calls of a new process are right, and none after"
    if "stale_graph_replay" in hints:
        return "stale_graph_replay", "every call gives what the first gave: a captured graph is replayed with the inputs of then"
    return "replayed_last_call", "every call gives what the first gave, whatever its inputs"


def _is_flat(returned: Returned) -> bool:
    """Whether all elements of the outputs are the same."""
    tensors = [tensor_of(where.dtype, where.shape, data).reshape(-1) for where, data in returned.outputs.values()]
    return all(bool((tensor == tensor[0]).all()) or bool(torch.isnan(tensor.double()).all()) for tensor in tensors if tensor.numel())


def _values(player: Player, oracle: Oracle, case: Case, story: _Story, hints: Sequence[str]) -> Named | None:
    """What the bytes of the first wrong output say."""
    run = next((run for run in story.runs if run.bad is not None and run.bad.kind in VALUES), None)
    if run is None or run.bad is None or run.bad.output not in run.returned.outputs:
        return None
    name = run.bad.output
    where, data = run.returned.outputs[name]
    player.load([run.question.inputs], "new")
    twice = [player.run(run.question.inputs).outputs.get(name) for _ in range(2)]
    if run.bad.kind != "missing_output" and None not in twice and len({made[1] for made in twice if made is not None}) == 2:
        return (
            "memory_garbage",
            "the same inputs give answers that differ from call to call and are wrong: it reads what others leave behind",
        )
    refilled = None
    if player.candidate.language not in ("c", "extension"):
        player.load([run.question.inputs], "new")
        again = player.run(run.question.inputs, fill=OTHER_FILL).outputs.get(name)
        refilled = None if again is None else tensor_of(where.dtype, where.shape, again[1])

    def rounded(inputs: dict[str, torch.Tensor]) -> Bound | None:
        return oracle.bounds(_with(run.question.inputs, inputs)).get(name)

    inputs = {place.name: tensor_of(place.dtype, place.shape, content) for place, content in run.question.inputs.tensors}
    seen = Seen(
        run.question.bounds[name], tensor_of(where.dtype, where.shape, data), inputs, given=case.set == "given", fill=UNWRITTEN,
        refilled=refilled, other_fill=OTHER_FILL, rounded=rounded if run.bad.kind == "mismatch" else None,
    )  # fmt: skip
    return diagnose(seen)


def _with(inputs: Inputs, tensors: Mapping[str, torch.Tensor]) -> Inputs:
    made = tuple(
        (where, bytes(tensors[where.name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())) for where, _ in inputs.tensors
    )
    return replace(inputs, key=f"{inputs.key} changed", tensors=made)


def _mutated(player: Player, oracle: Oracle, case: Case) -> Named | None:
    """Inputs that were changed: is the output right for what they were changed to?"""
    question = question_of(oracle, case, secrets.token_hex(8))
    player.load([question.inputs], "new")
    try:
        returned = player.run(question.inputs)
    except Broken:
        return None
    tensors = tuple((where, data) for (where, _), data in zip(question.inputs.tensors, returned.echo, strict=True))
    changed = replace(question.inputs, key=f"{question.inputs.key} echo", tensors=tensors)
    after = Question(changed, oracle.bounds(changed))
    fine = replace(returned, echo=tuple(data for _, data in tensors), aliases=())
    if _is_right(oracle, case, after, fine) and not _is_right(
        oracle, case, question, replace(fine, echo=tuple(d for _, d in question.inputs.tensors))
    ):
        return "inputs_corrupted", "the inputs were changed to ones for which the output is right"
    return "input_mutated", "an input was changed in place, and the output is that of the input as it was"


def _drift(player: Player, oracle: Oracle, case: Case, failed: Finding) -> Named | None:
    """Shapes that broadcast to the right one, and dtypes that are promoted to it."""
    if failed.kind not in ("wrong_shape", "wrong_dtype"):
        return None
    question = question_of(oracle, case, secrets.token_hex(8))
    player.load([question.inputs], "new")
    try:
        returned = player.run(question.inputs)
    except Broken:
        return None
    for about, (name, dtype, shape) in zip(returned.described, oracle.outputs(case.symbols), strict=False):
        found, kind = tuple(about.get("shape", ())), str(about.get("dtype"))
        if found != shape and _broadcasts(found, shape):
            return "shape_or_dtype_drift", f"{name!r} has the shape {found}, which broadcasts to {shape} in a comparison"
        if found == shape and kind != dtype and _is_narrower(kind, dtype):
            return "shape_or_dtype_drift", f"{name!r} is {kind}, which is promoted to {dtype} in a comparison"
    return None


def _broadcasts(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    padded = (1,) * (len(shape) - len(found)) + found
    return len(found) <= len(shape) and all(a in (1, b) for a, b in zip(padded, shape, strict=True))


def _is_narrower(found: str, wanted: str) -> bool:
    one, other = getattr(torch, found, None), getattr(torch, wanted, None)
    if not isinstance(one, torch.dtype) or not isinstance(other, torch.dtype):
        return False
    return one.is_floating_point == other.is_floating_point and one.itemsize < other.itemsize


def _is_right_on_ordinary(story: _Story) -> bool:
    """Whether all calls are right but for the one whose inputs were changed in an element, which may have got an unusual number."""
    pattern = story.pattern()
    return len(pattern) == CALLS and set(pattern[:3] + pattern[4:]) == {"r"} and pattern[3] in "rw"


def _beyond(make: Callable[[], Player], oracle: Oracle, cases: Mapping[str, Case], failed: Finding, story: _Story) -> Named | None:
    """Right on ordinary numbers of a given case: then what does it fail on?"""
    if not _is_right_on_ordinary(story) or failed.case not in cases:
        return None
    case = cases[failed.case]
    if case.set != "given":
        wrong = _wrong_share(make, oracle, case, failed)
        if wrong > 0.9:
            return "hard_coded", f"right on the cases that were given, and {wrong:.0%} wrong on {case.name}, which was not"
        return None
    if failed.kind == "mismatch" and failed.distribution not in ("normal", "uniform"):
        return "skipped_work", f"right on ordinary numbers, and wrong on {failed.distribution} ones of the same shape"
    return None


def _wrong_share(make: Callable[[], Player], oracle: Oracle, case: Case, failed: Finding) -> float:
    """The share of wrong elements on ordinary numbers of a case: 1 if nothing of the right form comes."""
    question = question_of(oracle, case, secrets.token_hex(8))
    with make() as player:
        player.load([question.inputs], "new")
        try:
            outputs = player.run(question.inputs).outputs
        except Broken:
            return 1.0
    if failed.output not in outputs:
        return 1.0
    where, data = outputs[failed.output]
    ratio = question.bounds[failed.output].compare(tensor_of(where.dtype, where.shape, data)).ratio
    return float((~(ratio <= 1)).float().mean())
