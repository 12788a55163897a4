"""Mosaic's kernels as functions of tensors, for anything that calls functions: a judge, a benchmark, a model's forward.

row_softmax = candidate("softmax")            # a kernel that ships
mine = candidate(column_scale)                # a kernel of one's own, as `mosaic.kernel` registers it
block = candidate(lambda x, w, b: graph_of(x, w, b))   # from the specs of the inputs, a graph, which is fused
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from mosaic import kernels
from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, InputError
from mosaic.graph.graph import Graph
from mosaic.graph.kernel import Kernel, Spec, Value, find
from mosaic.pipeline import Fused, fuse

_NAMES = {dtype.torch: name for name, dtype in DTYPES.items()}


def candidate(what: str | Kernel | Callable[..., Graph], *, check: bool = False) -> Callable[..., Any]:
    """A function of tensors that runs a kernel, or a fused graph.

    what: a kernel, the name of one, or a function that builds a graph: it gets a `Spec` for each tensor, in order, and keywords. It is
    compiled once for each combination of shapes, dtypes, device and keywords. check: what was stitched is compared with float64.
    The function takes dense tensors of one device, and attributes as keywords; it returns a new tensor, or a tuple of them.

    The function raises InputError for what is no tensor, GraphError for a builder that returns something else than a graph, and what
    `mosaic.fuse` raises.
    """
    made: dict[object, Fused] = {}

    def run(*tensors: torch.Tensor, **attributes: Value) -> Any:
        specs = [_spec(index, tensor) for index, tensor in enumerate(tensors)]
        device = tensors[0].device.type if tensors else "cpu"
        key = (tuple(specs), device, tuple(sorted(attributes.items())))
        if key not in made:
            made[key] = fuse(_graph(what, specs, attributes), "cpu" if device == "cpu" else "auto", check=check)
        fused = made[key]
        results = fused.run({name: tensor.contiguous() for name, tensor in zip(fused.plan.graph.inputs, tensors, strict=True)})
        outputs = tuple(results[name] for name in fused.plan.graph.outputs)
        return outputs if len(outputs) != 1 else outputs[0]

    return run


def _spec(index: int, tensor: object) -> Spec:
    if not isinstance(tensor, torch.Tensor):
        raise InputError(f"argument {index} is a {type(tensor).__name__}, but must be a tensor; attributes are given by name")
    if tensor.dtype not in _NAMES:
        raise InputError(f"argument {index} is a tensor of {tensor.dtype}, which no kernel takes; the known dtypes are {', '.join(DTYPES)}")
    return Spec(tuple(tensor.shape), _NAMES[tensor.dtype])


def _graph(what: str | Kernel | Callable[..., Graph], specs: Sequence[Spec], attributes: dict[str, Value]) -> Graph:
    kernels.load()
    if not isinstance(what, str | Kernel):
        graph = what(*specs, **attributes)
        if not isinstance(graph, Graph):
            raise GraphError(f"the function that builds a graph returned a {type(graph).__name__}; return the mosaic.Graph")
        if len(graph.inputs) != len(specs):
            raise GraphError(f"graph {graph.name!r} has {len(graph.inputs)} inputs, but was built for {len(specs)} tensors")
        return graph
    kernel = find(what) if isinstance(what, str) else what
    graph = Graph(kernel.name)
    if len(specs) != len(kernel.inputs):
        raise GraphError(f"kernel {kernel.name!r} takes {len(kernel.inputs)} tensors, not {len(specs)}")
    roles = [graph.input(role.name, spec.shape, spec.dtype) for role, spec in zip(kernel.inputs, specs, strict=True)]
    outputs = graph.call(kernel, *roles, name=None, **attributes)
    graph.output(*(outputs if isinstance(outputs, tuple) else (outputs,)))
    return graph
