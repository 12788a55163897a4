"""Forbidden calls: as operators that were dispatched, and as names in a source."""

from __future__ import annotations

import ast

import pytest

from mosaic.harness.forbidden_calls import forbidden, judge_trace, operators


def called(operator: str, *, in_handler: bool = False) -> dict[str, object]:
    return {"operator": operator, "place": "kernel.py:3", "in_handler": in_handler}


@pytest.mark.parametrize(
    ("operator", "forbid", "cheat"),
    [
        ("aten._softmax.default", "torch.softmax", "vendor_library"),
        ("aten::_softmax", "torch.nn.functional.softmax", "vendor_library"),
        ("aten.mm.default", "torch.matmul", "vendor_library"),
        ("aten.addmm.default", "cublas", "vendor_library"),
        ("aten.convolution.default", "cudnn", "vendor_library"),
        ("aten._scaled_dot_product_flash_attention_for_cpu.default", "torch.nn.functional.scaled_dot_product_attention", "vendor_library"),
        ("aten.exp.default", "torch.softmax", None),
        ("aten.mm.default", "torch.softmax", None),
        ("aten.log_softmax.int", "torch.softmax", None),
    ],
)
def test_operators(operator: str, forbid: str, cheat: str | None) -> None:
    found = judge_trace({"calls": [called(operator)]}, [forbid])
    assert (found and found[0]) == cheat


def test_where_and_beside_what() -> None:
    trace = {"calls": [called("aten._softmax.default", in_handler=True)], "unused": ["kernel"]}
    assert judge_trace(trace, ["torch.softmax"]) is not None
    assert str(judge_trace(trace, ["torch.softmax"])).startswith("('fallback_to_reference'")
    trace["calls"] = [called("aten._softmax.default")]
    assert str(judge_trace(trace, ["torch.softmax"])).startswith("('inherited_reference'")
    assert judge_trace(trace, []) is None
    assert judge_trace({}, ["torch.softmax"]) is None


def test_nothing_is_forbidden_by_default() -> None:
    assert operators([]) == {}


def test_names_in_a_source() -> None:
    source = (
        "import torch\ndef kernel(x): return x\ndef go(x):\n    if x is None:\n        return kernel(x)\n    return torch.softmax(x, -1)\n"
    )
    assert [cheat for cheat, _ in forbidden(ast.parse(source), ["torch.softmax"])] == ["inherited_reference"]
    assert not list(forbidden(ast.parse(source), ["torch.matmul"]))
