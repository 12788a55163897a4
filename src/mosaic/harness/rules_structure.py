"""Error rules of operations that move elements: the errors move with them.

Moves that copy an element to several places end its noise's independence, so that it becomes error.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_map

from mosaic.harness.error_tensor import Analysis, ErrorTensor, Lineage, Part, build, merge_shares, rule

aten: Any = torch.ops.aten


def _moved(lineage: Lineage, name: str, arguments: object) -> Lineage:
    return frozenset((number, hash((move, name, str(arguments)))) for number, move in lineage)


def move(func: Any, x: ErrorTensor, *args: Any, keeps_independence: bool = True, **kwargs: Any) -> Any:
    """Apply an operation that only moves elements to value, error and noise; results share memory as PyTorch's do."""
    values = func(x.value, *args, **kwargs)
    many = isinstance(values, list | tuple)
    made = []
    for index, value in enumerate(values if many else [values]):

        def same(tensor: torch.Tensor | None, index: int = index) -> torch.Tensor | None:
            if tensor is None:
                return None
            result = func(tensor, *args, **kwargs)
            moved: torch.Tensor = result[index] if many else result
            return moved

        error, noise, drift = same(x.error), same(x.noise), same(x.drift)
        if noise is not None and not keeps_independence:
            error, noise = noise if error is None else error + noise, None
        lineage = _moved(x.lineage, str(func), (index, args, sorted(kwargs.items())))
        made.append(ErrorTensor(value, error, noise=noise, drift=drift, lineage=lineage, grid=x.grid, shares=x.shares, dtype=x.dtype))
    return made if many else made[0]


def _view(x: torch.Tensor, shape: list[int]) -> torch.Tensor:
    return x.reshape(shape)


@rule(
    "view", "_unsafe_view", "t", "transpose", "permute", "unsqueeze", "squeeze", "slice", "select", "split", "split_with_sizes",
    "unbind", "alias", "detach", "flip", "roll", "diagonal", "lift_fresh", "movedim", "unsafe_split",
)  # fmt: skip
def rearrange(analysis: Analysis, func: Any, x: ErrorTensor, *args: Any, **kwargs: Any) -> Any:
    """Each element goes to one place at most. Shape: as PyTorch's."""
    name = str(func._schema.name).partition("::")[2]
    # errors may have other strides than the value, by which PyTorch chose a view
    made = move(_view if name in ("view", "_unsafe_view") else func, x, *args, **kwargs)
    if x.choices is not None and isinstance(made, ErrorTensor):
        candidates = x.choices.allowed.shape[-1]
        if name in ("view", "_unsafe_view", "unsqueeze", "squeeze", "alias", "detach") and not x.choices.distinct:
            made.choices = type(x.choices)(x.choices.allowed.reshape(*made.shape, candidates))
    return made


@rule("clone", "contiguous")
def copy(analysis: Analysis, func: Any, x: ErrorTensor, **kwargs: Any) -> ErrorTensor:
    more: dict[str, Any] = {"grid": x.grid, "choices": x.choices, "dtype": x.dtype}
    return build(x.value.clone(), [analysis.carry(x)], lineage=x.lineage, **more)


@rule("expand", "repeat", "unfold", "as_strided", "im2col", "replication_pad1d", "reflection_pad1d", "upsample_nearest1d")
def spread(analysis: Analysis, func: Any, x: ErrorTensor, *args: Any, **kwargs: Any) -> ErrorTensor:
    """An element may go to several places."""
    shape = func(x.value, *args, **kwargs).shape
    made: ErrorTensor = move(func, x, *args, keeps_independence=shape.numel() == x.numel(), **kwargs)
    return made


@rule("index", "index_select", "gather", "embedding")
def pick(analysis: Analysis, func: Any, x: Any, *args: Any, **kwargs: Any) -> ErrorTensor:
    """Elements picked by indices; where an index is not certain, nothing is known of what it picks."""
    if func is None:
        raise TypeError("called from within a rule")
    uncertain = [a for a in tree_flatten(args)[0] if isinstance(a, ErrorTensor)]
    if any(a.dtype == torch.bool for a in uncertain):
        raise analysis.refuse("index", "with a mask that is not certain within rounding errors; use torch.where")
    plain = tree_map(lambda a: a.value.to(torch.int64) if isinstance(a, ErrorTensor) else a, args)
    made: ErrorTensor = move(func, analysis.exact(x), *plain, keeps_independence=False, **kwargs)
    if not uncertain:
        return made
    name, doubt = str(func._schema.name).partition("::")[2], uncertain[0].bound > 0
    if name == "embedding":
        doubt = doubt.unsqueeze(-1)
    elif name != "gather":  # which elements an index reaches depends on its place: all of them
        doubt = doubt.any()
    lost = torch.where(doubt, torch.inf, 0.0).to(torch.float64).expand(made.shape)
    return build(made.value, [analysis.carry(made), Part(analysis.label("an index that is not certain"), lost)])


@rule("cat", "stack")
def join(analysis: Analysis, func: Any, tensors: list[Any], dim: int = 0) -> ErrorTensor:
    operands = [analysis.exact(tensor) for tensor in tensors]
    numbers = [number for operand in operands for number, _ in operand.lineage]
    independent = len(set(numbers)) == len(numbers)
    errors = [torch.zeros_like(x.value) if x.error is None else x.error for x in operands]
    noises = [torch.zeros_like(x.value) if x.noise is None else x.noise for x in operands]
    drifts = [torch.zeros_like(x.value) if x.drift is None else x.drift for x in operands]
    if not independent:
        errors = [error + noise for error, noise in zip(errors, noises, strict=True)]
    lineage: Lineage = frozenset().union(*(_moved(x.lineage, str(func), (i, dim)) for i, x in enumerate(operands)))
    grids = {x.grid for x in operands}
    return ErrorTensor(
        func([x.value for x in operands], dim),
        func(errors, dim),
        noise=func(noises, dim) if independent else None,
        drift=func(drifts, dim) if independent else None,
        lineage=lineage if independent else frozenset(),
        grid=grids.pop() if len(grids) == 1 else None,
        shares=merge_shares((x.shares, float(x.bound.nan_to_num(posinf=0.0).sum())) for x in operands),
    )


@rule("constant_pad_nd")
def pad(analysis: Analysis, func: Any, x: ErrorTensor, sizes: list[int], value: float = 0.0) -> ErrorTensor:
    made: ErrorTensor = move(aten.constant_pad_nd.default, x, sizes, 0.0)
    return _with_value(made, aten.constant_pad_nd.default(x.value, sizes, float(value)), x.grid if value == 0 else None)


def _with_value(x: ErrorTensor, value: torch.Tensor, grid: str | None) -> ErrorTensor:
    return ErrorTensor(value, x.error, noise=x.noise, drift=x.drift, lineage=x.lineage, grid=grid, shares=x.shares)


@rule("tril", "triu")
def triangle(analysis: Analysis, func: Any, x: ErrorTensor, diagonal: int = 0) -> ErrorTensor:
    made: ErrorTensor = move(func, x, diagonal)
    return made


@rule("index_put", "scatter", "index_copy", "select_scatter", "slice_scatter", "index_fill")
def put(analysis: Analysis, func: Any, x: ErrorTensor, *args: Any, **kwargs: Any) -> ErrorTensor:
    """Elements overwritten at certain indices."""
    if func is None or kwargs.get("accumulate") or (func._schema.name == "aten::index_put" and len(args) > 2 and args[2]):
        raise analysis.refuse("index_put", "with accumulation or in place; use torch.where, torch.cat or a sum")

    def part(item: Any, field: str) -> Any:
        if isinstance(item, ErrorTensor):
            return getattr(item, field)
        return 0.0 if field == "bound" and isinstance(item, float) else item

    value = func(x.value, *tree_map(lambda a: part(a, "value"), args), **kwargs)
    error = func(x.bound, *tree_map(lambda a: part(a, "bound"), args), **kwargs)
    return ErrorTensor(value, error, shares=x.shares)


@rule("zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_empty", "new_full")
def fresh(analysis: Analysis, func: Any, x: ErrorTensor, *args: Any, **kwargs: Any) -> Any:
    made = func(x.value, *[a.value if isinstance(a, ErrorTensor) else a for a in args], **kwargs)
    return build(made.to(torch.float64), []) if made.is_floating_point() else made


@rule("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose", "nonzero")
def decide(analysis: Analysis, func: Any, x: ErrorTensor, *args: Any) -> Any:
    """A number or a shape that the reference computes from values: only if it is certain."""
    rest = [analysis.exact(a) if isinstance(a, torch.Tensor) else a for a in args]
    if func is None or not x.is_exact or not all(a.is_exact for a in rest if isinstance(a, ErrorTensor)):
        raise analysis.refuse("item", "on a value that rounding errors reach; keep it a tensor")
    return func(x.value, *[a.value if isinstance(a, ErrorTensor) else a for a in rest])
