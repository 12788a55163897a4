"""Verification: does a candidate compute what a graph says, within the bounds that follow from dtypes and reduction lengths?

    report = verify(graph, candidate, seed=7)
    print(report.summary())
    report.raise_if_failed()

A candidate takes the graph's inputs by name and returns its outputs by name. It is run in this process on its own
copies of the inputs, with new memory poisoned (`poisoned`), so that what it does not write shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import InputError
from mosaic.graph import Graph
from mosaic.harness.arithmetic import Arithmetic
from mosaic.harness.bound import Bound
from mosaic.harness.inputs import DISTRIBUTIONS, Ranges, draw
from mosaic.harness.report import Failure, Finding, Report, Skipped
from mosaic.harness.tolerance import SAMPLES, bounds

Candidate = Callable[[dict[str, torch.Tensor]], Mapping[str, torch.Tensor]]

_EMPTY: Final = frozenset(("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"))


def verify(
    graph: Graph,
    candidate: Candidate,
    *,
    distributions: Sequence[str] | None = None,
    seed: int | str = 0,
    trials: int = 1,
    arithmetic: Arithmetic | None = None,
    ranges: Ranges | None = None,
    device: str | torch.device = "cpu",
    poison: bool = True,
    samples: int = SAMPLES,
) -> Report:
    """Run the candidate on `trials` draws of each distribution (all of them by default) and compare every output.

    arithmetic: what an honest kernel may do (tf32, fast intrinsics). ranges: of integer inputs, see `inputs`. device: where
    the candidate gets its inputs. poison: whether memory that it allocates with PyTorch is filled with NaN, or
    the lowest integer. samples: see `tolerance.bounds`.

    What the candidate does wrong, exceptions included, is in the report. Raises InputError for arguments that make no
    sense, and what drawing inputs and computing bounds raise for the graph.
    """
    chosen = list(DISTRIBUTIONS) if distributions is None else list(distributions)
    if trials < 1 or not chosen:
        raise InputError("verification needs at least one trial and one distribution")
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    explanations: dict[str, str] = {}
    for trial in range(trials):
        for distribution in chosen:
            drawn = draw(graph, distribution, f"{seed}/{trial}", ranges)
            if drawn.tensors is None:
                skipped.append(Skipped(distribution=distribution, trial=trial, reason=drawn.note))
                continue
            wanted = bounds(graph, drawn.tensors, arithmetic, samples=samples)
            results, failed = _run(candidate, drawn.tensors, device, poison)
            for name, bound in wanted.items():
                explanations.setdefault(name, bound.explanation)
                identity = {"distribution": distribution, "trial": trial, "output": name, "note": drawn.note}
                findings.append(failed_finding(identity, *failed) if failed else _judge(identity, bound, results))
    return Report(
        graph=graph.name, seed=str(seed), trials=trials, findings=tuple(findings), skipped=tuple(skipped), explanations=explanations
    )


class _Poison(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's has no types
    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # else its first use imports PyTorch's compiler, which takes more than a second
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if str(func._schema.name).partition("::")[2] in _EMPTY and isinstance(made, torch.Tensor):
            if made.is_floating_point() or made.is_complex():
                made.fill_(torch.nan)
            elif made.dtype is not torch.bool:
                made.fill_(torch.iinfo(made.dtype).min)
        return made


@contextmanager
def poisoned(active: bool = True) -> Iterator[None]:
    """Memory that is allocated with torch.empty and its like holds NaN, or the lowest integer, until it is written."""
    if not active:
        yield
        return
    with _Poison():  # type: ignore[no-untyped-call]  # PyTorch's has no types
        yield


def _run(
    candidate: Candidate, inputs: Mapping[str, torch.Tensor], device: str | torch.device, poison: bool
) -> tuple[Mapping[str, object], tuple[Failure, str] | None]:
    """What the candidate returns, or how it failed as a whole."""
    own = {name: tensor.to(device, copy=True) for name, tensor in inputs.items()}
    handed = dict(own)
    try:
        with poisoned(poison):
            results = candidate(handed)
    except Exception as error:  # a candidate may raise anything
        return {}, ("crashed", f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
    if not isinstance(results, Mapping):
        return {}, ("wrong_type", f"the candidate returned a {type(results).__name__}, not outputs by name")
    for name, tensor in own.items():
        if not _same_bytes(tensor.cpu(), inputs[name]):
            return {}, ("input_mutated", f"the candidate changed its input {name!r}")
    return results, None


def _same_bytes(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    first, second = a.contiguous().reshape(-1).view(torch.uint8), b.contiguous().reshape(-1).view(torch.uint8)
    return torch.equal(first, second)


def failed_finding(identity: Mapping[str, Any], failure: Failure, message: str) -> Finding:
    """A finding without numbers."""
    return Finding(**identity, failure=failure, message=message)


def _judge(identity: Mapping[str, Any], bound: Bound, results: Mapping[str, object]) -> Finding:
    """One output of one run."""
    name = identity["output"]
    if name not in results:
        got = ", ".join(map(str, results)) or "nothing"
        return failed_finding(identity, "missing_output", f"the candidate returned {got}, but no {name!r}")
    tensor = results[name]
    if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or not isinstance(tensor, torch.Tensor):
        return failed_finding(identity, "wrong_type", f"{name!r} is a {type(tensor).__name__}, not a plain PyTorch tensor")
    if tuple(tensor.shape) != tuple(bound.value.shape):
        return failed_finding(identity, "wrong_shape", f"{name!r} has the shape {tuple(tensor.shape)}, not {tuple(bound.value.shape)}")
    if tensor.dtype != find_dtype(bound.dtype).torch:
        return failed_finding(identity, "wrong_dtype", f"{name!r} is {str(tensor.dtype).removeprefix('torch.')}, not {bound.dtype}")
    return _compare(identity, bound, tensor.detach().cpu())


def _compare(identity: Mapping[str, Any], bound: Bound, got: torch.Tensor) -> Finding:
    comparison = bound.compare(got)
    worst = comparison.worst
    if not comparison.ratio.numel():
        return Finding(**identity, looseness=0.0)
    found, value, allowed = (float(t[worst]) for t in (got.to(torch.float64), bound.value, bound.error))
    ratio = float(comparison.ratio[worst])
    failure: Failure | None = None
    message = ""
    if not comparison.passed:
        wrong = int((comparison.ratio > 1).sum())
        failure = "mismatch"
        if math.isnan(found) and not math.isnan(value):
            failure = "nan"
        elif abs(found) == torch.inf and abs(value) != torch.inf:
            failure = "infinity"
        place = f"{identity['output']}[{', '.join(map(str, worst))}]"
        share = f"{wrong} of {comparison.ratio.numel()} elements are wrong"
        message = f"{place} is {found:.9g}, but must be {value:.9g} ± {allowed:.3g}; {share}"
    return Finding(
        **identity, failure=failure, message=message, ratio=ratio, worst=worst, got=found, wanted=value, allowed=allowed,
        unchecked=comparison.unchecked, looseness=bound.looseness,
    )  # fmt: skip
