"""What verbs print: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]
"""The option `--json` of every verb."""


def print_json(document: Any) -> None:
    """Print a document of dicts, lists, strings and numbers, and nothing else, on standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def console() -> Any:
    """A Rich console on standard output. Where that is no terminal, lines are not cut to a width of 80.

    Not kept: standard output may be another one at the next call (as under a test runner).
    """
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)
