"""A kernel's registration: its tensors, what varies, what may be tuned, and what it computes.

A kernel is an ordinary Python function that returns a TileLang PrimFunc, or a function made by
`tilelang.jit`. The decorator `kernel` adds what a graph needs to know about it:

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

import difflib
import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from mosaic.dtypes import DTYPES
from mosaic.errors import GraphError, KernelError
from mosaic.graph.dims import evaluate, symbols_of

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


def _parse_roles(kernel_name: str, tensors: Mapping[str, str]) -> tuple[Role, ...]:
    roles = []
    for name, text in tensors.items():
        dims, colon, dtype = text.partition(":")
        if not colon or not dtype.strip():
            raise KernelError(f"kernel {kernel_name!r}: tensor {name!r} is written {text!r}; write it as 'dims : dtype'")
        for dim in dims.split():
            try:
                symbols_of(dim)
            except KernelError as error:
                raise KernelError(f"kernel {kernel_name!r}: tensor {name!r}: {error}") from None
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

        Raises GraphError where they don't meet the roles, KernelError for an unknown attribute or
        one whose value is of another kind than its default.
        """
        given = dict(attributes or {})
        if unknown := sorted(set(given) - set(self.attributes)):
            raise KernelError(f"kernel {self.name!r} has no attribute {unknown[0]!r}; it has {', '.join(self.attributes) or 'none'}")
        for name, value in given.items():
            if _kind(value) != _kind(default := self.attributes[name]):
                raise KernelError(f"kernel {self.name!r}: attribute {name!r} is {value!r}, but must be a {_kind(default)} like {default!r}")
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
            return evaluate(dim, symbols)
        except KeyError as missing:
            symbol = missing.args[0]
            raise KernelError(f"kernel {self.name!r}: the dim {dim!r} needs {symbol!r}, which nothing binds to a whole number") from None
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
        """Whether the author allows these tunables for these symbols. Raises KernelError if `valid` itself raises."""
        if self.valid is None:
            return True
        try:
            return bool(_call_named(self.valid, (), {**binding.symbols, **tunables}))
        except Exception as error:  # the author's code may raise anything
            raise KernelError(f"kernel {self.name!r}: its `valid` failed for {dict(tunables)}: {type(error).__name__}: {error}") from error

    def instantiate(self, binding: Binding, tunables: Mapping[str, Value] | None = None) -> Any:
        """What the author's function returns for these values: a PrimFunc or a `tilelang.jit` function.

        A kernel that is itself a `tilelang.jit` function gives its PrimFunc; if it takes tensors, it
        sees tensors without storage of the bound shapes and dtypes.
        Raises KernelError for an unknown tunable, or if the author's function raises.
        """
        chosen = {**self._defaults, **(tunables or {})}
        if unknown := sorted(set(chosen) - set(self.tunables)):
            raise KernelError(f"kernel {self.name!r} has no tunable {unknown[0]!r}; it has {', '.join(self.tunables) or 'none'}")
        try:
            if (get_tir := getattr(self.build, "get_tir", None)) is None:
                return _call_named(self.build, (), {**binding.symbols, **chosen})
            roles = zip(self.inputs + self.outputs, binding.inputs + binding.outputs, strict=True)
            tensors = {role.name: torch.empty(spec.shape, dtype=DTYPES[spec.dtype].torch, device="meta") for role, spec in roles}
            return _call_named(_plain(self.build), (), {**tensors, **binding.symbols, **chosen}, call=get_tir)
        except KernelError:
            raise
        except Exception as error:  # the author's code may raise anything
            raise KernelError(f"kernel {self.name!r} with {chosen} could not be built: {type(error).__name__}: {error}") from error

    def run_reference(self, inputs: Sequence[torch.Tensor], binding: Binding) -> tuple[torch.Tensor, ...]:
        """The reference's outputs for `inputs`, in whatever precision these have."""
        result = _call_named(self.reference, tuple(inputs), dict(binding.symbols))
        return tuple(result) if isinstance(result, tuple | list) else (result,)

    def digest(self) -> str:
        """SHA-256 of the registration and of the file that holds the kernel: it changes when the code may have."""
        try:
            with open(self.source_file, "rb") as file:
                source = file.read()
        except OSError:
            source = b""
        mappings = [sorted(mapping.items()) for mapping in (self.attributes, self.tunables, self._defaults)]
        text = repr((self.name, self.inputs, self.outputs, *mappings))
        return hashlib.sha256(text.encode() + b"\0" + source).hexdigest()


def _kind(value: object) -> str:
    """What sort of value an attribute holds; whole and real numbers are one sort, True and False another."""
    return "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else type(value).__name__


def _plain(build: Callable[..., Any]) -> Callable[..., Any]:
    """The author's own function under `tilelang.jit`, which hides its name, signature and file."""
    plain = getattr(getattr(build, "func", None), "orig_func", build)
    return plain if callable(plain) else build


def _call_named(
    function: Callable[..., Any], positional: tuple[Any, ...], named: Mapping[str, Any], *, call: Callable[..., Any] | None = None
) -> Any:
    """Call `function` (or `call` in its stead) with `positional` and with those of `named` that its signature asks for."""
    call = call or function
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # built-in functions such as torch.relu tell no signature
        return call(*positional)
    taken = {p.name for p in parameters[: len(positional)] if p.kind is p.POSITIONAL_OR_KEYWORD}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return call(*positional, **{key: value for key, value in named.items() if key not in taken})
    wanted = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in taken]
    return call(*positional, **{key: named[key] for key in wanted if key in named})


def _check_names(found: Kernel) -> None:
    """Raise KernelError where the registration's names contradict one another or the author's signature."""
    label, roles = found.name, found.inputs + found.outputs
    if len({role.name for role in roles}) != len(roles) or not found.outputs:
        raise KernelError(f"kernel {label!r}: its tensors need distinct names and at least one output")
    bound = {dim for role in found.inputs for dim in role.dims if dim.isidentifier()} | set(found.attributes)
    bound |= {role.dtype for role in found.inputs if role.dtype not in DTYPES}
    needed = {name: role for role in roles for dim in role.dims for name in symbols_of(dim)}
    needed |= {role.dtype: role for role in found.outputs if role.dtype not in DTYPES}
    for name, role in needed.items():
        if name not in bound:
            raise KernelError(f"kernel {label!r}: tensor {role.name!r} needs {name!r}, which no input and no attribute binds")
    for name, value in found.attributes.items():
        if name == "name" or not isinstance(value, Value):
            raise KernelError(f"kernel {label!r}: attribute {name!r} = {value!r} must be a number, string or boolean, not called 'name'")
    if clash := sorted(bound & set(found.tunables)):
        raise KernelError(f"kernel {label!r}: {clash[0]!r} is a tunable and also a symbol or an attribute; rename one")
    parameters = inspect.signature(_plain(found.build)).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()) and (unseen := sorted(set(found.tunables) - set(parameters))):
        raise KernelError(f"kernel {label!r}: tunable {unseen[0]!r} is no parameter of its function")
    known = bound | set(found.tunables) | ({role.name for role in roles} if hasattr(found.build, "get_tir") else set())
    for p in parameters.values():
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in known:
            raise KernelError(f"kernel {label!r}: its function needs {p.name!r}, which is no symbol, attribute or tunable")


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
        plain = _plain(build)
        if not hasattr(plain, "__name__"):
            raise KernelError(
                f"`kernel` decorates a function that returns a PrimFunc, or a tilelang.jit function, not a {type(build).__name__}"
            )
        label = name or plain.__name__
        choices = {key: tuple(values) for key, values in (tunables or {}).items()}
        signature = inspect.signature(plain).parameters
        defaults: dict[str, Value] = {}
        for key, values in choices.items():
            if not values:
                raise KernelError(f"kernel {label!r}: tunable {key!r} has no choices")
            default: Any = signature[key].default if key in signature else inspect.Parameter.empty
            defaults[key] = values[0] if default is inspect.Parameter.empty else default
            if defaults[key] not in values:
                raise KernelError(f"kernel {label!r}: the default {defaults[key]!r} of {key!r} is not among its choices")
        found = Kernel(
            name=label,
            family=plain.__module__.rpartition(".")[2],
            inputs=_parse_roles(label, inputs),
            outputs=_parse_roles(label, outputs),
            attributes=dict(attributes or {}),
            tunables=choices,
            reference=reference,
            build=build,
            valid=valid,
            doc=inspect.getdoc(plain) or "",
            source_file=inspect.getsourcefile(plain) or "",
            _defaults=defaults,
        )
        _check_names(found)
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
    if name in _REGISTRY:
        return _REGISTRY[name]
    near = difflib.get_close_matches(name, _REGISTRY, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`mosaic kernels` lists what there is"
    raise KernelError(f"no kernel is named {name!r}; {hint}")
