"""Tensors that carry, for each element, a float64 value and a bound of the error an honest kernel may make there.

Running error analysis: a kernel's PyTorch reference is executed once on `ErrorTensor`s inside an `Analysis`. Every
operation of PyTorch's dispatcher that the reference ends up in has a rule (`rule`) that computes, beside the value, how
errors of its inputs propagate and what its own rounding adds. Operations without a rule are taken apart by PyTorch's own
decompositions; one that has neither is refused with a KernelError, never guessed.

The bound of an element is `error + noise`:
- `error` holds for any combination of signs, and adds up linearly;
- `noise` is what rounding to a dtype added to each element independently of the others. As long as that stays so, a
  sum over elements adds it up by Hoeffding's inequality instead (see `arithmetic`), and it becomes `error` there. That
  supposes errors of mean zero, which data with a pattern need not give: `drift` is the error, with its sign, that
  rounding the reference itself makes, and what it adds up to is added.
`lineage` names the roundings behind the noise, and how elements were moved since: where the same rounding meets itself
after different moves, elements are no longer independent, and the noise becomes error.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

from mosaic.dtypes import DTYPES, DType
from mosaic.errors import KernelError
from mosaic.harness.arithmetic import Arithmetic, half_spacing, operand_dtype, overflow_threshold, representable

Lineage = frozenset[tuple[int, int]]
"""Pairs (number of the rounding, hash of the moves since)."""


class ErrorTensor(torch.Tensor):
    """A float64 value with error bounds, for use inside an `Analysis` only.

    value: float64. error: float64 of the same shape, or None for an exact tensor that must not be written to.
    noise, drift: float64, or both None. grid: the dtype whose numbers the candidate's elements are, if they are known to be such.
    shares: which causes make up the error, as fractions. choices: see `Choices`.
    The tensor itself claims float64; bool or an integer dtype if its elements are such but not certain.
    """

    value: torch.Tensor
    error: torch.Tensor | None
    noise: torch.Tensor | None
    drift: torch.Tensor | None
    lineage: Lineage
    grid: str | None
    shares: Mapping[str, float]
    choices: Choices | None

    @staticmethod
    def __new__(cls, value: torch.Tensor, error: torch.Tensor | None, **more: Any) -> ErrorTensor:
        make: Any = torch.Tensor._make_wrapper_subclass
        # the strides are those of `value`, because PyTorch decides by them what is a view
        made: ErrorTensor = make(cls, value.shape, value.stride(), dtype=more.get("dtype", torch.float64), device=value.device)
        return made

    def __init__(
        self,
        value: torch.Tensor,
        error: torch.Tensor | None,
        *,
        noise: torch.Tensor | None = None,
        drift: torch.Tensor | None = None,
        lineage: Lineage = frozenset(),
        grid: str | None = None,
        shares: Mapping[str, float] | None = None,
        choices: Choices | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if noise is not None and (drift is None or not lineage):  # it may depend on anything
            error, noise = noise if error is None else error + noise, None
        self.value, self.error, self.grid, self.choices = value, error, grid, choices
        self.noise, self.drift, self.lineage = (noise, drift, lineage) if noise is not None else (None, None, frozenset())
        self.shares = shares or {}

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # PyTorch's returns Any
        return f"ErrorTensor(value={self.value!r}, bound={self.bound!r})"

    @property
    def bound(self) -> torch.Tensor:
        """error + noise, float64."""
        total = torch.zeros_like(self.value) if self.error is None else self.error
        return total if self.noise is None else total + self.noise

    @property
    def is_exact(self) -> bool:
        """Whether every element is certain."""
        return self.error is None or not bool(self.bound.any())

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # PyTorch's annotation is that of its stand-in
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise RuntimeError(f"{func} was called on an ErrorTensor outside of an Analysis")


@dataclass(frozen=True)
class Choices:
    """The indices that are right answers of an argmax or a top-k: where values lie within their errors, several are.

    allowed: bool, shape of the index tensor plus one axis over the candidates. distinct: whether the indices along the
    index tensor's last axis must differ from each other.
    """

    allowed: torch.Tensor
    distinct: bool = False


class Part(NamedTuple):
    """One contribution to a result's error: propagated from a tensor, or by a cause of its own (a label).

    Noise comes with its drift, or counts as error.
    """

    cause: ErrorTensor | str
    error: torch.Tensor
    noise: torch.Tensor | None = None
    drift: torch.Tensor | None = None


def gap(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """|a - b|, and 0 where both are the same infinity."""
    return torch.where(a == b, torch.zeros_like(a), (a - b).abs())


def times(factor: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
    """|factor| error, with 0 for no error even where the factor is infinite."""
    return torch.where(error == 0, torch.zeros_like(error), factor.abs() * error)


def merge_shares(weighted: Iterable[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Shares of several contributions, each with its weight, normalised to 1."""
    total: dict[str, float] = {}
    for shares, weight in weighted:
        for label, share in shares.items():
            total[label] = total.get(label, 0.0) + share * weight
    whole = sum(total.values())
    return {label: share / whole for label, share in total.items()} if whole > 0 else {}


def _weight(part: Part) -> float:
    """The mean of a contribution, of large ones that of elements evenly spread over the longest axis."""
    error, noise = part.error, part.noise
    if (step := error.numel() // WEIGHED) > 1:
        axis = max(range(error.ndim), key=lambda one: error.shape[one])
        some = torch.arange(0, error.shape[axis], min(step, max(1, error.shape[axis] // 8)))
        error, noise = error.index_select(axis, some), None if noise is None else noise.index_select(axis, some)
    size = error if noise is None else error + noise
    return float(torch.nan_to_num(size, nan=0.0, posinf=0.0).mean()) if size.numel() else 0.0


def build(value: torch.Tensor, parts: Sequence[Part], *, lineage: Lineage = frozenset(), **more: Any) -> ErrorTensor:
    """A result from its value and the contributions to its error.

    An error that is NaN becomes infinite (nothing is known); where the value is NaN or infinite and
    nothing else is known, a candidate's must be the same.
    """
    error = torch.zeros_like(value)
    noise: torch.Tensor | None = None
    drift: torch.Tensor | None = None
    for part in parts:
        error = error + part.error
        if part.noise is not None and part.drift is None:
            error = error + part.noise
        elif part.noise is not None and part.drift is not None:
            noise = part.noise if noise is None else noise + part.noise
            drift = part.drift if drift is None else drift + part.drift
    sure = bool(torch.isfinite(error.sum() if noise is None else error.sum() + noise.sum()))  # one pass where all is well
    if not sure and bool((undecided := torch.isnan(error) if noise is None else torch.isnan(error + noise)).any()):
        error = torch.where(undecided, torch.where(torch.isfinite(value), torch.inf, 0.0), error)
        noise = None if noise is None else torch.where(undecided, 0.0, noise)
    if not bool(torch.isfinite(value.sum())) and bool((special := torch.isnan(value)).any()):
        error = torch.where(special, 0.0, error)
        noise = None if noise is None else torch.where(special, 0.0, noise)
    sources = [({part.cause: 1.0} if isinstance(part.cause, str) else part.cause.shares, _weight(part)) for part in parts]
    return ErrorTensor(value, error, noise=noise, drift=drift, lineage=lineage, shares=merge_shares(sources), **more)


def join_lineage(*tensors: ErrorTensor) -> Lineage | None:
    """The lineage of an element-by-element combination; None where the same rounding was moved in different ways."""
    joined: Lineage = frozenset().union(*(tensor.lineage for tensor in tensors))
    return joined if len({number for number, _ in joined}) == len(joined) else None


WEIGHED: Final = 1 << 16
"""Elements of which the causes' shares are estimated, about."""

Rule = Callable[..., Any]
"""rule(analysis, func, *args, **kwargs): tensors among the arguments are ErrorTensors, integers and booleans plain."""

_RULES: Final[dict[str, Rule]] = {}
_roundings = itertools.count()


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register the decorated function for these operations of PyTorch's dispatcher ("mul", "_softmax", ...)."""

    def register(function: Rule) -> Rule:
        for name in names:
            _RULES[name] = function
        return function

    return register


class Analysis(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's has no types
    """The context in which references run on ErrorTensors.

    `enter` names the node that is running, for the explanation and for error messages. `certain` becomes False when an
    operation's result takes a step within its error (a comparison, a rounding to integers, an index).
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # else its first use imports PyTorch's compiler, which takes more than a second
        return False

    def __init__(self, arithmetic: Arithmetic) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # PyTorch's has no types
        self.arithmetic = arithmetic
        self.node = ""
        self.where = "the reference"
        self.compute: DType = DTYPES[arithmetic.compute]
        self.operand: DType = self.compute
        self.certain = True
        self.cache: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}

    def enter(self, node: str, dtypes: Sequence[str], where: str) -> None:
        """Set the node that runs next, the dtypes of its inputs and outputs, and how messages name it."""
        self.node, self.where = node, where
        self.compute = DTYPES["float64"] if "float64" in dtypes else DTYPES[self.arithmetic.compute]
        self.operand = operand_dtype(list(dtypes), self.compute.name) if self.arithmetic.narrow_operands else self.compute

    def typical(self) -> Analysis:
        """The same with errors of about one standard deviation where they are probabilistic."""
        made = Analysis(replace(self.arithmetic, failure=0.99))
        made.cache = self.cache
        return made

    @property
    def roundoff(self) -> float:
        """Unit roundoff of a kernel's arithmetic; twice as much in float64, in which the reference itself rounds too."""
        return self.compute.roundoff * (2.0 if self.compute.bits == 64 else 1.0)

    def label(self, what: str) -> str:
        return f"{self.node}: {what}" if self.node else what

    def exact(self, tensor: Any) -> ErrorTensor:
        """A tensor or number without any error. A Python number that `compute` cannot hold has the error of rounding it."""
        if isinstance(tensor, ErrorTensor):
            return tensor
        if isinstance(tensor, torch.Tensor):
            return ErrorTensor(tensor.detach().to(torch.float64), None)
        value = torch.tensor(float(tensor), dtype=torch.float64)
        if bool(representable(value, self.compute)):
            return ErrorTensor(value, None)
        return build(value, [Part(self.label("constants rounded to float32"), self.compute.roundoff * value.abs())])

    def rounded(self, x: ErrorTensor, dtype: DType, what: str, *, scaled: bool = False) -> ErrorTensor:
        """`x` where each element may be rounded to `dtype` or not, which adds independent noise.

        Exact elements that `dtype` holds stay exact. With `scaled`, elements may be rounded before being scaled
        by a number of their row: then the relative error counts, not the spacing at the element.
        """
        if x.grid == dtype.name or not dtype.is_float or dtype.roundoff <= self.compute.roundoff:
            return x
        bound = x.bound
        magnitude = x.value.abs() + bound
        added = (dtype.roundoff * magnitude).clamp(min=dtype.smallest / 2) if scaled else half_spacing(dtype, magnitude)
        kept = (bound == 0) & representable(x.value, dtype) | ~torch.isfinite(x.value)
        added = torch.where(kept, torch.zeros_like(added), added)
        drift = torch.where(kept, 0.0, (x.value.to(dtype.torch).to(torch.float64) - x.value).nan_to_num(0.0, 0.0, 0.0))
        if not bool(added.any()):
            return self.regrid(x, dtype.name)
        fresh: Lineage = frozenset({(next(_roundings), 0)})
        parts = [self.carry(x), Part(self.label(what), torch.zeros_like(added), added, drift)]
        return build(x.value, parts, lineage=x.lineage | fresh, grid=dtype.name, choices=x.choices)

    def carry(self, x: ErrorTensor) -> Part:
        """All of `x`'s error, as a contribution to a result that equals it."""
        return Part(x, torch.zeros_like(x.value) if x.error is None else x.error, x.noise, x.drift)

    def regrid(self, x: ErrorTensor, grid: str | None) -> ErrorTensor:
        more: dict[str, Any] = {"shares": x.shares, "choices": x.choices}
        return ErrorTensor(x.value, x.error, noise=x.noise, drift=x.drift, lineage=x.lineage, grid=grid, **more)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Apply the rule of an operation from within another rule."""
        return self.limit(_RULES[name](self, None, *args, **kwargs))

    def limit(self, result: Any) -> Any:
        """The same, with nothing known of values that overflow the arithmetic's dtype."""
        if isinstance(result, ErrorTensor) and result.error is not None and result.value.numel():
            most = overflow_threshold(self.compute)
            low, high = (float(end) for end in torch.aminmax(result.value))
            if -most < low and high < most:  # in one pass where all is well; not so where there is a NaN
                return result
            if float(torch.nan_to_num(result.value, posinf=0.0, neginf=0.0).abs().max()) >= most:
                over = torch.isfinite(result.value) & (result.value.abs() >= most)
                lost = Part(self.label(f"overflow of {self.compute.name}"), torch.where(over, torch.inf, 0.0))
                return build(result.value, [self.carry(result), lost], lineage=result.lineage, dtype=result.dtype)
        return result

    def refuse(self, name: str, why: str) -> KernelError:
        return KernelError(f"{self.where} uses PyTorch's {name!r}, {why}")

    # Dispatch

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        flat, _ = tree_flatten((args, kwargs))
        name = str(func._schema.name).partition("::")[2]
        tensors = [item for item in flat if isinstance(item, torch.Tensor)]
        if not any(isinstance(item, ErrorTensor) or item.is_floating_point() for item in tensors):
            result = func(*args, **kwargs)
            if name not in _RULES or not tensors or not any(map(_is_float, tree_flatten(result)[0])):
                return tree_map(self._wrap, result)
        if func._schema.is_mutable and name.endswith("_"):
            return self._in_place(name, args, kwargs)
        return self._apply(func, name, args, kwargs)

    def _wrap(self, item: Any) -> Any:
        # with an error tensor of its own, since the reference may write into it
        return build(item.to(torch.float64), []) if _is_float(item) else item

    def _promote(self, item: Any) -> Any:
        return self.exact(item) if _is_float(item) else item

    def _apply(self, func: Any, name: str, args: Any, kwargs: Any) -> Any:
        if name in _RULES:
            try:
                args, kwargs = tree_map(self._promote, (args, kwargs))
                result = self.limit(_RULES[name](self, func, *args, **kwargs))
                return _claim_integers(result, args) if name in INTEGER_ARITHMETIC else result
            except TypeError as error:
                raise self.refuse(name, f"in a form that has no error rule ({error})") from error
        decompositions: Any = torch._decomp.decomposition_table
        if func in decompositions:
            with self:
                return decompositions[func](*args, **kwargs)
        with self:
            result = func.decompose(*args, **kwargs)
        if result is NotImplemented:
            remedy = "write the reference with other functions, or add one (mosaic.harness.error_tensor.rule)"
            raise self.refuse(name, f"for which no error rule exists; {remedy}")
        return result

    def _in_place(self, name: str, args: Any, kwargs: Any) -> Any:
        target = args[0]
        if not isinstance(target, ErrorTensor) or target.error is None:
            raise self.refuse(name, "which changes an input or a captured tensor in place; return new tensors instead")
        if name in ("copy_", "fill_", "zero_"):
            source = self.exact(args[1]) if len(args) > 1 else self.exact(0.0)
        else:
            functional = name[:-1]
            if functional not in _RULES:
                raise self.refuse(name, "for which no error rule exists; use the function that returns a new tensor")
            source = _RULES[functional](self, None, *tree_map(self._promote, args), **kwargs)
        if not target.dtype == torch.float64 == source.dtype:
            raise self.refuse(name, "on elements that are not certain")
        target.value.copy_(source.value)
        target.error.copy_(source.bound)  # views share `error`; noise of its own would be missed by them
        for part in (target.noise, target.drift):
            if part is not None:
                part.zero_()
        target.grid = source.grid if target.grid == source.grid else None
        target.shares = merge_shares([(target.shares, 1.0), (source.shares, 1.0)])
        return target


INTEGER_ARITHMETIC: Final = frozenset(("add", "sub", "rsub", "mul", "remainder", "neg", "abs", "clamp", "maximum", "minimum"))


def _claim_integers(result: Any, args: Any) -> Any:
    """Arithmetic of integers that are not certain gives such integers again."""
    floats = [a for a in args if isinstance(a, float) or (isinstance(a, torch.Tensor) and a.dtype.is_floating_point)]
    if floats or not isinstance(result, ErrorTensor):
        return result
    return ErrorTensor(result.value, result.bound, shares=result.shares, dtype=torch.int64)


def _is_float(item: Any) -> bool:
    return isinstance(item, torch.Tensor) and not isinstance(item, ErrorTensor) and item.is_floating_point()
