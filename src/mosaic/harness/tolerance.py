"""How far an honest kernel's result may be from the float64 reference, computed from dtypes and reduction lengths.

    bounds(graph, inputs)["y"].error        # float64, one number an element
    bounds(graph, inputs)["y"].explanation  # where it comes from, in words

The bound is a running error analysis of the graph's own references on the inputs at hand (`error_tensor`). It covers
every kernel that computes what the references say, in any order of additions, in the arithmetic of `Arithmetic`, whether
or not it rounds tensors between nodes to their dtypes: fused kernels keep some of them as they are. Where errors pass
through several nodes, what a worst case adds up to is replaced by what samples show, if that is less (`sampling`).

Where a value between nodes may overflow its dtype, a kernel that rounds there gives an infinity and one that
doesn't a number: nothing is known from there on, and the bound is infinite. `Comparison.unchecked` counts such elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch

from mosaic.dtypes import DType
from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import GraphError, InputError, KernelError, MosaicError
from mosaic.graph import Graph, Node
from mosaic.harness import rules_arithmetic, rules_composite, rules_discrete, rules_functions, rules_structure, rules_sums
from mosaic.harness.arithmetic import Arithmetic, half_spacing, overflow_threshold, representable
from mosaic.harness.bound import Bound
from mosaic.harness.error_tensor import Analysis, ErrorTensor, Part, build, merge_shares
from mosaic.harness.rules_structure import move
from mosaic.harness.sampling import Samples

RULES: Final = (rules_arithmetic, rules_composite, rules_discrete, rules_functions, rules_structure, rules_sums)
"""Importing these registers the rules."""

SAMPLES: Final = 24
TIGHT: Final = 8.0
"""Bounds below so many roundoffs of the output's dtype, relative to its values, are left as the worst case gives them."""
TIGHTEST: Final = 2.0**-16
"""Nor are bounds below this fraction of the values made any tighter."""


def bounds_of(
    function: Callable[..., Any], inputs: Sequence[torch.Tensor], outputs: Sequence[str], arithmetic: Arithmetic | None = None
) -> tuple[Bound, ...]:
    """The bounds of one function, as if it were a kernel's reference: `inputs` in order, its outputs stored in those dtypes.

    Raises KernelError if the function fails or uses what no error rule covers.
    """
    analysis = Analysis(arithmetic or Arithmetic())
    tensors = [given(tensor) for tensor in inputs]
    names = [find_dtype(tensor.dtype).name for tensor in inputs]
    analysis.enter("", [*names, *outputs], "the reference")
    results = _call(analysis, lambda: function(*tensors))
    return tuple(_finish(analysis, result, find_dtype(name)) for result, name in zip(results, outputs, strict=True))


def bounds(
    graph: Graph, inputs: Mapping[str, torch.Tensor], arithmetic: Arithmetic | None = None, *, samples: int = SAMPLES
) -> dict[str, Bound]:
    """The bounds of a graph's outputs by name, for these inputs (by name, of the declared shapes and dtypes; any device).

    Computed on the CPU in float64; memory and time are a few times those of the float64 reference, and where the
    worst-case analysis is not tight, `samples` times as much (0: never).
    Raises InputError for inputs that are missing or not as declared, GraphError if the graph is not valid or a constant has
    no content, KernelError if a reference fails or uses what no error rule covers.
    """
    graph.validate()
    tensors = {name: given(_content(graph, name, inputs)) for name in (*graph.inputs, *graph.constants)}
    analysis = Analysis(arithmetic or Arithmetic())
    results = _walk(analysis, graph, dict(tensors), None)
    if samples and graph.kernel_count > 1 and any(_is_loose(bound) for bound in results.values()):
        results = _walk(analysis, graph, dict(tensors), Samples(samples, analysis.arithmetic.failure))
    return {name: results[name] for name in graph.outputs}


def _is_loose(bound: Bound) -> bool:
    return bound.is_looser(max(TIGHT * find_dtype(bound.dtype).roundoff, TIGHTEST))


def given(tensor: torch.Tensor) -> torch.Tensor:
    """An input or constant, which a candidate reads exactly. Integers and booleans stay as they are."""
    plain = tensor.detach().cpu()
    if not plain.is_floating_point():
        return plain
    return ErrorTensor(plain.to(torch.float64), None, grid=find_dtype(plain.dtype).name)


def _content(graph: Graph, name: str, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    spec = graph.tensors[name].spec
    found = inputs.get(name) if name in graph.inputs else graph.constants[name]
    if found is None and name in graph.inputs:
        raise InputError(f"graph {graph.name!r} needs the input {name!r}, {spec}")
    if found is None:
        raise GraphError(f"graph {graph.name!r}: constant {name!r} has no content; load the graph with its weights")
    if tuple(found.shape) != spec.shape or found.dtype != find_dtype(spec.dtype).torch:
        raise InputError(f"graph {graph.name!r}: {name!r} must be {spec}, not {found.dtype} of the shape {tuple(found.shape)}")
    return found


def _walk(analysis: Analysis, graph: Graph, tensors: dict[str, torch.Tensor], samples: Samples | None) -> dict[str, Bound]:
    """The bounds of the outputs, node by node. `tensors` holds inputs and constants, and is used up."""
    results: dict[str, Bound] = {}
    uses = {name: len(graph.consumers(name)) for name in graph.tensors}
    for node in graph.nodes:
        for name, made in zip(node.outputs, _advance(analysis, graph, node, tensors, samples), strict=True):
            if name in graph.outputs:
                results[name] = _finish(analysis, made, find_dtype(graph.tensors[name].dtype))
            tensors[name] = made if node.is_view else _edge(analysis, made, find_dtype(graph.tensors[name].dtype), name, samples)
        for name in dict.fromkeys(node.inputs):
            uses[name] -= 1
            if uses[name] <= 0:
                del tensors[name]
                if samples is not None:
                    samples.drop(name)
    return results


def _advance(
    analysis: Analysis, graph: Graph, node: Node, tensors: Mapping[str, torch.Tensor], samples: Samples | None
) -> list[torch.Tensor]:
    """A node's outputs before they are rounded to their dtypes; their samples, too, are stored without that."""
    operands = [tensors[name] for name in node.inputs]
    if node.kernel is None or node.binding is None:
        x, shape = operands[0], graph.tensors[node.outputs[0]].shape
        if samples is not None and node.inputs[0] in samples.errors:
            moved = samples.errors[node.inputs[0]]
            samples.errors[node.outputs[0]] = moved.reshape(moved.shape[0], *shape)
        return [move(torch.reshape, x, shape) if isinstance(x, ErrorTensor) else x.reshape(shape)]
    analysis.certain = True
    made = _run(analysis, graph, node, operands)
    certain = analysis.certain
    if samples is None:
        return made
    kernel, binding = node.kernel, node.binding
    with _author(analysis.where):
        passed = samples.push(lambda values: kernel.run_reference(values, binding), node.inputs, [_plain(x) for x in operands])
    if not certain:  # steps are too rare to be sampled: all that may happen is drawn anew
        for name, x in zip(node.outputs, made, strict=True):
            samples.store(name, _plain(x), analysis.compute, None, _bound(x))
        return made
    exact = [_exact(x) for x in operands]
    usual = _run(analysis.typical(), graph, node, exact)
    own = made if passed is None else _run(analysis, graph, node, exact)
    for index, name in enumerate(node.outputs):
        samples.store(name, _plain(made[index]), analysis.compute, passed[index] if passed else None, _bound(usual[index]))
        if passed is not None and isinstance(x := made[index], ErrorTensor):
            made[index] = _tighten(analysis, x, own[index], samples.bound(passed[index]))
    return made


def _tighten(analysis: Analysis, worst: ErrorTensor, own: torch.Tensor, passed: torch.Tensor) -> ErrorTensor:
    """The smaller one of the worst case, and of the node's own rounding plus what samples show to be passed on."""
    likely = _bound(own) + passed
    if not bool((smaller := likely < worst.bound).any()):
        return worst
    # which causes make up what is passed on: as in the worst case
    weights = [float(t.nan_to_num(nan=0.0, posinf=0.0).mean()) for t in (_bound(own), passed)]
    earlier = worst.shares or {analysis.label("rounding in earlier nodes"): 1.0}
    shares = merge_shares([(own.shares if isinstance(own, ErrorTensor) else {}, weights[0]), (earlier, weights[1])])
    error = torch.where(smaller, likely, torch.zeros_like(likely) if worst.error is None else worst.error)
    noise = None if worst.noise is None else torch.where(smaller, 0.0, worst.noise)
    drift = None if worst.drift is None else torch.where(smaller, 0.0, worst.drift)
    more: dict[str, Any] = {"lineage": worst.lineage, "grid": worst.grid, "choices": worst.choices}
    return ErrorTensor(worst.value, error, noise=noise, drift=drift, shares=shares, **more)


def _bound(x: torch.Tensor) -> torch.Tensor:
    return x.bound if isinstance(x, ErrorTensor) else torch.zeros(x.shape, dtype=torch.float64)


def _plain(x: torch.Tensor) -> torch.Tensor:
    return x.value.to(x.dtype) if isinstance(x, ErrorTensor) else x


def _exact(x: torch.Tensor) -> torch.Tensor:
    if not isinstance(x, ErrorTensor):
        return x
    return ErrorTensor(x.value, None, grid=x.grid) if x.dtype == torch.float64 else _plain(x)


def _run(analysis: Analysis, graph: Graph, node: Node, operands: list[torch.Tensor]) -> list[torch.Tensor]:
    """The node's reference on ErrorTensors."""
    kernel, binding = node.kernel, node.binding
    if kernel is None or binding is None:
        raise GraphError(f"graph {graph.name!r}: node {node.name!r} is a view")
    where = f"graph {graph.name!r}, node {node.name!r}: the reference of kernel {kernel.name!r}"
    shapes = [graph.tensors[name].shape for name in node.outputs]
    analysis.enter(node.name, [graph.tensors[name].dtype for name in (*node.inputs, *node.outputs)], where)
    results = _call(analysis, lambda: kernel.run_reference(operands, binding))
    if [tuple(result.shape) for result in results] != shapes:
        found = ", ".join(str(tuple(result.shape)) for result in results)
        raise KernelError(f"{where} returned tensors of the shapes {found}, but {', '.join(map(str, shapes))} are registered")
    return results


@contextmanager
def _author(where: str) -> Iterator[None]:
    """Whatever an author's code raises becomes a KernelError. What it makes of integers and numbers is float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad():
            yield
    except MosaicError:
        raise
    except Exception as error:  # it may raise anything
        raise KernelError(f"{where} failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    finally:
        torch.set_default_dtype(before)


def _call(analysis: Analysis, run: Callable[[], Any]) -> list[torch.Tensor]:
    """The tensors of a reference that runs on ErrorTensors."""
    with _author(analysis.where), analysis:
        result = run()
    results = list(result) if isinstance(result, tuple | list) else [result]
    for item in results:
        if not isinstance(item, torch.Tensor):
            raise KernelError(f"{analysis.where} returned a {type(item).__name__}, not a tensor")
    return results


def _edge(analysis: Analysis, x: torch.Tensor, dtype: DType, name: str, samples: Samples | None) -> torch.Tensor:
    """A tensor between nodes, rounded to its dtype or not. Where it may overflow, nothing is known from there on."""
    if not isinstance(x, ErrorTensor):
        return ErrorTensor(x.to(torch.float64), None) if dtype.is_float else x
    if not dtype.is_float:
        return x
    made = analysis.rounded(x, dtype, f"rounding {name!r} to {dtype.name}")
    over = torch.isfinite(made.value) & (made.value.abs() + made.bound >= overflow_threshold(dtype))
    lost = torch.where(over, torch.inf, 0.0).to(torch.float64)
    if samples is not None:
        samples.round(name, x.value, dtype, (made.bound - x.bound).nan_to_num(posinf=torch.inf) + lost)
    if not bool(over.any()):
        return made if made.grid == dtype.name else analysis.regrid(made, dtype.name)
    parts = [analysis.carry(made), Part(analysis.label(f"overflow of {dtype.name}"), lost)]
    return build(made.value, parts, lineage=made.lineage, grid=dtype.name)


def _finish(analysis: Analysis, x: torch.Tensor, dtype: DType) -> Bound:
    """An output: its reference, and the bound with the last rounding, which every candidate makes."""
    if not isinstance(x, ErrorTensor):
        value = x.detach().to(torch.float64)
        return Bound(value, torch.zeros_like(value), dtype.name)
    bound = x.bound
    kept = (bound == 0) & representable(x.value, dtype)
    if x.grid == dtype.name:  # the reference itself rounds to it
        kept = torch.ones_like(kept)
    last = torch.where(kept, 0.0, half_spacing(dtype, x.value.abs() + bound))
    total = build(x.value, [analysis.carry(x), Part(f"rounding the result to {dtype.name}", last)], lineage=x.lineage)
    return Bound(x.value.clone(), total.bound, dtype.name, dict(total.shares), x.choices)
