"""AMD's machine code as text: what llvm-objdump or hipcc's --save-temps write, read for instruction families and resources.

Matrix instructions keep their names without the leading v_ and the underscore before the last type, which is how the compiler's builtins
are called too (mfma_f32_16x16x16f16). Resources are those of the metadata at the file's end, or of the comments after each kernel.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from mosaic.targets.emitted import Emitted, Resources, most

_FAMILIES: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"v_dot\d", "dot"),
        (r"(global|buffer)_load_lds|buffer_load_\w+ .*\blds\b", "load_lds"),
        (r"ds_(read|load)_\w*tr", "ds_read_tr"),
        (r"ds_(read|load)", "ds_read"),
        (r"ds_(write|store)", "ds_write"),
        (r"ds_b?permute|ds_swizzle|v_permlane|v_\w+_dpp\b|v_readlane|v_readfirstlane", "cross_lane"),
        (r"(global|buffer|flat|ds)_atomic|ds_(add|max|min)_", "atomic"),
        (r"(global|buffer|flat|s_buffer)_load|s_load", "load"),
        (r"(global|buffer|flat)_store", "store"),
        (r"scratch_load|buffer_load_\w+ .*offen.*scratch", "scratch_load"),
        (r"scratch_store", "scratch_store"),
        (r"s_barrier", "s_barrier"),
        (r"v_accvgpr_(read|write|mov)", "accvgpr"),
        (r"v_(pk_)?(fma|fmac|mad|mac)\w*_f(32|16|64)", "fma"),
        (r"v_(exp|log|rcp|rsq|sqrt|sin|cos)_f", "transcendental"),
    )
)
_MATRIX: Final = re.compile(r"v_((?:s?mfmac?|wmma|swmmac)_\w+)")
_INSTRUCTION: Final = re.compile(r"^\s+(?:[0-9a-f]+:\s+(?:[0-9a-f]{2,8}\s+)+)?([a-z]+_[a-z0-9_]+\b[^;\n/]*)", re.MULTILINE)
_NAMED: Final = re.compile(r"^\s*(?:-\s+)?\.(name|vgpr_count|agpr_count|vgpr_spill_count|sgpr_spill_count|private_segment_fixed_size|"
                           r"group_segment_fixed_size|symbol):\s+'?([\w.$]+)'?", re.MULTILINE)  # fmt: skip
_COMMENT: Final = re.compile(r"^; (NumVgprs|NumAgprs|TotalNumVgprs|ScratchSize|LDSByteSize|VGPRSpill|Kernel):?\s+(\S+)", re.MULTILINE)
_ARGUMENTS: Final = re.compile(
    r"^\s*\.args:.*?(?=^\s*\.(?!offset|size|value_kind|address_space|name|access|actual|is_|type)\w+:)", re.M | re.S
)


def is_amdgpu(text: str) -> bool:
    """Whether a text is AMD's machine code: it names such a target, or ends a program as only that does."""
    return "amdgcn" in text or re.search(r"^\s+(?:[0-9a-f]+:.*)?s_endpgm", text, re.MULTILINE) is not None


def read_amdgpu(text: str) -> dict[str, int]:
    """Instruction families; a count is of lines of the text, not of executions."""
    found: Counter[str] = Counter()
    for instruction in _INSTRUCTION.findall(text):
        if match := _MATRIX.match(instruction):
            found[re.sub(r"(x\d+)_(?=[a-z])", r"\1", match[1])] += 1
        elif family := next((family for pattern, family in _FAMILIES if pattern.match(instruction)), None):
            found[family] += 1
    return dict(sorted(found.items()))


def read_resources(text: str) -> list[Resources]:
    """Resources by kernel. Registers are vector and accumulation registers together; a spilled one is four bytes a thread."""
    found: list[dict[str, str]] = []
    start = text.find(".amdgpu_metadata")
    for key, value in _NAMED.findall(_ARGUMENTS.sub("", text[max(start, 0) :])):
        if not found or key in found[-1]:
            found.append({})
        found[-1][key] = value
    if any("vgpr_count" in one for one in found):
        return [_of_metadata(one) for one in found if "vgpr_count" in one]
    comments = dict(_COMMENT.findall(text))
    return [_of_comments(comments)] if "NumVgprs" in comments else []


def emitted(text: str) -> Emitted:
    """What such a text says was emitted, all its kernels together."""
    resources = read_resources(text)
    return Emitted(
        registers=most(one.registers for one in resources),
        spill_bytes=most(one.spill_bytes for one in resources),
        stack_bytes=most(one.stack_bytes for one in resources),
        shared_bytes=most(one.shared_bytes for one in resources),
        families=read_amdgpu(text),
        origin="isa",
    )


def _of_metadata(fields: dict[str, str]) -> Resources:
    def number(key: str) -> int:
        return int(fields.get(key, "0"))

    # vgpr_count is the sum of both kinds from gfx90a on, where they share one file.
    return Resources(
        kernel=fields.get("name", fields.get("symbol", "")).removesuffix(".kd"),
        registers=max(number("vgpr_count"), number("agpr_count")),
        spill_bytes=4 * number("vgpr_spill_count"),
        stack_bytes=number("private_segment_fixed_size"),
        shared_bytes=number("group_segment_fixed_size"),
    )


def _of_comments(fields: dict[str, str]) -> Resources:
    registers = int(fields.get("TotalNumVgprs", fields["NumVgprs"]))
    scratch, shared = int(fields.get("ScratchSize", "0")), int(fields.get("LDSByteSize", "0"))
    return Resources("", registers, int(fields["VGPRSpill"]) * 4 if "VGPRSpill" in fields else None, scratch, shared)
