"""Which integer inputs of a graph are indices, and of how many elements: found by watching the references run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mosaic.dtypes import dtype as find_dtype
from mosaic.errors import MosaicError
from mosaic.graph import Graph

KEEPING: Final = frozenset(
    ("view", "_unsafe_view", "reshape", "t", "transpose", "permute", "unsqueeze", "squeeze", "expand", "slice", "select", "clone",
     "alias", "detach", "_to_copy", "to", "contiguous", "flatten")
)  # fmt: skip
"""Operations whose result holds the same indices."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's has no types
    """Follows tensors by name, and notes the length of what they pick from."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # else its first use imports PyTorch's compiler, which takes more than a second
        return False

    def __init__(self, names: dict[int, str], alive: list[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's has no types
        self.names, self.alive = names, alive
        self.lengths: dict[str, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        operation = str(func._schema.name).partition("::")[2]
        if operation in KEEPING and id(args[0]) in self.names and isinstance(result, torch.Tensor):
            self.names[id(result)] = self.names[id(args[0])]
            self.alive.append(result)  # an id is only unique while its tensor lives
        for index, length in _picks(operation, args):
            if id(index) in self.names:
                name = self.names[id(index)]
                self.lengths[name] = min(length, self.lengths.get(name, length))
        return result


def _picks(operation: str, args: Any) -> list[tuple[torch.Tensor, int]]:
    """Pairs of an index tensor and the number of elements it may pick from."""
    if operation == "embedding":
        return [(args[1], args[0].shape[0])]
    if operation in ("gather", "index_select", "scatter", "scatter_add", "index_add", "index_copy"):
        return [(args[2], args[0].shape[args[1]])]
    if operation in ("index", "index_put", "_unsafe_index"):
        return [(index, args[0].shape[axis]) for axis, index in enumerate(args[1]) if isinstance(index, torch.Tensor)]
    return []


def used_as_index(graph: Graph, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """For those of these integer inputs that index something: the range 0 to its length - 1, the shortest if several.

    Runs the reference of each node that reads one of them, on zeros and ones. A node that fails on these tells nothing.
    """
    found: dict[str, int] = {}
    for node in graph.nodes:
        roots = [graph.root(name).name for name in node.inputs]
        if node.kernel is None or node.binding is None or not set(roots) & set(names):
            continue
        tensors = []
        for name in node.inputs:
            spec = graph.tensors[name].spec
            dtype = find_dtype(spec.dtype)
            tensors.append(torch.ones(spec.shape, dtype=torch.float64) if dtype.is_float else torch.zeros(spec.shape, dtype=dtype.torch))
        watched = {id(tensor): root for tensor, root in zip(tensors, roots, strict=True) if root in names}
        watch = _Watch(watched, list(tensors))
        try:
            with torch.no_grad(), watch:
                node.kernel.run_reference(tensors, node.binding)
        except MosaicError:
            raise
        except Exception:  # the author's code may not like zeros
            continue
        for name, length in watch.lengths.items():
            found[name] = min(length, found.get(name, length))
    return {name: (0, length - 1) for name, length in found.items()}
