"""The audit's result as a Markdown table: what was caught, by which name, and how many honest candidates were not believed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from mosaic.harness.audit import corpus
from mosaic.harness.audit.run import Report, Result

MARKS: Final = {"right": "yes", "missed": "**missed**", "misnamed": "**by another name**", "error": "**error**", "skipped": "not run"}


def markdown(report: Report) -> str:
    """The whole table, a line a way to cheat, then the controls and mistakes in a line each, and what was wrong."""
    return "\n".join(_lines(report)) + "\n"


def summary(report: Report) -> str:
    """One sentence."""
    named, tried = report.ways
    caught, _ = report.caught
    alarms, controls = report.false_alarms
    ways = f"{caught} of {tried} ways to cheat caught, {named} by name"
    return f"{ways}; {alarms} false alarms among {controls} honest controls ({report.device})."


def _lines(report: Report) -> Iterator[str]:
    yield summary(report)
    yield ""
    if any(result.entry.group == "cheats" for result in report.results):
        yield "| way to cheat | caught and named | as | needs | seconds |"
        yield "| --- | --- | --- | --- | --- |"
        for result in report.results:
            if result.entry.group == "cheats":
                yield _row(result)
        yield ""
    for group in ("controls", "mistakes"):
        results = [result for result in report.of(group) if result.entry.group == group]
        if results:
            right = sum(result.verdict == "right" for result in results)
            fast = [f"{r.entry.path} {r.speedup:.1f} times" for r in results if r.entry.faster and r.speedup]
            what = "honest controls passed" if group == "controls" else "honest mistakes were refused without being called cheats"
            yield f"{right} of {len(results)} {what}{'; faster than the baseline: ' + ', '.join(fast) if fast else ''}."
    for result in report.wrong:
        said = f"{result.verdict} ({result.status} {result.kind}): {result.message.partition(chr(10))[0]}"
        yield f"- {result.entry.group} {result.entry.path}: {said}"
    yield ""
    yield f"Corpus version {corpus.VERSION}, SHA-256 {corpus.digest()[:16]}."


def _row(result: Result) -> str:
    entry = result.entry
    seconds = f"{result.seconds:.1f}" if result.verdict != "skipped" else ""
    return f"| {entry.number} {entry.title} | {MARKS.get(result.verdict, result.verdict)} | `{result.kind}` | {entry.needs} | {seconds} |"
