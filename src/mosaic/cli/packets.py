"""`mosaic packets`: what is in ledgers and packet files: listed, shown, compared, verified, counted, copied."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mosaic.cli.keeping import PacketName, find_packet, paths_or_own
from mosaic.cli.options import Json
from mosaic.cli.output import console, print_json
from mosaic.errors import InputError
from mosaic.files import check_writable, write_whole

if TYPE_CHECKING:
    from mosaic.evidence.packet import Packet
    from mosaic.evidence.summary import Summary

EXAMPLES = """\b
Examples:
# what is in your own ledger, or in a folder, a ledger, an export or an archive
mosaic packets list
mosaic packets list evidence
# of a ledger, what failed on one device
mosaic packets list ledger.db --status fail --device "NVIDIA H200" --json
# one packet, as text and as a page
mosaic packets show ledger.db#3f91a04c --html packet.html
# two side by side, with all samples in one picture
mosaic packets compare before.json after.json --html compared.html
# everything hashed again
mosaic packets verify evidence ledger.db
# in which classes candidates fail
mosaic packets failures ledger.db
# into a ledger, and out of it
mosaic packets add ledger.db run.json
mosaic packets export ledger.db exported
"""

Paths = Annotated[
    list[Path] | None,
    typer.Argument(metavar="PATH...", help="Ledgers, exports, archives, packet files, or folders of them; else your own ledger."),
]
Sources = Annotated[list[Path], typer.Argument(metavar="PATH...", help="Ledgers, exports, archives, packet files, or folders of them.")]
Html = Annotated[Path | None, typer.Option(help="Write one self-contained HTML page.", show_default=False)]
Markdown = Annotated[Path | None, typer.Option(help="Write it as Markdown.", show_default=False)]
LedgerPath = Annotated[Path, typer.Argument(metavar="LEDGER", help="A ledger's file.")]

group = typer.Typer(no_args_is_help=True, epilog=EXAMPLES, help="List, show, compare and verify packets: the records of runs.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="packets")


@group.command("list")
def list_(
    paths: Paths = None,
    status: Annotated[str | None, typer.Option(help="pass, fail, error, skipped or inconclusive.", show_default=False)] = None,
    failure: Annotated[str | None, typer.Option(help="A failure class.", show_default=False)] = None,
    candidate: Annotated[str | None, typer.Option(help="A candidate's name, or its id.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="A task's name.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="A device's name.", show_default=False)] = None,
    made: Annotated[str | None, typer.Option(help="When: a beginning, as 2026-11, or FROM..TO, TO excluded.", show_default=False)] = None,
    tag: Annotated[list[str] | None, typer.Option(help="With this tag; can be given often.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 50,
    json: Json = False,
) -> None:
    """List packets, the newest first."""
    since, until = _span(made)
    filters = {"status": status, "failure": failure, "candidate": candidate, "task": task, "device": device, "since": since, "until": until}
    found = _summaries(paths, filters, tuple(tag or ()), limit + 1 if limit else None)
    rows = [*found] if not limit else heapq.nlargest(limit + 1, found, key=lambda item: item[1].created)
    rows.sort(key=lambda item: item[1].created, reverse=True)
    more = bool(limit) and len(rows) > limit
    rows = rows[:limit] if limit else rows
    if json:
        print_json([{"place": place, **each._asdict(), "tags": list(each.tags)} for place, each in rows])
        return
    from mosaic.cli.packet_tables import listing

    console().print(listing(rows))
    if more:
        typer.echo(f"There are more than these {limit}; --limit 0 shows all.")


def _span(made: str | None) -> tuple[str | None, str | None]:
    """From when to when; moments are compared as text."""
    if made is None:
        return None, None
    first, dots, last = made.partition("..")
    return (first or None, last or None) if dots else (made, f"{made}~")


def _summaries(
    paths: list[Path] | None, filters: dict[str, str | None], tags: tuple[str, ...], limit: int | None = None
) -> Iterator[tuple[str, Summary]]:
    """Where each packet is that meets the filters, and its summary. A ledger is searched by its own tables, for
    the newest `limit`."""
    from mosaic.evidence.collection import files, is_ledger, read
    from mosaic.evidence.ledger import Ledger
    from mosaic.evidence.packet import STATUSES
    from mosaic.evidence.summary import summary

    if filters["status"] is not None and filters["status"] not in STATUSES:
        raise InputError(f"there is no status {filters['status']!r}; the statuses are {', '.join(STATUSES)}")
    for path in (file for given in paths_or_own(paths) for file in files(given)):
        if is_ledger(path):
            with Ledger(path, create=False) as ledger:
                rows = ledger.find(
                    status=filters["status"],
                    failure=filters["failure"],
                    candidate=filters["candidate"],
                    task=filters["task"],
                    device=filters["device"],
                    since=filters["since"],
                    until=filters["until"],
                    tags=tags,
                    limit=limit,
                )
            yield from ((str(path), each) for each in rows)
            continue
        for found in read(path):
            each = summary(0, found.packet)
            if _meets(each, filters, tags):
                yield found.place, each


def _meets(each: Summary, filters: dict[str, str | None], tags: tuple[str, ...]) -> bool:
    exact = ("status", "failure", "task", "device")
    wanted = filters["candidate"]
    return (
        all(filters[name] in (None, getattr(each, name)) for name in exact)
        and wanted in (None, each.candidate, each.candidate_id)
        and (filters["since"] is None or each.created >= filters["since"])
        and (filters["until"] is None or each.created < filters["until"])
        and set(tags) <= set(each.tags)
    )


@group.command()
def show(reference: PacketName, html: Html = None, markdown: Markdown = None, json: Json = False) -> None:
    """Show one packet: as tables, as a page with plots of the samples, as Markdown, or as its JSON."""
    from mosaic.evidence.packet import packet_id

    _check(html, markdown)
    packet = find_packet(reference).packet
    if html is not None:
        from mosaic.report.packet_page import packet_page

        write_whole(html, packet_page(packet))
    if markdown is not None:
        from mosaic.report.packet_text import packet_text

        write_whole(markdown, packet_text(packet))
    if json:
        print_json({**packet.document(), "id": packet_id(packet)})
        return
    from mosaic.cli.packet_tables import sheet_table
    from mosaic.report.packet_sheets import Sheet, headline, sheets

    out = console()
    for sheet in sheets(packet):
        out.print(sheet_table(sheet))
    out.print(sheet_table(Sheet("figures", f"{packet.candidate.name}: {packet.status}", ("", "", ""), headline(packet))))
    _tell(html, markdown)


@group.command()
def compare(
    references: Annotated[
        list[str], typer.Argument(metavar="PACKET PACKET...", help="Two packets or more: files, FILE#ID, or ids in your own ledger.")
    ],
    html: Html = None,
    markdown: Markdown = None,
    json: Json = False,
) -> None:
    """Put packets side by side: figures, and in what candidates and environments differ. The first is what the others are compared with."""
    _check(html, markdown)
    if len(references) < 2:
        raise InputError("a comparison needs two packets; give one more")
    packets = [find_packet(reference).packet for reference in references]
    if html is not None:
        from mosaic.report.packet_page import comparison_page

        write_whole(html, comparison_page(packets))
    if markdown is not None:
        from mosaic.report.packet_text import comparison_text

        write_whole(markdown, comparison_text(packets))
    if json:
        print_json([_comparison(packets[0], other) for other in packets[1:]])
        return
    from mosaic.cli.packet_tables import sheet_table
    from mosaic.report.comparison import comparison_sheets

    out = console()
    for sheet in comparison_sheets(packets):
        out.print(sheet_table(sheet))
    _tell(html, markdown)


def _comparison(first: Packet, second: Packet) -> dict[str, Any]:
    from dataclasses import asdict

    from mosaic.evidence.compare import compare as compare_packets

    found = compare_packets(first, second)
    return {**asdict(found), "figures": [{**asdict(row), "ratio": row.ratio} for row in found.figures]}


@group.command()
def verify(paths: Paths = None, json: Json = False) -> None:
    """Hash everything again: every packet, and every artifact whose content is there. A flipped byte is found."""
    from mosaic.evidence.collection import files, is_ledger, read
    from mosaic.evidence.ledger import Ledger

    good, artifacts, problems = 0, 0, []
    for path in (file for given in paths_or_own(paths) for file in files(given)):
        try:
            if is_ledger(path):
                with Ledger(path, create=False) as ledger:
                    found = ledger.verify()
                    good, artifacts = good + len(ledger), artifacts + ledger.artifact_count()
                problems += [f"{path}: {problem}" for problem in found]
                continue
            for each in read(path):
                artifacts += len(each.contents())
                good += 1
        except InputError as error:
            problems.append(str(error))
    if json:
        print_json({"packets": good, "artifacts": artifacts, "problems": problems})
    else:
        for problem in problems[1:]:
            typer.echo(problem)
        typer.echo(f"{good:,} packets and {artifacts:,} artifacts are what they were when they were written.")
    if problems:
        raise InputError(f"{problems[0]}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))


@group.command()
def failures(
    paths: Paths = None,
    candidate: Annotated[str | None, typer.Option(help="Of this candidate.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="In this task.", show_default=False)] = None,
    device: Annotated[str | None, typer.Option(help="On this device.", show_default=False)] = None,
    json: Json = False,
) -> None:
    """Count the packets that failed, by failure class."""
    filters = dict.fromkeys(("status", "failure", "since", "until")) | {"candidate": candidate, "task": task, "device": device}
    counts: dict[str, int] = {}
    for _, each in _summaries(paths, {**filters, "status": "fail"}, ()):
        counts[str(each.failure)] = counts.get(str(each.failure), 0) + 1
    ordered = dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))
    if json:
        print_json(ordered)
        return
    if not ordered:
        typer.echo("No packet failed.")
        return
    from mosaic.cli.packet_tables import histogram

    console().print(histogram(ordered))


@group.command()
def add(ledger: LedgerPath, paths: Sources, json: Json = False) -> None:
    """Append packets, and the contents of their artifacts that are there, to a ledger, which is made if there is none."""
    from mosaic.evidence.collection import collect
    from mosaic.evidence.ledger import Ledger

    with Ledger(ledger) as store:
        before = len(store)
        names = store.extend(((found.packet, found.contents().values()) for found in collect(paths)), partial=True)
        new = len(store) - before
    if json:
        print_json({"packets": list(names), "new": new})
    else:
        typer.echo(f"{len(names)} packets, of which {new} are new to {ledger}.")


@group.command()
def export(ledger: LedgerPath, folder: Annotated[Path, typer.Argument(help="A new folder.")], json: Json = False) -> None:
    """Write a ledger as a folder of text: each packet a line, each artifact a file, checkable without us."""
    from mosaic.evidence.exchange import export as write
    from mosaic.evidence.ledger import Ledger

    with Ledger(ledger, create=False) as store:
        done = write(store, folder)
    if json:
        print_json({"folder": str(folder), "entries": done.entries, "artifacts": done.artifacts})
    else:
        typer.echo(f"{done.entries} entries and {done.artifacts} artifacts are in {folder}.")


def _check(*paths: Path | None) -> None:
    for path in paths:
        if path is not None:
            check_writable(path)


def _tell(html: Path | None, markdown: Path | None) -> None:
    for name, path in (("page", html), ("Markdown", markdown)):
        if path is not None:
            typer.echo(f"{name}: {path}")
