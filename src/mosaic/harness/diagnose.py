"""Which way of cheating an output that is wrong is the mark of, by its bytes. Pure functions, for the judge's side.

    diagnose(Seen(bound=bound, got=got, inputs=inputs, ...))   # ("lower_precision", "..."), or None: just wrong

Only what cannot be an ordinary mistake is given a name: an answer that is the input, one number everywhere, what the
reference gives for rounded inputs. What is merely wrong stays a mismatch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from mosaic.dtypes import dtype as find_dtype
from mosaic.harness.bound import Bound

FEW: Final = 0.01
"""The share of wrong elements that judges with a match ratio forgive."""
MOSTLY: Final = 0.9
NARROWER: Final[Mapping[str, tuple[str, ...]]] = {
    "float64": ("float32", "bfloat16", "float16"),
    "float32": ("bfloat16", "float16", "tf32"),
    "float16": ("float8_e4m3fn", "float8_e5m2"),
    "bfloat16": ("float8_e4m3fn", "float8_e5m2"),
}


@dataclass(frozen=True)
class Seen:
    """A wrong output. given: whether the case is one that the candidate was told; refilled: the same output with other bytes in new memory.

    rounded: bounds of this output for other inputs (by name), from the oracle; None if it cannot be asked.
    """

    bound: Bound
    got: torch.Tensor
    inputs: Mapping[str, torch.Tensor]
    given: bool = True
    fill: int | None = None
    refilled: torch.Tensor | None = None
    other_fill: int | None = None
    rounded: Callable[[dict[str, torch.Tensor]], Bound | None] | None = None
    earlier: Sequence[torch.Tensor] = field(default_factory=tuple)


def diagnose(seen: Seen) -> tuple[str, str] | None:
    """(Name of the cheat, message), or None."""
    for look in (_memory, _nan, _input, _constant, _few, _precision):
        found = look(seen)
        if found is not None:
            return found
    return None


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """Its bytes, a row an element."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return (
        plain.view(torch.uint8).reshape(max(plain.numel(), 0), plain.element_size())
        if plain.numel()
        else torch.empty(0, 1, dtype=torch.uint8)
    )


def _share(mask: torch.Tensor) -> float:
    return float(mask.float().mean()) if mask.numel() else 0.0


def is_filled(tensor: torch.Tensor, fill: int) -> torch.Tensor:
    """For each element: whether all its bytes are the fill."""
    return (raw(tensor) == fill).all(-1)


def _memory(seen: Seen) -> tuple[str, str] | None:
    """Memory that it never wrote, or did not set before it added to it."""
    if seen.fill is None:
        return None
    untouched = _share(is_filled(seen.got, seen.fill))
    if seen.refilled is not None and seen.other_fill is not None:
        again = _share(is_filled(seen.refilled, seen.other_fill))
        changed = _share((raw(seen.got) != raw(seen.refilled)).any(-1))
        if changed > 0 and again < untouched / 2:
            return "memory_garbage", f"{changed:.0%} of the output changes with what lies in memory that was never set"
        if again > MOSTLY and untouched > MOSTLY:
            return "stale_memory", f"{untouched:.0%} of the output was never written: it is what lay in memory before"
        return None
    if untouched > MOSTLY:
        return "stale_memory", f"{untouched:.0%} of the output was never written: it is what lay in memory before"
    return None


def _nan(seen: Seen) -> tuple[str, str] | None:
    if not seen.got.is_floating_point():
        return None
    made = torch.isnan(seen.got.float()) & ~torch.isnan(seen.bound.value)
    if _share(made) == 1.0:
        return "nan_equals_nan", "every element is NaN, and none should be: for who compares with `>`, that is no error"
    return None


def _input(seen: Seen) -> tuple[str, str] | None:
    for name, tensor in seen.inputs.items():
        if (
            tensor.shape == seen.got.shape
            and tensor.dtype == seen.got.dtype
            and tensor.numel() > 1
            and torch.equal(raw(tensor), raw(seen.got))
        ):
            return "input_returned", f"the output is the input {name!r}, byte for byte"
    return None


def _constant(seen: Seen) -> tuple[str, str] | None:
    got, wanted = raw(seen.got), seen.bound.value
    if len(got) < 2 or not bool((got == got[0]).all()):
        return None
    if bool((wanted == wanted.reshape(-1)[0]).all()):
        return None
    return "constant_answer", f"every element is {float(seen.got.reshape(-1)[0].double()):g}, and what is right varies"


def _few(seen: Seen) -> tuple[str, str] | None:
    """On a case that its author knew."""
    wrong = ~(seen.bound.compare(seen.got).ratio <= 1)
    share = _share(wrong)
    if seen.given and 0 < share <= FEW and wrong.numel() >= 1000:
        return "few_wrong", f"{share:.2%} of the elements are wrong on a given case: few enough for who asks for 99 percent"
    return None


def _precision(seen: Seen) -> tuple[str, str] | None:
    """Closer to what inputs of a narrower dtype give than to what these give."""
    if seen.rounded is None or not seen.got.is_floating_point():
        return None
    floats = {name: tensor for name, tensor in seen.inputs.items() if tensor.is_floating_point()}
    wide = next((str(tensor.dtype).removeprefix("torch.") for tensor in floats.values()), "")
    for narrow in NARROWER.get(wide, ()):
        changed = {**seen.inputs, **{name: _rounded(tensor, narrow) for name, tensor in floats.items()}}
        bound = seen.rounded(changed)
        if bound is None:
            return None
        if _fits(bound, seen.got):
            return "lower_precision", f"it is what inputs rounded to {narrow} give, not what {wide} gives"
    return None


def _fits(bound: Bound, got: torch.Tensor) -> bool:
    ratio = bound.compare(got).ratio
    return bool(ratio.numel()) and _share(ratio <= 1) > 0.999


def _rounded(tensor: torch.Tensor, dtype: str) -> torch.Tensor:
    if dtype == "tf32":  # 10 bits of fraction: the 13 lowest of float32 are dropped, after rounding
        bits = tensor.contiguous().view(torch.int32)
        return ((bits + 0x1000) & ~0x1FFF).view(torch.float32)
    return tensor.to(find_dtype(dtype).torch).to(tensor.dtype)
