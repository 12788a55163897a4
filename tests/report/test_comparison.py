"""Packets side by side."""

from __future__ import annotations

from mosaic.report.comparison import comparison_sheets, shared_series
from tests.evidence.samples import failed, passed


def test_figures_and_differences() -> None:
    first, second = passed(), passed(device="NVIDIA B200", seconds=(2.5e-5, 2.5e-5, 1e-5))
    summary, figures, candidates, environments = comparison_sheets([first, second])
    assert ("device", "NVIDIA H200", "NVIDIA B200") in summary.rows
    assert ("time (64 by 80; device-events, graph-replay)", "12.5 us", "25 us") in summary.rows
    place = "performance.timings[64 by 80, device-events, graph-replay].median"
    assert (place, "12.5 us", "25 us", "2", "derived") in figures.rows
    assert figures.text == "The same task."
    assert candidates.rows == (("alike", "", ""),)
    assert ("device.name", "NVIDIA H200", "NVIDIA B200") in environments.rows


def test_several_against_the_first() -> None:
    made = comparison_sheets([passed(), failed(), passed()])
    assert len(made) == 1 + 3 + 3
    assert {len(row) for row in made[0].rows} == {4}
    assert made[4].title == "Figures of packet 3 against the first"


def test_samples_have_their_packets_number() -> None:
    ((_, each),) = shared_series([passed(), failed(), passed()]).items()
    assert [name.partition(":")[0] for name, _ in each] == ["1", "1", "3", "3"]
