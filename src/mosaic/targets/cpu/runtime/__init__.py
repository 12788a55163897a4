"""The C that every emitted file starts with, in sections; a file holds those that it uses."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

_ORDER: Final = ("base", "half", "bfloat16", "float8", "math", "atomic", "vector", "fold", "convert", "pack", "gemm")
_NEEDS: Final = {
    "atomic": ("half", "bfloat16"),
    "fold": ("vector",),
    "convert": ("vector", "half"),
    "pack": ("convert", "bfloat16", "float8"),
    "gemm": ("pack",),
}


@cache
def section(name: str) -> str:
    """The text of one section."""
    return files(__package__).joinpath(f"{name}.h").read_text(encoding="utf-8")


def prelude(names: Iterable[str]) -> str:
    """These sections and those they need, in the order in which C wants them."""
    wanted = {"base"}
    pending = list(names)
    while pending:
        name = pending.pop()
        wanted.add(name)
        pending += _NEEDS.get(name, ())
    return "\n".join(section(name) for name in _ORDER if name in wanted)
