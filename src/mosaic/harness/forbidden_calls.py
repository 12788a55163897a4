"""Calls that a task forbids: found in the source where it is read, and in what a call dispatched when it ran.

`calls.forbid` of a task holds dotted names of Python (`torch.softmax`) and libraries (`cublas`, `cudnn`, `mkl`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

LIBRARY_OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "cublas": ("mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot", "_scaled_mm", "_int_mm", "linear", "addbmm"),
    "mkl": ("mm", "bmm", "addmm", "baddbmm", "addmv", "mv", "dot", "linear", "addbmm", "_fft_r2c", "_fft_c2c", "_fft_c2r"),
    "cudnn": ("convolution", "_convolution", "cudnn_convolution", "cudnn_batch_norm", "_cudnn_rnn", "_scaled_dot_product_cudnn_attention"),
    "cutlass": ("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention"),
    "cufft": ("_fft_r2c", "_fft_c2c", "_fft_c2r"),
}
"""PyTorch's operators that run in a library."""

OPERATORS: Final[Mapping[str, tuple[str, ...]]] = {
    "matmul": ("mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot", "linear", "matmul"),
    "mm": ("mm", "addmm"),
    "linear": ("linear", "addmm", "mm"),
    "einsum": ("bmm", "mm"),
    "scaled_dot_product_attention": ("_scaled_dot_product_flash_attention", "_scaled_dot_product_efficient_attention",
                                     "_scaled_dot_product_flash_attention_for_cpu", "_scaled_dot_product_cudnn_attention"),
    "conv2d": ("convolution", "_convolution", "cudnn_convolution"),
    "rms_norm": ("_fused_rms_norm", "rms_norm"),
    "layer_norm": ("native_layer_norm", "layer_norm"),
}  # fmt: skip
"""Operators behind a function of another name."""


def operators(forbid: Sequence[str]) -> dict[str, str]:
    """Names of PyTorch's operators (without `aten::` and leading underscores), each with the forbidden name that it falls under."""
    made: dict[str, str] = {}
    for name in forbid:
        last = name.rpartition(".")[2]
        for operator in (*LIBRARY_OPERATORS.get(name, ()), *OPERATORS.get(last, ()), *([] if name in LIBRARY_OPERATORS else [last])):
            made.setdefault(operator.strip("_"), name)
    return made


def judge_trace(trace: Mapping[str, Any], forbid: Sequence[str]) -> tuple[str, str] | None:
    """What a traced call (see `trace_calls`) did that is forbidden: (name of the cheat, message), or None."""
    banned = operators(forbid)
    for item in trace.get("calls", ()):
        name = str(item["operator"]).replace("::", ".").split(".")[1].strip("_")
        if name not in banned:
            continue
        text = f"it ran {item['operator']}, which is forbidden as {banned[name]}"
        if item.get("in_handler"):
            return "fallback_to_reference", f"{text}, where an exception of its own kernel is caught ({item['place']})"
        if trace.get("unused"):
            return "inherited_reference", f"{text}, while its own {trace['unused'][0]} never ran"
        return "vendor_library", f"{text} ({item['place']})"
    return None


def dotted(node: ast.AST) -> str:
    """The dotted name of an expression, empty if it is none."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def forbidden(tree: ast.Module, forbid: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Calls of forbidden functions in functions and methods of a module, by their dotted names: (name of the cheat, message)."""
    names = _aliases(tree, [name for name in forbid if "." in name])
    for function in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        handlers = [node for node in ast.walk(function) if isinstance(node, ast.ExceptHandler)]
        caught = {id(part) for handler in handlers for part in ast.walk(handler)}
        choices = [node for node in ast.walk(function) if isinstance(node, ast.If)]
        branches = {dotted(part.func) for node in choices for part in ast.walk(node) if isinstance(part, ast.Call)}
        own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)} - {function.name}
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and dotted(node.func) in names:
                text = f"calls {names[dotted(node.func)]}, which the task forbids, at line {node.lineno}"
                if id(node) in caught:
                    yield "fallback_to_reference", f"{text}, when its own kernel fails"
                elif branches & own:
                    yield "inherited_reference", f"{text}, beside a kernel of its own that a condition guards"
                else:
                    yield "vendor_library", text


def _aliases(tree: ast.Module, forbid: Sequence[str]) -> dict[str, str]:
    """Every dotted name under which a module's imports make a forbidden function known."""
    names = {name: name for name in forbid}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.asname:
                    names |= {
                        f"{alias.asname}{name.removeprefix(alias.name)}": name for name in forbid if name.startswith(f"{alias.name}.")
                    }
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                known = alias.asname or alias.name
                names |= {f"{known}{name.removeprefix(path)}": name for name in forbid if name == path or name.startswith(f"{path}.")}
    return names
