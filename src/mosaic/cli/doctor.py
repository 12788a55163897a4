"""`mosaic doctor`: what this machine can compile and run, and the one command that adds what is missing."""

from __future__ import annotations

from dataclasses import asdict

import typer

from mosaic.cli.options import Json
from mosaic.cli.output import console, print_json
from mosaic.errors import ToolMissingError

EXAMPLES = """\b
Examples:
# a table of what is here and what is missing
mosaic doctor
# for programs
mosaic doctor --json

It exits with 5 if something is missing that even the CPU needs; all else is optional.
"""


def add_to(app: typer.Typer) -> None:
    app.command(name="doctor", epilog=EXAMPLES)(doctor)


def doctor(json: Json = False) -> None:
    """Tell what this machine can compile and run, and the one command that adds what is missing."""
    from mosaic.targets.doctor import diagnose

    diagnosis = diagnose()
    if json:
        findings = [asdict(finding) for finding in diagnosis.findings]
        print_json({"healthy": diagnosis.healthy, "default_target": diagnosis.default_target, "findings": findings})
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table(title="this machine", title_justify="left")
        for column in ("", "what", "found", "it", "to add it"):
            table.add_column(column, overflow="fold")
        for finding in diagnosis.findings:
            mark = Text("yes", style="green") if finding.present else Text("no", style="bold red" if finding.required else "yellow")
            table.add_row(mark, *(Text(cell) for cell in (finding.name, finding.detail, finding.purpose, finding.fix or "")))
        console().print(table)
        typer.echo(f"Without --target, programs are compiled for {diagnosis.default_target}.")
    if not diagnosis.healthy:
        missing = ", ".join(finding.name for finding in diagnosis.findings if finding.required and not finding.present)
        raise ToolMissingError(f"this machine lacks what even the CPU needs: {missing}; `mosaic doctor` tells how to add it")
