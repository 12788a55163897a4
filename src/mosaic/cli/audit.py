"""`mosaic audit`: the corpus of cheats, honest controls and honest mistakes through the judge: is each told for what it is?"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic.cli.options import Json
from mosaic.cli.output import console, print_json
from mosaic.cli.phases import Phases

if TYPE_CHECKING:
    from mosaic.harness.audit.run import Report, Result

EXAMPLES = """\b
Examples:
# all that this machine can run
mosaic audit
# what there is
mosaic audit --list
# some of it: by the way's number, a name or an entry
mosaic audit --only 21 --only nan_equals_nan
# the controls only; with the packets
mosaic audit --group controls --ledger audit.db --json

Exit codes: 0 every entry is told for what it is, 6 one is not, 2 a device or an entry that is not there.
"""

Group = Annotated[list[str] | None, typer.Option("--group", help="cheats, controls or mistakes; can be given often.", show_default=False)]


def add_to(app: typer.Typer) -> None:
    app.command(name="audit", epilog=EXAMPLES)(audit)


def audit(
    device: Annotated[str, typer.Option(help="cpu, cuda (only what needs one), or auto: whatever is there.")] = "auto",
    only: Annotated[list[str] | None, typer.Option(help="An entry, a name or a number; can be given often.", show_default=False)] = None,
    group: Group = None,
    no_timing: Annotated[bool, typer.Option("--no-timing", help="Do not time the candidates: cheats of timing are missed then.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the corpus and stop.")] = False,
    ledger: Annotated[Path | None, typer.Option(help="Append every packet to this ledger.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Try every known way to cheat on the judge, and honest candidates too; fails if one is told for what it is not."""
    from mosaic.errors import InputError
    from mosaic.evidence.ledger import Ledger
    from mosaic.harness.audit import corpus, run

    groups: Any = tuple(dict.fromkeys(group or corpus.GROUPS))
    for name in groups:
        if name not in corpus.GROUPS:
            raise InputError(f"the corpus has no group {name!r}; its groups are {', '.join(corpus.GROUPS)}")
    if list_:
        _list(groups, json=json)
        return
    phases = Phases()
    with phases.shown(), ExitStack() as stack:
        store = stack.enter_context(Ledger(ledger)) if ledger is not None else None
        phases.say("auditing")
        report = run.audit(
            device,
            groups=groups,
            only=only or (),
            ledger=store,
            timing=not no_timing,
            progress=lambda result: phases.say(f"auditing: {result.entry.path}: {result.verdict}"),
        )
    if json:
        print_json(report.document())
    else:
        _show(report)
    report.raise_if_wrong()


def _list(groups: tuple[Any, ...], *, json: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from mosaic.harness.audit import corpus

    entries = corpus.entries(*groups)
    if json:
        keys = ("group", "number", "path", "name", "needs", "title")
        print_json([{key: getattr(entry, key) for key in keys} for entry in entries])
        return
    table = Table(title=f"{len(entries)} entries", title_justify="left")
    for column in ("group", "way", "entry", "name", "needs", "what"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        number = str(entry.number) if entry.number else ""
        table.add_row(*map(Text, (entry.group, number, entry.path, entry.name, entry.needs, entry.title)))
    console().print(table)


def _show(report: Report) -> None:
    from rich.table import Table

    table = Table(title=f"audit on {report.device}", title_justify="left")
    for column in ("group", "way", "entry", "verdict", "as", "s", "what the judge said"):
        table.add_column(column, justify="right" if column == "s" else "left", overflow="fold")
    for result in report.results:
        table.add_row(*_row(result))
    console().print(table)
    (right, tried), (caught, _) = report.ways, report.caught
    alarms, controls = report.false_alarms
    mistakes = report.of("mistakes")
    told = sum(result.verdict == "right" for result in mistakes)
    skipped = sum(result.verdict == "skipped" for result in report.results)
    typer.echo(f"ways to cheat: {right} of {tried} caught and named, {caught} caught")
    typer.echo(f"honest controls: {alarms} false alarms in {controls}; honest mistakes: {told} of {len(mistakes)} told for what they are")
    if skipped:
        typer.echo(f"skipped, as what they need is not here: {skipped}")


def _row(result: Result) -> tuple[Any, ...]:
    from rich.text import Text

    styles = {"right": "green", "skipped": "dim"}
    entry = result.entry
    number = str(entry.number) if entry.number else ""
    kind = result.kind or result.status
    cells = (
        entry.group,
        number,
        entry.path,
        Text(result.verdict, style=styles.get(result.verdict, "bold red")),
        kind,
        f"{result.seconds:.1f}",
    )
    return (*(cell if isinstance(cell, Text) else Text(cell) for cell in cells), Text(result.message))
