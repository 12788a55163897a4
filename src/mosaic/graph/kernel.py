"""A kernel's registration: its tensors, what varies, what may be tuned, and what it computes.

A kernel is an ordinary Python function that returns a TileLang PrimFunc (or a function made by
`tilelang.jit`). The decorator `kernel` adds what a graph needs to know about it:

    @kernel(
        inputs={"a": "M K : T", "b": "K N : T"},
        outputs={"c": "M N : T"},
        tunables={"block_M": (64, 128), "block_N": (64, 128)},
        reference=lambda a, b: a @ b,
    )
    def matmul(M, N, K, T, block_M=64, block_N=64): ...

A tensor is written `dims : dtype`. A dim is a number, a symbol, or an expression of symbols and
attributes without spaces (`K//2`, `(L-W)//S+1`); a dtype is a name of `mosaic.dtypes` or a symbol
(an attribute may name it too). Symbols are bound by the shapes and dtypes of the inputs; the
function is called with those symbols, attributes and tunables that its signature names.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import itertools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, KernelError

Value = int | float | str | bool
"""What a symbol, an attribute or a tunable can be."""


@dataclass(frozen=True)
class Spec:
    """Shape and dtype of one tensor."""

    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Role:
    """One tensor parameter of a kernel, as registered: its name, dims and dtype, unbound."""

    name: str
    dims: tuple[str, ...]
    dtype: str


@dataclass(frozen=True)
class Binding:
    """A kernel's symbols and attributes bound to values, and the specs that follow."""

    symbols: Mapping[str, Value]
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]


_OPERATORS: Final[dict[type[ast.operator], Callable[[int, int], int]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def _evaluate(node: ast.expr, symbols: Mapping[str, Value]) -> int:
    match node:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name) if isinstance(symbols.get(name), int):
            return int(symbols[name])
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_evaluate(left, symbols), _evaluate(right, symbols))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_evaluate(operand, symbols)
    raise KeyError(ast.unparse(node))


def _parse_roles(kernel_name: str, tensors: Mapping[str, str]) -> tuple[Role, ...]:
    roles = []
    for name, text in tensors.items():
        dims, colon, dtype = text.partition(":")
        if not colon or not dtype.strip():
            raise KernelError(f"kernel {kernel_name!r}: tensor {name!r} is written {text!r}; write it as 'dims : dtype'")
        for dim in dims.split():
            try:
                ast.parse(dim, mode="eval")
            except SyntaxError:
                raise KernelError(f"kernel {kernel_name!r}: tensor {name!r} has the dim {dim!r}, which is no expression") from None
        roles.append(Role(name, tuple(dims.split()), dtype.strip()))
    return tuple(roles)


@dataclass(frozen=True)
class Kernel:
    """A registered kernel.

    `attributes` are what changes its meaning (an epsilon, a flag) with their defaults; `tunables`
    only how it is computed. `reference` takes the input tensors in order, and those attributes
    and dtype symbols that it names as keywords, and returns the output or a tuple of outputs; it
    must work on float64 inputs. `valid` says which tunables fit which symbols.
    """

    name: str
    family: str
    inputs: tuple[Role, ...]
    outputs: tuple[Role, ...]
    attributes: Mapping[str, Value]
    tunables: Mapping[str, tuple[Value, ...]]
    reference: Callable[..., Any]
    build: Callable[..., Any]
    valid: Callable[..., bool] | None = None
    doc: str = ""
    source_file: str = ""
    _defaults: Mapping[str, Value] = field(default_factory=dict)

    def bind(self, inputs: Sequence[Spec], attributes: Mapping[str, Value] | None = None) -> Binding:
        """Bind the symbols to the shapes and dtypes of `inputs` (in order of the roles).

        Raises GraphError where they don't meet the roles, KernelError for an unknown attribute.
        """
        given = dict(attributes or {})
        if unknown := sorted(set(given) - set(self.attributes)):
            raise KernelError(f"kernel {self.name!r} has no attribute {unknown[0]!r}; it has {', '.join(self.attributes) or 'none'}")
        if len(inputs) != len(self.inputs):
            wanted = ", ".join(role.name for role in self.inputs)
            raise GraphError(f"kernel {self.name!r} takes {len(self.inputs)} inputs ({wanted}), not {len(inputs)}")
        symbols: dict[str, Value] = {**self.attributes, **given}
        deferred: list[tuple[Role, int, str, int]] = []
        for role, spec in zip(self.inputs, inputs, strict=True):
            if len(spec.shape) != len(role.dims):
                raise GraphError(f"kernel {self.name!r}: {role.name!r} is {spec}, but has {len(role.dims)} dims: {' '.join(role.dims)}")
            if role.dtype not in DTYPES:
                bound = symbols.setdefault(role.dtype, spec.dtype)
                if bound != spec.dtype:
                    raise GraphError(f"kernel {self.name!r}: {role.name!r} is {spec.dtype}, but {role.dtype} is already {bound}")
            elif role.dtype != spec.dtype:
                raise GraphError(f"kernel {self.name!r}: {role.name!r} is {spec.dtype}, but must be {role.dtype}")
            for axis, (dim, size) in enumerate(zip(role.dims, spec.shape, strict=True)):
                if dim.isidentifier():
                    bound = symbols.setdefault(dim, size)
                    if bound != size:
                        raise GraphError(f"kernel {self.name!r}: dim {axis} of {role.name!r} is {size}, but {dim} is already {bound}")
                else:
                    deferred.append((role, axis, dim, size))
        for role, axis, dim, size in deferred:
            if (wanted_size := self._dim(dim, symbols)) != size:
                raise GraphError(f"kernel {self.name!r}: dim {axis} of {role.name!r} is {size}, but {dim} is {wanted_size}")
        outputs = tuple(
            Spec(tuple(self._dim(dim, symbols) for dim in role.dims), str(symbols.get(role.dtype, role.dtype))) for role in self.outputs
        )
        for role, spec in zip(self.outputs, outputs, strict=True):
            if spec.dtype not in DTYPES or any(size < 1 for size in spec.shape):
                raise GraphError(f"kernel {self.name!r}: its output {role.name!r} would be {spec}, which is no tensor")
        return Binding(symbols, tuple(inputs), outputs)

    def _dim(self, dim: str, symbols: Mapping[str, Value]) -> int:
        try:
            return _evaluate(ast.parse(dim, mode="eval").body, symbols)
        except KeyError as missing:
            raise KernelError(f"kernel {self.name!r}: the dim {dim!r} needs {missing.args[0]!r}, which nothing binds") from None
        except ZeroDivisionError:
            raise GraphError(f"kernel {self.name!r}: the dim {dim!r} divides by zero") from None

    def default_tunables(self) -> dict[str, Value]:
        """The author's own choice."""
        return dict(self._defaults)

    def choices(self, binding: Binding) -> Iterator[dict[str, Value]]:
        """Every combination of tunables that is valid for these symbols, the author's own first."""
        names = list(self.tunables)
        combinations = [dict(zip(names, values, strict=True)) for values in itertools.product(*self.tunables.values())]
        combinations.sort(key=lambda choice: choice != self._defaults)
        for choice in combinations:
            if self.is_valid(binding, choice):
                yield choice

    def is_valid(self, binding: Binding, tunables: Mapping[str, Value]) -> bool:
        if self.valid is None:
            return True
        return bool(_call_named(self.valid, (), {**binding.symbols, **tunables}))

    def instantiate(self, binding: Binding, tunables: Mapping[str, Value] | None = None) -> Any:
        """What the author's function returns for these values: a PrimFunc or a `tilelang.jit` function.

        Raises KernelError for an unknown tunable, or if the author's function raises.
        """
        chosen = {**self._defaults, **(tunables or {})}
        if unknown := sorted(set(chosen) - set(self.tunables)):
            raise KernelError(f"kernel {self.name!r} has no tunable {unknown[0]!r}; it has {', '.join(self.tunables) or 'none'}")
        try:
            return _call_named(self.build, (), {**binding.symbols, **chosen})
        except KernelError:
            raise
        except Exception as error:  # the author's code may raise anything
            raise KernelError(f"kernel {self.name!r} with {chosen} could not be built: {type(error).__name__}: {error}") from error

    def run_reference(self, inputs: Sequence[torch.Tensor], binding: Binding) -> tuple[torch.Tensor, ...]:
        """The reference's outputs for `inputs`, in whatever precision these have."""
        result = _call_named(self.reference, tuple(inputs), dict(binding.symbols))
        return tuple(result) if isinstance(result, tuple) else (result,)

    def digest(self) -> str:
        """SHA-256 of the registration and of the file that holds the kernel: it changes when the code may have."""
        try:
            with open(self.source_file, "rb") as file:
                source = file.read()
        except OSError:
            source = b""
        text = repr((self.name, self.inputs, self.outputs, sorted(self.attributes.items()), sorted(self.tunables.items())))
        return hashlib.sha256(text.encode() + b"\0" + source).hexdigest()


def _call_named(function: Callable[..., Any], positional: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    parameters = list(inspect.signature(function).parameters.values())[len(positional) :]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return function(*positional, **named)
    return function(*positional, **{p.name: named[p.name] for p in parameters if p.name in named})


_REGISTRY: Final[dict[str, Kernel]] = {}


def kernel(
    *,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    reference: Callable[..., Any],
    attributes: Mapping[str, Value] | None = None,
    tunables: Mapping[str, Sequence[Value]] | None = None,
    valid: Callable[..., bool] | None = None,
    name: str | None = None,
) -> Callable[[Callable[..., Any]], Kernel]:
    """Register the decorated function as a kernel (see this module's docstring).

    The defaults of tunables are those of the function's signature, else the first choice.
    Raises KernelError if the registration contradicts itself or the name is taken by another file.
    """

    def register(build: Callable[..., Any]) -> Kernel:
        label = name or build.__name__
        choices = {key: tuple(values) for key, values in (tunables or {}).items()}
        signature = inspect.signature(build).parameters
        defaults: dict[str, Value] = {}
        for key, values in choices.items():
            if not values:
                raise KernelError(f"kernel {label!r}: tunable {key!r} has no choices")
            default = signature[key].default if key in signature else inspect.Parameter.empty
            defaults[key] = values[0] if default is inspect.Parameter.empty else default
            if defaults[key] not in values:
                raise KernelError(f"kernel {label!r}: the default {defaults[key]!r} of {key!r} is not among its choices")
        found = Kernel(
            name=label,
            family=build.__module__.rpartition(".")[2],
            inputs=_parse_roles(label, inputs),
            outputs=_parse_roles(label, outputs),
            attributes=dict(attributes or {}),
            tunables=choices,
            reference=reference,
            build=build,
            valid=valid,
            doc=inspect.getdoc(build) or "",
            source_file=inspect.getsourcefile(build) or "",
            _defaults=defaults,
        )
        if len({role.name for role in found.inputs + found.outputs}) != len(found.inputs) + len(found.outputs) or not found.outputs:
            raise KernelError(f"kernel {label!r}: its tensors need distinct names and at least one output")
        known = _REGISTRY.get(label)
        if known is not None and known.source_file != found.source_file:
            raise KernelError(f"kernel {label!r} is already registered by {known.source_file}; give this one another name")
        _REGISTRY[label] = found
        return found

    return register


def registered() -> dict[str, Kernel]:
    """All kernels registered so far, by name."""
    return dict(sorted(_REGISTRY.items()))


def find(name: str) -> Kernel:
    """The kernel of that name. Raises KernelError, with the nearest names, if there is none."""
    import difflib

    if name in _REGISTRY:
        return _REGISTRY[name]
    near = difflib.get_close_matches(name, _REGISTRY, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mosaic kernels` lists what there is"
    raise KernelError(f"no kernel is named {name!r}; {hint}")
