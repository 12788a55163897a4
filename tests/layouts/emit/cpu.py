"""The text of conversions, run: compiled with the host's C++ compiler against `block.hpp`, which is a block of threads."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mosaic.layouts.emit import DeviceFunction
from mosaic.layouts.emit.dialect import element_bytes, type_name
from mosaic.layouts.emit.places import Places

SHIM: Final = Path(__file__).with_name("block.hpp")
_DIGIT: Final = 8
"""Values are whole numbers below this, which all types hold exactly; an element's number is spelt in as many runs as it has digits."""


@dataclass(frozen=True)
class Runnable:
    function: DeviceFunction
    source: Places
    target: Places
    source_dtype: str
    target_dtype: str


def run_on_cpu(runnables: Sequence[Runnable], folder: Path) -> dict[str, int]:
    """How many places of each conversion's target hold something wrong, by name. One architecture's texts only."""
    # Their helper functions are guarded, so the first text's are used by all.
    lines = [f'#include "{SHIM}"']
    for runnable in runnables:
        lines += [runnable.function.text, _test(runnable)]
    lines += ["int main() {", *(f"  test_{runnable.function.name}();" for runnable in runnables), "}"]
    (folder / "conversions.cpp").write_text("\n".join(lines), encoding="utf-8")
    command = ["g++", "-std=c++20", "-O0", "-fno-strict-aliasing", "-w", "conversions.cpp", "-o", "conversions"]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[:4000]
    ran = subprocess.run([folder / "conversions"], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-2000:]
    return {name: int(count) for name, count in (line.split() for line in ran.stdout.splitlines())}


def _table(places: Places, name: str) -> str:
    rows = ", ".join("{" + ", ".join("-1" if element is None else str(element) for element in row) + "}" for row in places.elements)
    return f"static const int {name}[{places.registers}][{places.threads}] = {{{rows}}};"


def _value(dtype: str, value: str) -> str:
    return (
        f"static_cast<{type_name(dtype)}>({value})"
        if element_bytes(dtype) == 4 or "int" in dtype
        else f"{type_name(dtype)}(float({value}))"
    )


def _test(runnable: Runnable) -> str:
    """Each digit of the elements' numbers is converted; registers start with a number that no element has."""
    function, source, target = runnable.function, runnable.source, runnable.target
    name, stage = function.name, function.shared_bytes
    elements = 1 + max(element for row in source.elements for element in row if element is not None)
    digits = 1
    while _DIGIT**digits < elements:
        digits += 1
    body = f"""
  static int wrong;
  wrong = 0;
  for (int digit = 0; digit < {digits}; ++digit) {{
    alignas(1024) static char stage[{stage or 1}];
    memset(stage, 0x5a, sizeof(stage));
    block::run({function.threads}, {source.warp_size}, [digit] {{
      const int thread = block::running;
      {type_name(runnable.source_dtype)} source[{source.registers}];
      {type_name(runnable.target_dtype)} target[{target.registers}];
      memset(target, 0x11, sizeof(target));
      for (int at = 0; at < {source.registers}; ++at) {{
        const int element = from_{name}[at][thread];
        source[at] = {_value(runnable.source_dtype, f"element < 0 ? -1 : element >> 3 * digit & {_DIGIT - 1}")};
      }}
      {name}(source, target{", stage" if stage else ""});
      for (int at = 0; at < {target.registers} && thread < {target.threads}; ++at) {{
        const int element = to_{name}[at][thread];
        wrong += element >= 0 && float(target[at]) != float(element >> 3 * digit & {_DIGIT - 1});
      }}
    }});
  }}
  std::printf("{name} %d\\n", wrong);"""
    return f"{_table(source, f'from_{name}')}\n{_table(target, f'to_{name}')}\nvoid test_{name}() {{{body}\n}}"
