"""The truth: a graph computed by its kernels' PyTorch references, node by node."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import GraphError, InputError, KernelError
from mosaic.graph.graph import Graph, Node
from mosaic.graph.kernel import Spec

Precision = Literal["float64", "native"]
Keep = Literal["all", "outputs"]


def run(
    graph: Graph, inputs: Mapping[str, torch.Tensor], *, precision: Precision = "float64", keep: Keep = "all"
) -> dict[str, torch.Tensor]:
    """Compute the graph on `inputs`, one tensor of the declared shape and dtype for each input's name.

    "float64": every float, inputs and constants included, becomes float64, and nothing is rounded
    between nodes; integers and booleans have their declared dtypes. "native": what the unfused graph
    stores: each tensor has its declared dtype, and a node computes on floats of 32 bits if its
    widest is narrower than that, because that is how kernels accumulate, and rounds at its end.

    Returns all tensors by name, or, with keep="outputs", the graph's outputs alone, and frees what is no
    longer needed on the way. Runs on the device that holds the inputs. Some may share memory with `inputs`.
    Raises InputError for inputs that are missing, unknown or not as declared, GraphError if the graph is
    not valid or its constants have no content, KernelError if a reference fails, changes its
    inputs, or returns what its registration does not declare.
    """
    if precision not in get_args(Precision) or keep not in get_args(Keep):
        raise InputError(f"precision is 'float64' or 'native' and keep 'all' or 'outputs', not {precision!r} and {keep!r}")
    graph.validate()
    device = _check_inputs(graph, inputs)
    uses = {name: len(graph.consumers(name)) + (name in graph.outputs) for name in graph.tensors}
    values: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for name, tensor in graph.tensors.items():
            if tensor.kind != "intermediate" and (keep == "all" or uses[name]):
                content = inputs[name] if tensor.kind == "input" else graph.constants[name]
                if content is None:
                    raise GraphError(f"graph {graph.name!r}: constant {name!r} has no content; load the graph with its weights")
                values[name] = _store(content.detach().to(device), precision)
        for node in graph.nodes:
            results = _run_node(graph, node, [values[name] for name in node.inputs], precision)
            values.update(zip(node.outputs, results, strict=True))
            for name in dict.fromkeys(node.inputs):
                uses[name] -= 1
            if keep == "outputs":
                for name in {*node.inputs, *node.outputs}:
                    if uses[name] == 0:
                        del values[name]
    return values if keep == "all" else {name: values[name] for name in graph.outputs}


def _check_inputs(graph: Graph, inputs: Mapping[str, torch.Tensor]) -> torch.device | None:
    """The device of the inputs, None if there are none. Raises InputError if they are not what the graph declares."""
    for name in inputs:
        if name not in graph.inputs:
            near = difflib.get_close_matches(str(name), graph.inputs, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"its inputs are {', '.join(graph.inputs) or 'none'}"
            raise InputError(f"graph {graph.name!r} has no input {name!r}; {hint}")
    devices: dict[torch.device, str] = {}
    for name in graph.inputs:
        spec = graph.tensors[name].spec
        if name not in inputs:
            raise InputError(f"graph {graph.name!r} needs the input {name!r}, {spec}")
        if not isinstance(given := inputs[name], torch.Tensor):
            raise InputError(f"graph {graph.name!r}: input {name!r} must be a PyTorch tensor, not a {type(given).__name__}")
        if tuple(given.shape) != spec.shape or given.dtype != find_dtype(spec.dtype).torch:
            raise InputError(f"graph {graph.name!r}: input {name!r} must be {spec}, not {_describe(given)}")
        devices.setdefault(given.device, name)
    if len(devices) > 1:
        places = " but ".join(f"{name!r} on {device}" for device, name in devices.items())
        raise InputError(f"graph {graph.name!r}: its inputs must be on one device; {places}")
    return next(iter(devices), None)


def _store(tensor: torch.Tensor, precision: Precision) -> torch.Tensor:
    wide = precision == "float64" and tensor.is_floating_point()
    return (tensor.to(torch.float64) if wide else tensor).contiguous()


def _run_node(graph: Graph, node: Node, values: Sequence[torch.Tensor], precision: Precision) -> tuple[torch.Tensor, ...]:
    specs = [graph.tensors[name].spec for name in node.outputs]
    if node.kernel is None or node.binding is None:
        return (values[0].reshape(specs[0].shape),)
    where = f"graph {graph.name!r}, node {node.name!r}: the reference of kernel {node.kernel.name!r}"
    floats = {value.dtype for value in values if value.is_floating_point()}
    width = torch.float64 if torch.float64 in floats else torch.float32
    operands = [value.to(width) if value.is_floating_point() else value for value in values]
    versions = [_version(operand) for operand in operands]
    try:
        results = node.kernel.run_reference(operands, node.binding)
    except Exception as error:  # the author's code may raise anything
        raise KernelError(f"{where} failed: {type(error).__name__}: {str(error).partition(chr(10))[0]}") from error
    if [_version(operand) for operand in operands] != versions:
        raise KernelError(f"{where} changes its inputs in place; it must return new tensors")
    if len(results) != len(specs):
        raise KernelError(f"{where} returned {len(results)} tensors, but {len(specs)} are registered")
    named = zip(node.kernel.outputs, results, specs, strict=True)
    strict = precision == "float64" and bool(floats)
    return tuple(_settle(result, spec, f"{where} returned for {role.name!r}", precision, strict=strict) for role, result, spec in named)


def _settle(result: object, spec: Spec, where: str, precision: Precision, *, strict: bool) -> torch.Tensor:
    """A reference's result as the graph stores it. With `strict`, a float result must be float64. Raises KernelError."""
    if not isinstance(result, torch.Tensor):
        raise KernelError(f"{where} a {type(result).__name__}, not a tensor")
    if tuple(result.shape) != spec.shape:
        raise KernelError(f"{where} {_describe(result)}, but {spec} follows from its registration")
    declared = find_dtype(spec.dtype).torch
    if result.is_complex():
        raise KernelError(f"{where} complex numbers")
    if declared.is_floating_point:
        if strict and result.is_floating_point() and result.dtype != torch.float64:
            raise KernelError(f"{where} {_describe(result)} although its inputs are float64; it must keep their precision")
        return result.to(torch.float64 if precision == "float64" else declared).contiguous()
    if result.dtype == declared:
        return result.contiguous()
    exact = result.to(declared)
    if not torch.equal(exact.to(torch.float64), result.to(torch.float64)):
        raise KernelError(f"{where} {_describe(result)} with values that {spec.dtype} cannot hold exactly")
    return exact.contiguous()


def _version(tensor: torch.Tensor) -> int:
    """Rises with each change in place; PyTorch does not count those of tensors made in inference mode."""
    return 0 if tensor.is_inference() else tensor._version


def _describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')}[{', '.join(map(str, tensor.shape))}]"
