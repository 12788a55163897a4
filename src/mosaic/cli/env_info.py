"""`mosaic env-info`: what a packet made here and now would say of its environment."""

from __future__ import annotations

from typing import Annotated

import typer

from mosaic.cli.options import Json
from mosaic.cli.output import console, print_json
from mosaic.errors import InputError

EXAMPLES = """\b
Examples:
# the processor and, if there is one, the GPU: driver, clocks, temperature, libraries, the commit that runs
mosaic env-info
# as it stands in a packet
mosaic env-info --device cuda:0 --json
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="env-info", epilog=EXAMPLES)(env_info)


def env_info(
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:1, or auto: this machine's GPU, or the CPU if it has none.")] = "auto",
    json: Json = False,
) -> None:
    """Show what goes into a packet's environment: device, driver, clocks, temperature, libraries, revision."""
    import torch

    from mosaic.harness import environment

    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()):
        raise InputError(f"there is no device {device!r}; write cpu, cuda or cuda:1")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise InputError(f"this machine has {torch.cuda.device_count()} GPUs that PyTorch sees, so there is no {name}")
    found = environment.read(name, replay=["mosaic", "env-info", "--device", name], before=environment.conditions(name))
    if json:
        print_json(found.document())
        return
    from mosaic.cli.packet_tables import sheet_table
    from mosaic.report.packet_sheets import Sheet, environment_rows

    console().print(sheet_table(Sheet("environment", "a packet made here", ("", "", ""), tuple(environment_rows(found)))))
