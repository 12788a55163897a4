"""What a function must do at least: operations of its matrix products, and bytes that must move, counted on its PyTorch reference.

Two counts, kept apart. What the reference does is a fair measure of the distance to the roof. What *no* program can avoid is less: a
reference may multiply by a diagonal matrix, mask half of a product away, or gather a few rows of a table, and a candidate that sees it
does not cheat. Only for references made of operators that hide nothing of that kind is all of it unavoidable.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mosaic.errors import InputError


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PRODUCTS: Final = frozenset({"mm", "bmm", "addmm", "baddbmm", "linear"})
"""Products of dense matrices: with nothing masked around them no practical algorithm needs fewer operations (Strassen's saves an
eighth at sizes of many thousands, which is within the margin of a roof)."""

_MAPS: Final = _names(
    "add sub mul div neg abs exp log sqrt rsqrt relu gelu silu sigmoid tanh clamp clamp_min clamp_max pow reciprocal erf "
    "leaky_relu elu hardtanh hardswish hardsigmoid softplus mish maximum minimum square"
)
_REDUCTIONS: Final = _names(
    "sum mean amax amin max min var var_mean std _softmax _log_softmax native_layer_norm native_group_norm native_batch_norm "
    "_native_batch_norm_legit cumsum cumprod argmax argmin norm linalg_vector_norm logsumexp"
)
_MOVES: Final = _names(
    "view _unsafe_view reshape t transpose permute unsqueeze squeeze expand clone _to_copy contiguous detach alias copy_ "
    "lift_fresh cat stack empty empty_like zeros zeros_like ones ones_like full full_like scalar_tensor _reshape_alias "
    "convert_element_type"
)
SEES_ALL: Final = PRODUCTS | _MAPS | _REDUCTIONS | _MOVES
"""Operators that need every element they are given. Those that pick, mask or repeat some (index, gather, tril, where) are not here."""
KEEPS_PRODUCTS: Final = PRODUCTS | _MAPS | _MOVES | {"_softmax", "_log_softmax", "native_layer_norm"}
"""Operators around a product that leave it no smaller: the sum over one is the product of sums."""


@dataclass(frozen=True)
class Work:
    """What one call does. `products`: operations of matrix products (a multiply-add is two) by dtype: the narrowest of their operands and
    of the floating inputs, as a reference may widen what a candidate may multiply as it comes.

    `inputs` and `outputs` are the bytes of all of them, each moved once. `least_...` is what no program can avoid.
    """

    products: Mapping[str, float]
    inputs: int
    outputs: int
    least_products: Mapping[str, float] = field(default_factory=dict)
    least_inputs: int = 0
    least_outputs: int = 0
    how: str = "as given"

    @property
    def bytes(self) -> int:
        return self.inputs + self.outputs

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**self.__dict__, "products": dict(self.products), "least_products": dict(self.least_products)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises InputError for anything else."""
        try:
            numbers = [document[key] for key in ("inputs", "outputs", "least_inputs", "least_outputs")]
            tables = [document[key] for key in ("products", "least_products")]
            values = [*numbers, *tables[0].values(), *tables[1].values()]
            if any(not isinstance(value, (int, float)) or not 0 <= value < math.inf for value in values):
                raise ValueError
            return cls(tables[0], numbers[0], numbers[1], tables[1], numbers[2], numbers[3], str(document["how"]))
        except (KeyError, AttributeError, ValueError, TypeError):
            raise InputError("a count of work is malformed; write what Work.to_dict gives") from None


def work_of(reference: Callable[..., object], inputs: Sequence[object], attributes: Mapping[str, object] | None = None) -> Work:
    """Count what `reference(*inputs, **attributes)` does. It is run once, on tensors without storage if it can be, else on these.

    Raises what the reference raises.
    """
    attributes = attributes or {}
    try:
        return _counted(reference, [_without_storage(value) for value in inputs], attributes)
    except Exception:  # whatever cannot be done without values: data-dependent shapes, constants made on a device
        return _counted(reference, list(inputs), attributes)


def _counted(reference: Callable[..., object], inputs: list[object], attributes: Mapping[str, object]) -> Work:
    counter = _Counter([tensor.dtype for tensor in _tensors(inputs) if tensor.is_floating_point()])
    with torch.no_grad(), counter:
        result = reference(*inputs, **attributes)
    given = _distinct(_tensors(inputs))
    made = _distinct(_tensors(result), without=given)
    given = {key: tensor for key, tensor in given.items() if key in counter.used}
    all_in, all_out = (sum(t.numel() * t.element_size() for t in found.values()) for found in (given, made))
    sees_all = set(counter.operators) <= SEES_ALL
    products = {name: float(count) for name, count in counter.products.items()}
    kept = set(counter.operators) <= KEEPS_PRODUCTS and _is_kept(counter, made.values())
    strange = sorted(set(counter.operators) - SEES_ALL)
    how = f"counted on the reference: {_listed(counter.operators)}"
    how += f"; {', '.join(strange[:4])} may need less than all they are given" if strange else ""
    return Work(products, all_in, all_out, products if kept else {}, all_in if sees_all else 0, all_out, how)


def _is_kept(counter: _Counter, outputs: Iterable[torch.Tensor]) -> bool:
    """Whether the one product is unavoidable: of two chained ones the order may be changed, and a sum over a product is cheaper."""
    return len(counter.results) == 1 and set(counter.results) <= {tensor.numel() for tensor in outputs} and not counter.other_products


class _Counter(TorchDispatchMode):
    """Records the operators of a run, the operations of its products, and which storages were read."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # else its first use imports PyTorch's compiler, which takes more than a second
        return False

    def __init__(self, dtypes: list[torch.dtype]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's has no types
        self.dtypes = dtypes
        self.operators: Counter[str] = Counter()
        self.products: Counter[str] = Counter()
        self.results: list[int] = []
        self.other_products = False
        self.used: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet, kwargs = func._overloadpacket, kwargs or {}
        if packet not in flop_registry and func is not torch.ops.prim.device.default:
            with self:
                decomposed = func.decompose(*args, **kwargs)
            if decomposed is not NotImplemented:
                return decomposed
        result = func(*args, **kwargs)
        name = str(packet.__name__).removesuffix("_") if packet.__name__ != "copy_" else "copy_"
        self.operators[name] += 1
        self.used |= {_storage(tensor) for tensor in _tensors((args, kwargs))}
        if packet in flop_registry:
            dtypes = [tensor.dtype for tensor in _tensors(args)] + self.dtypes
            dtype = min(dtypes, key=lambda dtype: (dtype.itemsize, str(dtype)))
            self.products[str(dtype).removeprefix("torch.")] += int(flop_registry[packet](*args, **kwargs, out_val=result))
            self.results += [tensor.numel() for tensor in _tensors(result)[:1]]
            self.other_products |= name not in PRODUCTS
        return result


def _tensors(tree: object) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _distinct(tensors: Iterable[torch.Tensor], without: Mapping[int, torch.Tensor] | None = None) -> dict[int, torch.Tensor]:
    """One tensor, the largest, of each storage."""
    found: dict[int, torch.Tensor] = {}
    for tensor in tensors:
        key = _storage(tensor)
        if key not in (without or {}) and (key not in found or found[key].numel() < tensor.numel()):
            found[key] = tensor
    return found


def _without_storage(value: object) -> object:
    if isinstance(value, torch.nn.Module):
        raise TypeError("a module keeps its values")
    return torch.empty_like(value, device="meta") if isinstance(value, torch.Tensor) else value


def _listed(operators: Mapping[str, int]) -> str:
    names = [f"{name} {count}" if count > 1 else name for name, count in sorted(operators.items())]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "") if names else "no operators"
