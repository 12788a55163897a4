"""Rates of this device: measured, kept, measured anew, and what a changed file is worth."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.harness import rates as module
from mosaic.harness.rates import Rate, Rates, fingerprint, last_level_cache, measure_rates, rates

COPIES = {1 << 18: Rate((9e10, 8e10)), 1 << 22: Rate((5e10,)), 1 << 27: Rate((1e10, 1.1e10))}
GIVEN = Rates("cpu; x", 1 << 22, COPIES, {"float32": Rate((1e11, 2e11)), "float64": Rate((5e10,)), "float16": Rate((1e9,))})


def test_this_processor_copies_and_multiplies(tmp_path: Path) -> None:
    found = rates("cpu", ["float32"], cache=tmp_path)
    assert found.device == fingerprint(torch.device("cpu"))
    assert set(found.products) == {"float32", "float64"}
    for rate in (*found.copies.values(), *found.products.values()):
        assert 1e7 < rate.best < 1e14
        assert rate.spread >= 0
    assert found == rates("cpu", ["float32"], cache=tmp_path), "read, not measured: no sample is the same twice"
    (path,) = tmp_path.iterdir()
    more = rates("cpu", ["float32", "bfloat16"], cache=tmp_path)
    assert more.copies == found.copies
    assert {name: more.products[name] for name in found.products} == found.products
    assert "bfloat16" in more.products
    assert json.loads(path.read_bytes())["id"] == digest(canonical(more.to_dict()))


def counted(monkeypatch: pytest.MonkeyPatch, found: Rates) -> list[list[str]]:
    asked: list[list[str]] = []

    def measure(where: object, dtypes: list[str], known: Rates | None = None) -> Rates:
        asked.append(list(dtypes))
        return Rates(fingerprint(torch.device("cpu")), found.cache, found.copies, {**(known.products if known else {}), **found.products})

    monkeypatch.setattr(module, "measure_rates", measure)
    return asked


def test_a_changed_or_foreign_file_is_measured_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = counted(monkeypatch, GIVEN)
    rates("cpu", ["float64"], cache=tmp_path)
    (path,) = tmp_path.iterdir()
    good = path.read_bytes()
    for bad in (
        good.replace(b"100000000000", b"900000000000"),
        b"{",
        b"[]",
        good.replace(b"cpu;", b"gpu;"),
        b"",
    ):
        assert bad != good
        path.write_bytes(bad)
        rates("cpu", ["float64"], cache=tmp_path)
        assert path.read_bytes() == good
    assert len(asked) == 6


def test_measuring_anew_keeps_the_better(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, GIVEN)
    rates("cpu", ["float32"], cache=tmp_path)
    better = Rates("", 1 << 22, {1 << 18: Rate((1e9,))}, {"float32": Rate((3e11,)), "float64": Rate((1.0,))})
    counted(monkeypatch, better)
    found = rates("cpu", ["float32"], cache=tmp_path, anew=True)
    assert found.copies == COPIES
    assert found.products["float32"].best == 3e11
    assert found.products["float64"].best == 5e10
    counted(monkeypatch, GIVEN)
    assert rates("cpu", ["float32"], cache=tmp_path) == found


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted(monkeypatch, GIVEN)
    (tmp_path / "file").write_text("in the way")
    assert rates("cpu", ["float32"], cache=tmp_path / "file").products


def test_what_is_not_to_be_had_is_not_measured_for_ever(tmp_path: Path) -> None:
    found = measure_rates("cpu", ["float8_e4m3fn"], GIVEN)
    assert "float8_e4m3fn" not in found.products


def test_products_go_the_quickest_way() -> None:
    half, strange = GIVEN.matrix("float16"), GIVEN.matrix("complex64")
    assert half is not None
    assert half.best == 2e11, "widened to float32"
    assert strange is None


def test_memory_by_where_the_data_may_lie() -> None:
    assert GIVEN.memory(1 << 10).best == 1.1e10
    assert GIVEN.memory(1 << 10, cached=True).best == 9e10
    assert GIVEN.memory(1 << 21, cached=True).best == 5e10
    assert GIVEN.memory(1 << 40, cached=True).best == 1.1e10


def test_a_rate_is_its_best_sample_and_how_far_that_is_from_the_median() -> None:
    assert Rate((1.0, 2.0, 3.0)).best == 3.0
    assert Rate((1.0, 2.0, 3.0)).spread == pytest.approx(0.5)


def test_as_json_and_back() -> None:
    assert Rates.from_dict(json.loads(json.dumps(GIVEN.to_dict()))) == GIVEN
    good = GIVEN.to_dict()
    for bad in ({}, None, {**good, "version": 2}, {**good, "copies": []}, {**good, "copies": [{"bytes": 1, "samples": [math.inf]}]},
                {**good, "products": [{"dtype": "float16", "samples": []}]}):  # fmt: skip
        with pytest.raises(InputError, match="measured again"):
            Rates.from_dict(bad)


def test_the_last_level_cache_has_a_size() -> None:
    assert 1 << 18 <= last_level_cache(torch.device("cpu")) < 1 << 34


@pytest.mark.gpu
def test_a_gpu(tmp_path: Path) -> None:
    found = rates("cuda", cache=tmp_path)
    assert found.memory(1 << 30).best > 1e11
    assert {"float16", "bfloat16", "float32"} <= set(found.products)
    assert found.products["float16"].best > found.products["float64"].best
