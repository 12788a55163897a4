"""Descriptions of devices, and finding them by name or by the card that is there."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mosaic.errors import TargetError
from mosaic.targets.target import TARGETS, Target, default_target, find, find_for_device


def test_every_target_of_the_design_is_there() -> None:
    assert set(TARGETS) == {"cpu", "sm_80", "sm_90a", "sm_100a", "gfx942", "gfx950"}
    assert {name for name, target in TARGETS.items() if target.kind == "cuda"} == {"sm_80", "sm_90a", "sm_100a"}
    assert {name for name, target in TARGETS.items() if target.kind == "hip"} == {"gfx942", "gfx950"}


@pytest.mark.parametrize("target", TARGETS.values(), ids=lambda target: target.name)
def test_figures_make_sense(target: Target) -> None:
    assert target.processors > 0
    assert target.bandwidth > 1e10
    assert target.launch_seconds > 0
    if target.kind != "cpu":
        # A matrix product must be worth more than vector arithmetic, and low precision more than high.
        assert target.matrix_rate("float16") > target.vector_rate
        assert target.matrix_rate("int8") >= target.matrix_rate("float16") >= target.matrix_rate("float32")
        # 48 KB and more, whole kilobytes; a register file of at least 256 KB.
        assert target.shared_per_block >= 49_152
        assert target.shared_per_block % 1024 == 0
        assert target.registers_per_processor * 4 >= 256 * 1024
        # Between 50 and 400 operations a byte: outside of it a figure has the wrong unit.
        assert 50 < target.matrix_rate("float16") / target.bandwidth < 400


def test_a_dtype_without_matrix_units_has_the_vector_rate() -> None:
    assert TARGETS["sm_80"].matrix_rate("float8_e4m3fn") == TARGETS["sm_80"].vector_rate
    assert TARGETS["gfx950"].matrix_rate("float32") == TARGETS["gfx950"].vector_rate


def test_what_tilelang_is_told() -> None:
    assert TARGETS["sm_90a"].upstream == {"kind": "cuda", "arch": "sm_90a"}
    assert TARGETS["gfx942"].upstream == {"kind": "hip", "mcpu": "gfx942"}
    assert TARGETS["cpu"].upstream == {"kind": "c"}


def test_warps_are_specialized_from_hopper_on() -> None:
    assert [name for name, target in TARGETS.items() if target.specializes_warps] == ["sm_90a", "sm_100a"]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("sm_90a", "sm_90a"), (" SM_80 ", "sm_80"), ("h100", "sm_90a"), ("H200", "sm_90a"), ("b200", "sm_100a"), ("mi300x", "gfx942")],
)
def test_found_by_name_and_by_device(name: str, wanted: str) -> None:
    assert find(name).name == wanted


def test_an_unknown_name_is_an_error_with_the_nearest_ones() -> None:
    with pytest.raises(TargetError, match=r"no target is named 'sm90a'; did you mean sm_90a"):
        find("sm90a")
    with pytest.raises(TargetError, match=r"no target is named 'tpu9000'; the targets are cpu, sm_80"):
        find("tpu9000")


def test_auto_is_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("auto") == find("default") == default_target()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert default_target().name == "cpu"
    # With no GPU here, a kind of GPU still means one that source can be looked at for.
    assert find("cuda").name == "sm_90a"
    assert find("hip").name == "gfx942"


def card(major: int, minor: int, **more: object) -> SimpleNamespace:
    return SimpleNamespace(name="a card", major=major, minor=minor, multi_processor_count=7, **more)


def test_a_card_brings_its_own_limits() -> None:
    # As an H100 reports them: kHz, bits, bytes.
    found = find_for_device(
        card(9, 0, memory_clock_rate=2_619_000, memory_bus_width=5120, L2_cache_size=50 << 20, shared_memory_per_block_optin=232_448)
    )
    assert found is not None
    assert (found.name, found.processors, found.device, found.l2_bytes) == ("sm_90a", 7, "a card", 50 << 20)
    assert found.bandwidth == pytest.approx(3.35e12, rel=0.01)


def test_a_later_card_of_the_ampere_generation_has_less_shared_memory() -> None:
    found = find_for_device(card(8, 6, shared_memory_per_block_optin=101_376))
    assert found is not None
    assert (found.name, found.shared_per_block, found.bandwidth) == ("sm_80", 101_376, TARGETS["sm_80"].bandwidth)


@pytest.mark.parametrize("capability", [(7, 5), (10, 3), (12, 0)])
def test_a_card_that_no_target_fits(capability: tuple[int, int]) -> None:
    assert find_for_device(card(*capability)) is None
