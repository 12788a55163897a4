"""The audit's result as a Markdown table: what was caught, by which name, and how many honest candidates were not believed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mosaic.errors import InputError
from mosaic.harness.audit import corpus
from mosaic.harness.audit.run import Report, Result

BEGIN: Final = "<!-- audit: made by `python benchmarks/judge_packet.py --readme README.md` -->"
END: Final = "<!-- audit ends -->"

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


def of_documents(documents: Sequence[Mapping[str, Any]]) -> str:
    """The table of all 46 ways, from what audits on several devices gave (`Report.document`), a later one before an earlier.

    Raises InputError for a result of another version of an entry than the corpus has now.
    """
    found = {result["path"]: (result, document["device"]) for document in documents for result in _tried(document)}
    head = ["", "<details><summary>Each way, and by what name it was caught</summary>", ""]
    return "\n".join((*_sentences(found), *head, *_ways(found), "", "</details>")) + "\n"


def put(text: str, table: str) -> str:
    """A document with the table between its two marks. Raises InputError if it has no such marks."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"the document has no place for the audit's table: it must hold the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"


def _tried(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for result in document["results"]:
        if result["verdict"] == "skipped":
            continue
        if result["sha256"] != corpus.find(result["path"]).sha256:
            raise InputError(f"the entry {result['path']} was changed since it was audited; run `mosaic audit` again")
        yield result


Found = Mapping[str, tuple[Mapping[str, Any], str]]


def _sentences(found: Found) -> Iterator[str]:
    def right(group: str) -> tuple[int, int]:
        verdicts = [result["verdict"] for result, _ in found.values() if result["group"] == group]
        return verdicts.count("right"), len(verdicts)

    numbers = {entry.number for entry in corpus.entries("cheats")}
    named = sum(all(_verdict(found, entry) == "right" for entry in corpus.entries("cheats") if entry.number == n) for n in numbers)
    (good, controls), (told, mistakes) = right("controls"), right("mistakes")
    fast = [(entry, found[entry.path][0]) for entry in corpus.entries("controls") if entry.faster and entry.path in found]
    said = ", ".join(f"{entry.path} {result['speedup']:.0f}x (at least {entry.faster:g}x)" for entry, result in fast if result["speedup"])
    tried = {entry.number for entry in corpus.entries("cheats") if entry.path in found}
    where = " and ".join(dict.fromkeys(device for _, device in found.values()))
    yield f"**{named} of {len(numbers)}** known ways to cheat are caught and named, of {len(tried)} that could be tried ({where});"
    left = len(corpus.entries("controls")) - controls
    more = f" ({left} more were not tried)" if left else ""
    yield f"**{controls - good}** false alarms in {controls} honest controls{more}; {told} of {mistakes} honest mistakes are told for what"
    yield f"they are, and called no cheat. Controls that must be much faster than their baseline, and be believed: {said}."


def _verdict(found: Found, entry: corpus.Entry) -> str:
    return str(found[entry.path][0]["verdict"]) if entry.path in found else "skipped"


def _ways(found: Found) -> Iterator[str]:
    yield "| way to cheat | named | as | tried on |"
    yield "| --- | --- | --- | --- |"
    for entry in corpus.entries("cheats"):
        result, device = found.get(entry.path, ({"kind": ""}, ""))
        kind = f"`{result['kind']}`" if result["kind"] else ""
        mark = MARKS.get(_verdict(found, entry), _verdict(found, entry))
        yield f"| {entry.number} {entry.title} | {mark} | {kind} | {device} |"
