"""Two packets side by side: figures by place, and what is not alike between them."""

from __future__ import annotations

from mosaic.evidence.compare import Difference, compare
from mosaic.evidence.packet import packet_id
from tests.evidence import samples


def test_a_packet_with_itself() -> None:
    found = compare(samples.noisy(), samples.noisy())
    assert found.candidate == found.environment == ()
    assert found.same_task
    assert {row.ratio for row in found.figures} == {1.0}


def test_times_side_by_side() -> None:
    slow, fast = samples.passed(seconds=(4e-5, 2e-5, 6e-5)), samples.passed(device="NVIDIA H100", minute=3, seconds=(1e-5,))
    found = compare(slow, fast)
    assert found.ids == (packet_id(slow), packet_id(fast))
    rows = {row.place: row for row in found.figures}
    row = rows["performance.timings[64 by 80, device-events, graph-replay].median"]
    assert (row.first, row.second, row.unit, row.ratio, row.labels) == (4e-5, 1e-5, "s", 0.25, ("derived", "derived"))
    baseline = rows["performance.baselines[torch.mul].timings[64 by 80, device-events, graph-replay].median"]
    assert baseline.ratio == 1
    assert found.environment == (Difference("device.name", "NVIDIA H200", "NVIDIA H100"),)


def test_what_one_side_lacks() -> None:
    found = compare(samples.passed(), samples.errored())
    rows = [row for row in found.figures if row.place.startswith("performance")]
    assert rows
    assert all(row.second is None and row.ratio is None and row.labels[1] == "" for row in rows)
    assert found.statuses == ("pass", "error")


def test_order_does_not_matter_and_settings_do() -> None:
    one = samples.passed()
    libraries = {"tilelang": "0.1.15", "torch": "2.12.0", "numpy": "2.3"}
    environment = one.environment.model_copy(update={"libraries": libraries, "baseline": None, "seed": None, "before": None})
    other = one.model_copy(update={"environment": environment})
    assert set(map(str, compare(one, other).environment)) == {
        str(Difference("libraries.torch", "2.13.0", "2.12.0")),
        str(Difference("libraries.numpy", "absent", "2.3")),
        str(Difference("baseline", {"name": "torch.mul", "version": "2.13.0"}, "absent")),
    }


def test_units_are_not_mixed() -> None:
    one = samples.passed()
    other = samples.passed()
    assert one.environment.device.memory is not None
    memory = one.environment.device.memory.model_copy(update={"value": 150.0, "unit": "GB"})
    device = other.environment.device.model_copy(update={"memory": memory})
    other = other.model_copy(update={"environment": other.environment.model_copy(update={"device": device})})
    rows = [row for row in compare(one, other).figures if row.place == "environment.device.memory"]
    assert [(row.unit, row.first, row.second) for row in rows] == [("B", 150e9, None), ("GB", None, 150.0)]


def test_another_candidate() -> None:
    found = compare(samples.passed(), samples.passed("another"))
    assert found.candidate == (Difference("name", "rows_times_two", "another"),)
    assert found.same_task
