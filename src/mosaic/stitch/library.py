"""The tile programs of a graph's nodes, for any tunables, each read once.

Tensors keep the graph's names, made fit for source code: `layer0.ffn.up` becomes `layer0_ffn_up`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from mosaic.errors import KernelError, ReadError
from mosaic.graph.graph import Graph, Node
from mosaic.graph.kernel import Value
from mosaic.tiles.anatomy import kernel_name
from mosaic.tiles.program import TileProgram
from mosaic.tiles.read import read
from mosaic.tiles.rewrite import bind

Tunables = Mapping[str, Value]


def freeze(tunables: Tunables) -> tuple[tuple[str, Value], ...]:
    """Tunables as a key."""
    return tuple(sorted(tunables.items()))


def as_prim_func(made: Any, label: str) -> Any:
    """The PrimFunc of whatever an author's function returned.

    Raises KernelError if it is none, with what it is instead.
    """
    if type(made).__name__ == "PrimFunc":
        return made
    inner = getattr(made, "prim_func", None)
    if type(inner).__name__ == "PrimFunc":
        return inner
    raise KernelError(f"kernel {label!r} returns a {type(made).__name__}; it must return a TileLang PrimFunc")


_FUNCS: Final[dict[Any, Any]] = {}
"""What authors' functions returned, for every graph of this process: TileLang takes about 20 ms to parse one. PrimFuncs don't change."""


class Library:
    """Instantiates, binds and reads the kernels of one graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._names: dict[str, str] = {}
        taken: set[str] = set()
        for name in graph.tensors:
            label = base = re.sub(r"\W", "_", name)
            number = 1
            while label in taken:
                number += 1
                label = f"{base}_{number}"
            taken.add(label)
            self._names[name] = label
        self._tensors = {label: name for name, label in self._names.items()}
        self._programs: dict[Any, TileProgram] = {}

    def label(self, tensor: str) -> str:
        """A graph tensor's name in source code."""
        return self._names[tensor]

    def tensor(self, label: str) -> str:
        """The graph tensor of a name in source code."""
        return self._tensors[label]

    def structure(self, node: Node) -> Any:
        """A key that is equal for nodes that run the same kernel on the same shapes with the same attributes."""
        assert node.kernel is not None and node.binding is not None
        return node.kernel.name, freeze(node.binding.symbols), node.binding.inputs

    def program(self, node: Node, tunables: Tunables) -> TileProgram:
        """The tile program of a node. Raises KernelError (ReadError) if its kernel can't be built or read."""
        key = node.name, freeze(tunables)
        if key not in self._programs:
            self._programs[key] = self._read(node, tunables)
        return self._programs[key]

    def _read(self, node: Node, tunables: Tunables) -> TileProgram:
        kernel, binding = node.kernel, node.binding
        assert kernel is not None and binding is not None
        key = kernel.build, self.structure(node), freeze(tunables)
        if key not in _FUNCS:
            _FUNCS[key] = as_prim_func(kernel.instantiate(binding, tunables), kernel.name)
        func = _FUNCS[key]
        roles = [role.name for role in (*kernel.inputs, *kernel.outputs)]
        own = [str(func.buffer_map[p].name) for p in func.params if p in func.buffer_map]
        if sorted(own) != sorted(roles):
            raise ReadError(
                f"kernel {kernel.name!r} takes the tensors {', '.join(own)}, but is registered with {', '.join(roles)}; name them alike"
            )
        names = {role: self.label(tensor) for role, tensor in zip(roles, (*node.inputs, *node.outputs), strict=True)}
        label = re.sub(r"\W", "_", node.name)
        program = read(bind(func, names, self._sizes(func, node), name=label or kernel_name(func)))
        self._check(program, node)
        return program

    @staticmethod
    def _sizes(func: Any, node: Node) -> dict[str, int]:
        """The values of the PrimFunc's dynamic shape variables, from the node's tensors."""
        assert node.kernel is not None and node.binding is not None
        specs = dict(
            zip([r.name for r in (*node.kernel.inputs, *node.kernel.outputs)], (*node.binding.inputs, *node.binding.outputs), strict=True)
        )
        sizes: dict[str, int] = {}
        for handle in func.params:
            buffer = func.buffer_map[handle]
            for size, actual in zip(buffer.shape, specs[str(buffer.name)].shape, strict=False):
                if type(size).__name__ in ("Var", "SizeVar"):
                    sizes[str(size.name)] = actual
        return sizes

    def _check(self, program: TileProgram, node: Node) -> None:
        """The PrimFunc's tensors are what the registration says, and it reads and writes them accordingly."""
        assert node.kernel is not None and node.binding is not None
        for names, specs, writes in ((node.inputs, node.binding.inputs, False), (node.outputs, node.binding.outputs, True)):
            for name, spec in zip(names, specs, strict=True):
                param = program.param(self.label(name))
                if (param.shape, param.dtype) != (spec.shape, spec.dtype):
                    raise ReadError(
                        f"kernel {node.kernel.name!r}: "
                        f"{name!r} is {param.dtype}{list(param.shape)} in its PrimFunc, {spec} in its registration"
                    )
                if not writes and param.mode in ("write", "update"):
                    raise ReadError(f"kernel {node.kernel.name!r} changes its input {name!r}; register what it changes as an output")
                if writes and param.mode in ("read", "unused"):
                    raise ReadError(f"kernel {node.kernel.name!r} never writes its output {name!r}")
