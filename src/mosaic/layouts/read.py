"""Reading the layouts that TileLang infers for a kernel's on-chip buffers, as explicit tables.

TileLang decides in its pass LayoutInference where each element of a tile lives: of a fragment, in which thread and register;
of a shared buffer, at which offset. The compiler is run for the target up to and with that pass, so that everything before it
which changes the program (warp specialization, pipelines) has happened, and no further. It needs no GPU.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import tilelang
import torch
from tvm.ir.instrument import pass_instrument
from tvm.target import Target as UpstreamTarget
from tvm.tirx.stmt_functor import post_order_visit

from mosaic.errors import TargetError
from mosaic.layouts.evaluate import evaluate

_REPLICA: Final = "_rep"


@dataclass(frozen=True)
class LayoutTable:
    """Where each element of one buffer lives.

    Of a fragment: `thread`, int64 [*shape, replicas], every thread of the block that holds the element (the same one may stand there
    more than once), and `register`, int64 [*shape], the element's place among those that a thread holds of this buffer (the same in each
    of them). Of a shared buffer: `offset`, int64 [*shape], in elements. `size` is how many places a thread (or the buffer) has, used or
    not. A pipelined shared buffer has one leading dim more than in the kernel's source, its versions.
    """

    buffer: str
    scope: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    expression: str
    thread: torch.Tensor | None = None
    register: torch.Tensor | None = None
    offset: torch.Tensor | None = None

    @property
    def name(self) -> str:
        """The buffer's name in the program, without the number that tells it from others of that name."""
        return self.buffer.partition("#")[0]

    @property
    def kind(self) -> Literal["fragment", "shared"]:
        return "shared" if self.thread is None else "fragment"

    @property
    def replicas(self) -> int:
        """How many threads hold each element: 1, or as many as TileLang replicates it over. 1 for a shared buffer."""
        return 1 if self.thread is None else int(self.thread.shape[-1])

    @property
    def is_row_major(self) -> bool:
        """Whether a shared buffer's elements lie in their own order, one after the other."""
        return self.offset is not None and bool(torch.equal(self.offset.reshape(-1), torch.arange(self.offset.numel())))


def read_layouts(func: Any, target: Mapping[str, str], pass_configs: Mapping[str, Any] | None = None) -> dict[str, LayoutTable]:
    """The layout of every buffer of a PrimFunc for which TileLang infers one, by the buffer's name.

    target: as TileLang names it, such as {"kind": "cuda", "arch": "sm_90a"} (`Target.upstream`). pass_configs: those the program is
    lowered with. If several buffers have one name, a number is added from the second on (`A_shared#2`). Shared buffers without a
    layout are not in the result: they lie row by row. TileLang's passes are not safe in several threads at once.

    Raises TargetError, in a sentence, if TileLang refuses the program, ReadError if a layout's expression can't be evaluated.
    """
    catch = _Catch()
    try:
        with tilelang.transform.PassContext(config=dict(pass_configs or {}), instruments=[catch]), UpstreamTarget(dict(target)) as upstream:
            tilelang.lower(func, target=upstream)
    except Exception as error:  # TVM, TileLang and the author's macros raise anything
        if not catch.done:
            name = next((target[key] for key in ("arch", "mcpu") if key in target), target.get("kind", "this target"))
            raise TargetError(f"TileLang infers no layouts for {name}: {_sentence(error)}") from error
    found: dict[str, LayoutTable] = {}
    for buffer, layout in catch.layouts:
        name, number = str(buffer.name), 1
        while name in found:
            number += 1
            name = f"{buffer.name}#{number}"
        found[name] = table(name, layout, scope=str(buffer.scope()), dtype=str(buffer.dtype))
    return found


def table(name: str, layout: Any, *, scope: str = "", dtype: str = "") -> LayoutTable:
    """A TileLang Layout or Fragment, evaluated at every element. Raises ReadError if an expression can't be evaluated."""
    shape = tuple(int(extent) for extent in layout.get_input_shape())
    places = tuple(int(extent) for extent in layout.get_output_shape())
    # TileLang's placeholders, the same for all layouts: one for each dim, and for a replicated fragment one for the replica.
    variables = [variable for variable in layout.get_forward_vars() if str(variable.name) != _REPLICA]
    expressions = list(layout.get_forward_index())
    # Index tensors that broadcast over the shape, with a last dim for the replicas.
    values: dict[Any, torch.Tensor] = {
        variable: torch.arange(extent).reshape([-1 if axis == position else 1 for axis in range(len(shape) + 1)])
        for position, (variable, extent) in enumerate(zip(variables, shape, strict=True))
    }
    place = _linear([evaluate(expression, values) for expression in expressions], places)
    place = torch.broadcast_to(place, (*shape, 1)).reshape(shape).contiguous()
    common: dict[str, Any] = {"buffer": name, "scope": scope, "dtype": dtype, "shape": shape, "size": math.prod(places)}
    if not hasattr(layout, "forward_thread"):
        return LayoutTable(**common, expression=f"offset in [{', '.join(map(str, places))}]: {_text(expressions)}", offset=place)
    replicas = int(layout.replicate_size)
    for variable in _variables(layout.forward_thread):
        if str(variable.name) == _REPLICA:
            values[variable] = torch.arange(replicas)
    first = int(layout.thread_range.min) if layout.thread_range is not None else 0
    thread = evaluate(layout.forward_thread, values) + first
    text = f"thread {layout.forward_thread}{f' + {first}' if first else ''}, register {_text(expressions)}"
    return LayoutTable(**common, expression=text, thread=torch.broadcast_to(thread, (*shape, replicas)).contiguous(), register=place)


def _linear(indices: Sequence[torch.Tensor], extents: Sequence[int]) -> torch.Tensor:
    """Row-major position of multi-dimensional indices."""
    position = torch.tensor(0)
    for index, extent in zip(indices, extents, strict=True):
        position = position * extent + index
    return position


def _text(expressions: Sequence[Any]) -> str:
    return str(expressions[0]) if len(expressions) == 1 else f"({', '.join(map(str, expressions))})"


def _variables(expression: Any) -> list[Any]:
    found: list[Any] = []

    def visit(node: Any) -> None:
        if type(node).__name__ in ("Var", "SizeVar"):
            found.append(node)

    post_order_visit(expression, visit)
    return found


class _Done(Exception):
    """Ends the compiler's run after the pass that is read."""


@pass_instrument
class _Catch:
    """Keeps what LayoutInference found, then stops the compiler: nothing that comes after is wanted."""

    def __init__(self) -> None:
        self.layouts: list[tuple[Any, Any]] = []
        self.done = False

    def run_after_pass(self, module: Any, info: Any) -> None:
        if not str(info.name).endswith("LayoutInference"):
            return
        seen: list[Any] = []

        def visit(node: Any) -> None:
            if type(node).__name__ != "SBlock" or "layout_map" not in node.annotations:
                return
            for buffer, layout in node.annotations["layout_map"].items():
                if not any(buffer.same_as(other) for other in seen):
                    seen.append(buffer)
                    self.layouts.append((buffer, layout))

        for _, function in module.functions.items():
            post_order_visit(function.body, visit)
        self.done = True
        raise _Done


def _sentence(error: BaseException) -> str:
    """The line of an upstream message that says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(("File ", "Traceback", "^", "Stack trace"))]
    line = re.sub(r"^(?:tvm\.error\.)?InternalError: |^Check failed: (?:\(.*?\) is false)?:?\s*(?=\S)", "", kept[0] if kept else "")
    return (line or type(error).__name__).rstrip(" :.")[:300]
