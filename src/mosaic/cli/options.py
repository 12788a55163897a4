"""Options that several verbs have, written once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

DEFAULT_SIZE: Final = 128
"""What a kernel's symbol is if it is not set: a dim that divides by every tile of common size."""

DEFAULT_DTYPE: Final = "float16"

MODEL: Final = "minilm"
"""The model that ships, as a source."""

MODEL_SETTINGS: Final[Mapping[str, Any]] = {"batch": 8, "sequence": 128, "dtype": DEFAULT_DTYPE}

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

SourceName = Annotated[
    str, typer.Argument(metavar="SOURCE", help=f"A kernel's name, a Python file that builds a graph, a saved graph (.json), or {MODEL}.")
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help=f"A symbol (a size is {DEFAULT_SIZE}, a dtype {DEFAULT_DTYPE} if not set), an attribute or a tunable of the kernel; "
        f"or {', '.join(MODEL_SETTINGS)} of {MODEL}. Can be given often, or several with commas between.",
        show_default=False,
    ),
]

KernelFile = Annotated[Path | None, typer.Option("--file", help="A Python file that registers kernels of your own.", show_default=False)]

TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        help="What to compile for: cpu, sm_80, sm_90a, sm_100a, gfx942, gfx950, or auto: this machine's GPU, or the CPU if it has none.",
    ),
]
