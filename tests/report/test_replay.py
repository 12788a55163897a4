"""What a replay says of each claim."""

from __future__ import annotations

import pytest

from mosaic.errors import InputError
from mosaic.evidence.packet import Packet
from mosaic.report.replay import Part, claims, compare_speed, compare_speeds, compare_verdicts, is_reproduced, same_device, statistics_of
from tests.evidence.samples import errored, failed, passed, skipped, unclear


@pytest.mark.parametrize(("value", "outcome"), [(2.0, "reproduced"), (1.1, "reproduced"), (0.9, "not reproduced"), (1.0, "not reproduced")])
def test_speeds(value: float, outcome: str) -> None:
    assert compare_speed("speed", (1.9, 2.1), value, (value - 0.05, value + 0.05)).outcome == outcome


def test_a_speed_that_was_never_certain() -> None:
    assert compare_speed("speed", (0.9, 1.2), 1.15, (1.1, 1.3)).outcome == "reproduced"
    assert compare_speed("speed", (0.9, 1.05), 1.5, (1.4, 1.6)).outcome == "not reproduced"


@pytest.mark.parametrize(
    ("was", "now", "outcome"),
    [
        (passed(), passed(), "reproduced"),
        (passed(), failed(), "not reproduced"),
        (passed(), errored(), "not replayed"),
        (failed(), failed(), "reproduced"),
        (failed(), failed("timeout"), "not reproduced"),
        (failed(), passed(), "not reproduced"),
        (unclear(), unclear(), "reproduced"),
        (unclear(), passed(), "not reproduced"),
    ],
)
def test_verdicts(was: Packet, now: Packet, outcome: str) -> None:
    assert compare_verdicts(was, now).outcome == outcome


def test_all_speeds_of_a_packet() -> None:
    (part,) = compare_speeds(passed(), passed(), "")
    assert part.outcome == "reproduced"
    (part,) = compare_speeds(passed(), None, "another device")
    assert (part.outcome, part.detail) == ("not replayed", "another device")
    assert compare_speeds(failed(), passed(), "") == ()


def test_statistics_need_no_device() -> None:
    (part,) = statistics_of(passed())
    assert part.outcome == "reproduced"
    (part,) = statistics_of(passed(seconds=(1.0, 1.0)))
    assert part.outcome == "not reproduced"
    assert "torch.mul" in part.detail
    assert statistics_of(failed()) == ()


def test_what_counts_as_reproduced() -> None:
    good, bad, left = Part("correctness", "reproduced", ""), Part("correctness", "not reproduced", ""), Part("speed", "not replayed", "")
    assert is_reproduced([good, left])
    assert not is_reproduced([good, bad])
    assert not is_reproduced([left])
    assert not is_reproduced([Part("statistics", "reproduced", ""), left])


def test_what_claims_nothing_is_refused() -> None:
    for packet in (errored(), skipped()):
        with pytest.raises(InputError, match="nothing to replay"):
            claims(packet, "x.json")
    claims(passed(), "x.json")


def test_devices() -> None:
    assert "NVIDIA H200" in same_device(passed(), "cpu")
