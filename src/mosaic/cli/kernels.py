"""`mosaic kernels`: which kernels there are, or all about one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic.cli.load import load_kernels, shipped_kernels
from mosaic.cli.options import Json, KernelFile
from mosaic.cli.output import console, print_json

if TYPE_CHECKING:
    from mosaic.graph.kernel import Kernel, Role

EXAMPLES = """\b
Examples:
# every kernel that ships
mosaic kernels
# all about one: tensors, attributes, tunables, documentation
mosaic kernels layer_norm
# the kernels that a file of yours registers
mosaic kernels --file mine.py
# for programs
mosaic kernels --json
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="kernels", epilog=EXAMPLES)(kernels)


def kernels(
    name: Annotated[str | None, typer.Argument(help="Show all about this kernel.", show_default=False)] = None,
    file: KernelFile = None,
    json: Json = False,
) -> None:
    """List the kernels that ship, or show all about one."""
    from mosaic.graph.kernel import find

    listed = shipped_kernels() if file is None else load_kernels(file)
    if name is not None:
        kernel = find(name)
        print_json(describe(kernel)) if json else _print_details(kernel)
    elif json:
        print_json([describe(kernel) for kernel in listed.values()])
    else:
        _print_table(listed)


def describe(kernel: Kernel) -> dict[str, Any]:
    """All about a kernel, as JSON has it."""
    defaults = kernel.default_tunables()
    return {
        "name": kernel.name,
        "family": kernel.family,
        "inputs": [_role(role) for role in kernel.inputs],
        "outputs": [_role(role) for role in kernel.outputs],
        "attributes": dict(kernel.attributes),
        "tunables": {key: {"default": defaults[key], "choices": list(choices)} for key, choices in kernel.tunables.items()},
        "doc": kernel.doc,
        "source_file": kernel.source_file,
        "digest": kernel.digest(),
    }


def _role(role: Role) -> dict[str, Any]:
    return {"name": role.name, "dims": list(role.dims), "dtype": role.dtype}


def signature(kernel: Kernel) -> str:
    """A kernel's tensors in one line: `a[M K] T, b[K N] T → c[M N] T`."""

    def side(roles: tuple[Role, ...]) -> str:
        return ", ".join(f"{role.name}[{' '.join(role.dims)}] {role.dtype}" for role in roles)

    return f"{side(kernel.inputs)} → {side(kernel.outputs)}"


def _print_table(listed: dict[str, Kernel]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=f"{len(listed)} kernels", title_justify="left", caption="mosaic kernels NAME shows all about one", caption_justify="left"
    )
    for column in ("kernel", "family", "tensors", "attributes", "tunables"):
        table.add_column(column)
    for kernel in sorted(listed.values(), key=lambda kernel: (kernel.family, kernel.name)):
        attributes = ", ".join(f"{key}={value}" for key, value in kernel.attributes.items())
        row = (kernel.name, kernel.family, signature(kernel), attributes, ", ".join(kernel.tunables))
        table.add_row(*(Text(cell) for cell in row))  # Text: brackets are no markup
    console().print(table)


def _print_details(kernel: Kernel) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console()
    out.print(Text(kernel.name, style="bold"), Text(f"({kernel.family}, {kernel.source_file})"))
    if kernel.doc:
        out.print(Text(f"\n{kernel.doc}\n"))
    table = Table("", "name", "what", show_header=False, box=None, pad_edge=False)
    for kind, roles in (("input", kernel.inputs), ("output", kernel.outputs)):
        for role in roles:
            table.add_row(kind, Text(role.name, style="bold"), Text(f"[{' '.join(role.dims)}] {role.dtype}"))
    for key, value in kernel.attributes.items():
        table.add_row("attribute", Text(key, style="bold"), Text(f"default {value}"))
    defaults = kernel.default_tunables()
    for key, choices in kernel.tunables.items():
        rest = ", ".join(str(choice) for choice in choices)
        table.add_row("tunable", Text(key, style="bold"), Text(f"{defaults[key]} of {rest}"))
    out.print(table)
