"""What a packet says, as tables: all of it, of every status."""

from __future__ import annotations

import pytest

from mosaic.evidence.packet import Packet, from_document, packet_id
from mosaic.report.packet_sheets import Sheet, headline, series, sheets, verdict
from tests.evidence.samples import all_packets, errored, failed, noisy, passed, performance, skipped


def by_name(packet: Packet) -> dict[str, Sheet]:
    return {sheet.name: sheet for sheet in sheets(packet)}


@pytest.mark.parametrize("name", all_packets())
def test_every_table_is_whole(name: str) -> None:
    packet = all_packets()[name]
    for sheet in sheets(packet):
        assert sheet.rows
        assert {len(row) for row in sheet.rows} == {len(sheet.head)}, sheet.name
        assert all(0 <= column < len(sheet.head) for column in sheet.numeric)
    assert (packet_id(packet),) == tuple(row[1] for row in by_name(packet)["candidate"].rows if row[0] == "packet")
    assert headline(packet)[0][:2] == ("status", packet.status)


def test_what_a_right_one_says() -> None:
    found = by_name(passed())
    assert [row[:4] for row in found["times"].rows] == [
        ("rows_times_two", "64 by 80", "device-events", "graph-replay"),
        ("torch.mul 2.13.0", "64 by 80", "device-events", "graph-replay"),
    ]
    assert found["times"].rows[0][4:] == ("3", "12.5 (11.25 to 15) us", "11.25 us", "15 us")
    assert found["speedups"].rows == (("torch.mul", "64 by 80", "2", "ratio of medians"),)
    assert found["roofs"].rows == (("64 by 80", "1 us", "memory", "8 %", "bytes / rate"),)
    assert found["replay"].rows[0] == ("command", "mosaic replay packet.json")
    assert ("speed against torch.mul", "2 times", "64 by 80") in headline(passed())
    assert ("noise floor", "1 %", "two timings of the same program") in headline(passed())


def test_why_it_is_what_it_is() -> None:
    assert verdict(passed()) == ""
    assert verdict(failed()) == "mismatch: y[3, 5] is 7, not 8"
    assert verdict(errored()) == "in compile: nvcc: no space left on device"
    assert verdict(skipped()) == "needs a GPU"


def test_checks_show_what_is_wrong_and_no_empty_columns() -> None:
    checks = by_name(failed())["checks"]
    assert checks.head == ("case", "output", "inputs", "trial", "result", "error / allowed", "what is wrong")
    assert checks.rows[1][-1] == "mismatch: y[3, 5] is 7, not 8"
    assert "what is wrong" not in by_name(passed())["checks"].head


def test_optional_and_unknown_categories_are_shown_place_by_place() -> None:
    document = {**passed().document(), "weather": {"rain": {"label": "measured", "value": 0.5, "unit": "s"}, "words": ["a", "b"]}}
    document["weather"]["long"] = "x" * 1000
    document["weather"]["lists"] = [{"deep": 1}, {"deep": 2}]
    rows = by_name(from_document(document))["weather"].rows
    assert ("rain", "500 ms", "measured") in rows
    assert ("words", "a, b", "") in rows
    assert ("lists[1].deep", "2", "") in rows
    assert next(row[1] for row in rows if row[0] == "long").endswith("… (1,000 characters)")
    assert {"security", "quantisation", "serving", "capacity"} <= set(by_name(noisy()))


def test_series_are_by_case_and_clock() -> None:
    (key,) = series(passed())
    assert key == ("64 by 80", "device-events", "s")
    assert [(name, timing.samples.values) for name, timing in series(passed())[key]] == [
        ("rows_times_two (graph-replay)", performance().timings[0].samples.values),
        ("torch.mul (graph-replay)", (2.5e-5,)),
    ]
    assert series(failed()) == {}
