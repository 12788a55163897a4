"""What a verb works on: a graph, whichever way it was named on the command line.

mosaic lower gemm --set M=512,N=512,K=64      a kernel alone, as a graph of one node
mosaic lower model.py                         a Python file that builds a graph
mosaic lower model.json                       a saved graph
mosaic lower minilm --set batch=8             the model that ships
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mosaic.cli.load import load_graph, load_kernels, shipped_kernels
from mosaic.cli.options import DEFAULT_DTYPE, DEFAULT_SIZE, MODEL, MODEL_SETTINGS
from mosaic.errors import InputError, KernelError

if TYPE_CHECKING:
    from mosaic.graph.graph import Graph, Node
    from mosaic.graph.kernel import Binding, Kernel, Value
    from mosaic.tiles.program import TileProgram


@dataclass(frozen=True)
class Source:
    """A graph, and the tunables chosen for its nodes, by node. `is_kernel` says that it stands for one kernel alone."""

    graph: Graph
    tunables: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    is_kernel: bool = False

    def tunables_of(self, node: Node) -> Mapping[str, Value]:
        """Those chosen, else the author's own, or valid ones close to them. Raises KernelError if none is."""
        if node.name in self.tunables:
            return self.tunables[node.name]
        assert node.kernel is not None and node.binding is not None
        return choose_tunables(node.kernel, node.binding, {})


def load_source(source: str, settings: Sequence[str] | None = None, file: Path | None = None) -> Source:
    """The graph that `source` names.

    Raises InputError for a file or a setting that makes no sense, KernelError for an unknown kernel or
    one that cannot be built for these settings, GraphError if the graph makes no sense.
    """
    given = parse_settings(settings or ())
    if file is not None:
        load_kernels(file)
    if source == MODEL:
        return Source(_model(given))
    if source.endswith((".py", ".json")) or os.sep in source:
        if given:
            raise InputError(f"--set is for a kernel or for {MODEL}; {source} sets its own sizes")
        return Source(load_graph(Path(source)))
    from mosaic.graph.kernel import find

    shipped_kernels()
    return kernel_source(find(source), given)


def parse_settings(texts: Sequence[str]) -> dict[str, Value]:
    """`["M=256,eps=1e-5", "causal=true"]` as `{"M": 256, "eps": 1e-05, "causal": True}`.

    Raises InputError for what is no NAME=VALUE, or a name that is set twice.
    """
    settings: dict[str, Value] = {}
    for part in ",".join(texts).split(",") if texts else ():
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not name or not value:
            raise InputError(f"--set {part!r} makes no sense; write NAME=VALUE, as in --set M=256")
        if name in settings:
            raise InputError(f"--set gives {name} twice")
        settings[name] = _value(value)
    return settings


def _value(text: str) -> Value:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def kernel_source(kernel: Kernel, given: Mapping[str, Value]) -> Source:
    """A graph named like the kernel, of one node, on tensors named like the kernel's.

    Raises KernelError for a setting that the kernel does not have or that is none for it, GraphError if the sizes don't meet.
    """
    from mosaic.dtypes import DTYPES
    from mosaic.graph.dims import evaluate, symbols_of
    from mosaic.graph.graph import Graph
    from mosaic.graph.kernel import Spec

    sizes = sorted({name for role in kernel.inputs for dim in role.dims for name in symbols_of(dim)} - set(kernel.attributes))
    dtypes = sorted({role.dtype for role in kernel.inputs if role.dtype not in DTYPES} - set(kernel.attributes))
    known = [*sizes, *dtypes, *kernel.attributes, *kernel.tunables]
    for name, value in given.items():
        if name not in known:
            raise KernelError(f"kernel {kernel.name!r} has nothing called {name!r} to set; it has {', '.join(known)}")
        if name in sizes and (type(value) is not int or value < 1):
            raise KernelError(f"kernel {kernel.name!r}: {name} is a size, so {value!r} must be a whole number from 1")
        if name in dtypes and value not in DTYPES:
            raise KernelError(f"kernel {kernel.name!r}: {name} is a dtype, so {value!r} must be one of {', '.join(DTYPES)}")
    attributes = {name: given.get(name, default) for name, default in kernel.attributes.items()}
    symbols = {**dict.fromkeys(sizes, DEFAULT_SIZE), **dict.fromkeys(dtypes, DEFAULT_DTYPE), **given, **attributes}
    graph = Graph(kernel.name)
    inputs = []
    for role in kernel.inputs:
        spec = Spec(tuple(evaluate(dim, symbols) for dim in role.dims), str(symbols.get(role.dtype, role.dtype)))
        inputs.append(graph.input(role.name, spec.shape, spec.dtype))
    # A node's only output is named like the node; of several, each has its own name.
    made = graph.call(kernel, *inputs, name=kernel.outputs[0].name if len(kernel.outputs) == 1 else kernel.name, **attributes)
    graph.output(*(made if isinstance(made, tuple) else (made,)))
    node = graph.nodes[0]
    assert node.binding is not None
    tunables = choose_tunables(kernel, node.binding, {name: value for name, value in given.items() if name in kernel.tunables})
    return Source(graph, {node.name: tunables}, is_kernel=True)


def kernel_program(source: Source) -> TileProgram:
    """What is read of the kernel that stands alone in `source`, under its own name.

    Raises KernelError (ReadError) if it can't be built or read.
    """
    from mosaic.stitch.library import Library
    from mosaic.tiles.read import read
    from mosaic.tiles.rewrite import bind

    (node,) = source.graph.nodes
    program = Library(source.graph).program(node, source.tunables_of(node))
    return read(bind(program.func, {}, name=source.graph.name))


def choose_tunables(kernel: Kernel, binding: Binding, given: Mapping[str, Value]) -> dict[str, Value]:
    """The valid tunables that agree with those given and differ in the fewest others from the author's own.

    Raises KernelError for one that is no choice, or if none is valid for the binding.
    """
    for name, value in given.items():
        if value not in kernel.tunables[name]:
            raise KernelError(
                f"kernel {kernel.name!r}: {name} is {value!r}, but must be one of {', '.join(map(str, kernel.tunables[name]))}"
            )
    own = kernel.default_tunables()
    fitting = [choice for choice in kernel.choices(binding) if all(choice[name] == value for name, value in given.items())]
    if fitting:
        return min(fitting, key=lambda choice: sum(choice[name] != own[name] for name in own))
    sizes = ", ".join(f"{name}={value}" for name, value in {**binding.symbols, **given}.items())
    raise KernelError(f"kernel {kernel.name!r} has no valid tunables for {sizes}")


def _model(given: Mapping[str, Value]) -> Graph:
    from mosaic.models.minilm import minilm

    if unknown := sorted(set(given) - set(MODEL_SETTINGS)):
        raise InputError(f"{MODEL} has nothing called {unknown[0]!r} to set; it has {', '.join(MODEL_SETTINGS)}")
    return minilm(**{**MODEL_SETTINGS, **given})
