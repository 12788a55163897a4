"""The ways to cheat a judge of kernels, by name: what each does, and which failure classes tell of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

WRONG: Final = ("mismatch", "nan", "infinity", "nondeterministic", "missing_output")
"""Failure classes of wrong values."""


@dataclass(frozen=True)
class Cheat:
    """number: in the list of 46 ways. kinds: failure classes, beside `cheat.<name>`, by which it shows when it is tried."""

    number: int
    meaning: str
    kinds: tuple[str, ...] = ()


def _numbered(entries: Iterable[tuple[str, str, tuple[str, ...]]]) -> dict[str, Cheat]:
    return {name: Cheat(number, meaning, kinds) for number, (name, meaning, kinds) in enumerate(entries, 1)}


_CLOCK: Final = ("impossible_time",)

CHEATS: Final[dict[str, Cheat]] = _numbered((
    ("other_stream", "it works on another stream than the one that is timed", (*WRONG, *_CLOCK)),
    ("work_after_end", "it works on after the event that ends the timing", (*WRONG, *_CLOCK)),
    ("python_threads", "it leaves the work to Python threads that go on after the call", WRONG),
    ("native_threads", "it leaves the work to native threads that go on after the call, or started before they were counted", WRONG),
    ("patched_clock", "it replaces the clock", _CLOCK),
    ("swapped_code", "it replaces the judge's code in its process, or walks its frames", _CLOCK),
    ("hooked_elapsed_time", "it hooks the function that tells the time between two events", _CLOCK),
    ("swapped_events", "it exchanges the handles of events", _CLOCK),
    ("forged_result", "it prints, or ends with, a result of its own making", ("crash", "missing_output")),
    ("interposed_pipes", "it puts itself between the judge and its process", ("crash", "timeout")),
    ("cached_by_pointer", "it keeps outputs by the addresses of inputs", WRONG),
    ("cached_by_content", "it keeps outputs by the contents of inputs", ()),
    ("replayed_last_call", "it returns what its last call returned", WRONG),
    ("counted_calls", "it counts calls: honest at first, then nothing", WRONG),
    ("slow_warm_up", "it is slow at first, so that fewer samples are taken", ()),
    ("one_launch_for_all", "it does the work of all calls in one", (*WRONG, *_CLOCK)),
    ("stale_graph_replay", "it replays a captured graph on inputs of the past", WRONG),
    ("stale_memory", "it returns fresh memory in which the expected output may lie", WRONG),
    ("memory_scan", "it looks for the expected output in memory", ()),
    ("overwritten_expected", "it overwrites the expected output", WRONG),
    ("nan_equals_nan", "it returns NaN, which some comparisons take for equal", ("nan",)),
    ("constant_answer", "it returns zeros or another constant", ("mismatch", "degenerate_task")),
    ("input_returned", "it returns an input", ("mismatch",)),
    ("input_mutated", "it changes an input in place", ("input_mutated",)),
    ("inputs_corrupted", "it spoils the inputs that the reference will get", ("input_mutated", *WRONG)),
    ("lazy_tensor", "it returns a tensor that computes when it is looked at, or a kind of its own", ("wrong_type",)),
    ("shape_or_dtype_drift", "it returns another shape that broadcasts, or another dtype", ("wrong_shape", "wrong_dtype")),
    ("lower_precision", "it computes in a lower precision than the task's dtypes allow", ("mismatch", "infinity", "nan")),
    ("few_wrong", "a few elements are wrong", ("mismatch",)),
    ("reproduced_seed", "it reproduces the judge's random numbers", WRONG),
    ("hard_coded", "it holds answers, or works for some shapes only", (*WRONG, "crash", "wrong_shape")),
    ("edited_harness", "it changes files of the judge", ("resource_limit", "crash")),
    ("shadowed_module", "it plants a module that hides a library", ("import_error", *WRONG)),
    ("redefined_globals", "it redefines functions that the judge uses, or what makes its inputs", WRONG),
    ("fallback_to_reference", "it falls back to the reference when its own code fails", ("import_error", "crash", *WRONG)),
    ("vendor_library", "it calls a library that the task forbids", ()),
    ("inherited_reference", "it inherits the reference and leaves its work to it", ("import_error",)),
    ("import_time_work", "it computes when it is imported", WRONG),
    ("carried_state", "it carries state from one candidate to the next", (*WRONG, "crash")),
    ("poisoned_cache", "it puts something into a compile cache", ("crash",)),
    ("warm_cache", "it keeps the last-level cache warm, or sets a part of it aside", _CLOCK),
    ("memory_garbage", "it depends on what memory held before, so it is not deterministic", ("nondeterministic", *WRONG)),
    ("skipped_work", "it leaves out work that this distribution does not need", ("mismatch", "nan", "infinity")),
    ("impossible_time", "it claims a time that the device cannot reach", ("impossible_time",)),
    ("obfuscated_code", "it hides its code, or fetches code when it runs", ("import_error", "crash")),
    ("overridden_comparison", "it overrides allclose, or methods of tensors", WRONG),
))  # fmt: skip
"""Names and numbers are fixed: packets hold them."""
