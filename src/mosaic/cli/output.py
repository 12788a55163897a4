"""What verbs print: tables for people, one JSON document for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import typer

Item = TypeVar("Item")


def print_json(document: Any) -> None:
    """Print a document of dicts, lists, strings and numbers, and nothing else, on standard output."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def console() -> Any:
    """A Rich console on standard output. Where that is no terminal, lines are not cut to a width of 80.

    Not kept: standard output may be another one at the next call (as under a test runner).
    """
    from rich.console import Console

    return Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else 160)


def track(items: Sequence[Item], what: str) -> Iterator[Item]:
    """The items, one by one, with a bar on standard error meanwhile if that is a terminal and there are several."""
    if len(items) < 2 or not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import track as bar

    yield from bar(items, description=what, console=Console(stderr=True), transient=True)


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """A line on standard error, if that is a terminal, that tells what is being done; given is what changes its text."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console

    with Console(stderr=True).status(what) as status:
        yield lambda text: status.update(f"{what}: {text}")
