"""The benchmarks of conversions, as far as they run without a GPU: everything compiles, and a driver of nothing leads through them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from benchmarks import conversions, instructions, layout_packets, layout_tables
from benchmarks.conversion_cases import cases
from benchmarks.conversion_kernels import bench
from benchmarks.cuda_driver import CudaError, Device, build
from mosaic.evidence.packet import parse, seal
from mosaic.layouts.emit.dialect import dialect
from mosaic.layouts.emit.interpret import interpret
from tests.layouts.chain import Chain
from tests.layouts.emit.cpu import Runnable, run_on_cpu
from tests.layouts.pairs import PAIRS

HERE: Final = Path(__file__).parents[3]

# CUDA's driver with one processor, on which kernels do nothing in a millisecond.
DRIVER: Final = """
#include <cstdint>
#include <cstdlib>
#include <cstring>
extern "C" {
int cuInit(unsigned) { return 0; }
int cuDeviceGet(int *device, int) { *device = 0; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int) { *context = context; return 0; }
int cuCtxSetCurrent(void *) { return 0; }
int cuCtxSynchronize() { return 0; }
int cuGetErrorString(int, const char **text) { *text = "out of luck"; return 0; }
int cuDeviceGetName(char *name, int, int) { std::strcpy(name, "a device of nothing"); return 0; }
int cuDriverGetVersion(int *version) { *version = 13000; return 0; }
int cuDeviceGetAttribute(int *value, int which, int) { *value = which == 16 ? 1 : which == 13 ? 1000000 : -1; return *value < 0; }
int cuEventCreate(void **event, unsigned) { *event = event; return 0; }
int cuEventRecord(void *, void *) { return 0; }
int cuEventSynchronize(void *) { return 0; }
int cuEventElapsedTime(float *milliseconds, void *, void *) { *milliseconds = 1; return 0; }
int cuModuleLoadData(void **module, const void *data) { *module = module; return std::memcmp(data, "\\x7f" "ELF", 4) ? 200 : 0; }
int cuModuleGetFunction(void **function, void *, const char *) { *function = function; return 0; }
int cuMemAlloc_v2(uint64_t *address, size_t size) { *address = reinterpret_cast<uint64_t>(std::malloc(size)); return 0; }
int cuMemFree_v2(uint64_t address) { std::free(reinterpret_cast<void *>(address)); return 0; }
int cuMemsetD8_v2(uint64_t at, unsigned char value, size_t size) { std::memset(reinterpret_cast<void *>(at), value, size); return 0; }
int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size) { std::memcpy(reinterpret_cast<void *>(to), from, size); return 0; }
int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size) { std::memcpy(to, reinterpret_cast<void *>(from), size); return 0; }
int cuLaunchKernel(void *, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned, unsigned, void *,
                   void **arguments, void **) {
  return blocks == 0 || threads % 32 || arguments[0] == nullptr;
}
}
"""

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not here")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.cpp").write_text(DRIVER, encoding="utf-8")
    subprocess.run(["g++", "-shared", "-fPIC", "-o", "libdriver.so", "driver.cpp"], cwd=folder, check=True)
    return str(folder / "libdriver.so")


def test_there_are_enough_cases_of_every_class() -> None:
    kinds = [bench(case, "sm_90a").kind for case in cases()]
    assert len(kinds) >= 12
    assert {kind: kinds.count(kind) >= 2 for kind in ("identity", "permute", "shuffle", "shared")} == dict.fromkeys(
        ("identity", "permute", "shuffle", "shared"), True
    )


@pytest.mark.parametrize("index", range(len(cases())))
def test_every_way_is_right(index: int) -> None:
    made = bench(cases()[index], "sm_90a")
    for variant in made.variants:
        outcome = interpret(variant.function.program, made.source.elements, dialect("sm_90a").banks)
        for register, row in enumerate(made.target.elements):
            assert list(row) == outcome.target[register], (variant.name, register)
        if variant.name == "swizzled":
            assert outcome.conflicts == 0


def test_the_text_of_every_way_is_right(tmp_path: Path) -> None:
    made = bench(cases()[10], "sm_90a")
    dtypes = made.case.source_dtype, made.case.target_dtype
    runnables = [Runnable(variant.function, made.source, made.target, *dtypes) for variant in made.variants]
    assert set(run_on_cpu(runnables, tmp_path).values()) == {0}


@needs_nvcc
def test_the_whole_run_against_a_driver_of_nothing(
    driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = [cases()[at] for at in (3, 6, 13)]
    monkeypatch.setattr(conversions, "cases", lambda: chosen)
    out = tmp_path / "record.json"
    # Kernels that do nothing leave zeros, which is wrong, and found to be.
    assert conversions.main(["--library", driver, "--out", str(out)]) == 1
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["device"] == "a device of nothing"
    assert [case["kind"] for case in record["cases"]] == ["permute", "shuffle", "shared"]
    for case in record["cases"]:
        for way in case["ways"].values():
            assert way["wrong"] > 0
            assert len(way["samples"]["alone"]) == len(way["samples"]["full"]) == conversions.SAMPLES
            assert way["median"]["alone"] == pytest.approx(1e-3 / conversions.ITERATIONS)
    assert record["summary"]["all, alone, against naive"] == pytest.approx(1)
    assert record["bank_conflicts"] == "not asked for"
    assert "3 conversions compiled" in capsys.readouterr().out
    # As a packet: it says that nothing is right, and so no times.
    monkeypatch.setattr(layout_packets, "conversion_cases", lambda: chosen)
    monkeypatch.setattr(layout_packets, "git", lambda *_: "\n".join(map("\n".join, layout_packets.SOURCES.values())).encode())
    record["bank_conflicts"] = {"12 emitted": dict.fromkeys(conversions.COUNTERS, 0.0)}
    run = layout_packets.Run("conversions", record, "0" * 40, {}, "2026-11-21T12:00:00.000000Z")
    name, artifact = layout_packets.compact(run)
    packet = layout_packets.packet_of(run, artifact, name)
    assert packet.status == "fail"
    assert len(packet.candidate.cases) == 3


def test_packets_of_what_went_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_packets, "git", lambda *_: "\n".join(map("\n".join, layout_packets.SOURCES.values())).encode())
    chain = Chain("a", 64, 64, 32, 32, 128)
    common = {"name": chain.name, "chain": chain.to_dict(), "conversions": [{"kind": "shared"}]}
    sample = [{**common, "target": "sm_80", "class": "shared", "gpu": {"ratio": 0.25, "wrong": [], "compared": 1}}]
    pairs = [{"pair": PAIRS[0].name, "target": "sm_80", "class": "shared", "gpu": {"ratio": 0.5, "wrong": [], "compared": 1}}]
    corpus = [{**common, "target": target, "class": kind} for target, kind in (("sm_80", "shared"), ("gfx950", "product"))]
    found = {
        "device": "a device",
        "seed": 0,
        "asked": 1,
        "pairs": pairs,
        "sample": sample,
        "corpus": corpus,
        "environment": {"python": "3.11"},
    }
    found |= {"arch": "sm_90a", "instructions": {"shuffle": {"issue": 1.0, "latency": 24.0}}}
    for kind in ("layouts", "corpus", "instructions"):
        run = layout_packets.Run(kind, found, "0" * 40, {"nvcc": "13.0"}, "2026-11-21T12:00:00.000000Z")
        name, artifact = layout_packets.compact(run)
        packet = layout_packets.packet_of(run, artifact, name)
        assert packet.status == "pass"
        assert packet.environment.libraries == {"python": "3.11", "nvcc": "13.0"}
        assert packet == parse(seal(packet))
    refused = {**found, "corpus": [{**common, "target": "sm_80", "class": "refused", "error": "no layouts"}]}
    run = layout_packets.Run("corpus", refused, "0" * 40, {}, "2026-11-21T12:00:00.000000Z")
    name, artifact = layout_packets.compact(run)
    assert layout_packets.packet_of(run, artifact, name).status == "fail"


def test_the_readme_has_the_tables_of_the_packets(tmp_path: Path) -> None:
    text = (HERE / "README.md").read_text(encoding="utf-8")
    assert layout_tables.tables() in text
    # Written again, nothing changes.
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    assert layout_tables.main(["--readme", str(tmp_path / "README.md")]) == 0
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


def test_counters_are_given_to_the_ways_in_the_order_of_their_launches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ['"ID","Kernel Name","Metric Name","Metric Value"', "==PROF== something else"]
    for number in range(6):
        for at, name in enumerate(conversions.COUNTERS):
            lines.append(f'"{number}","check","{name}","{1000 * at + number:,}"')
    (tmp_path / "ncu").write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n", encoding="utf-8")
    (tmp_path / "ncu").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = conversions.counters(tmp_path, [12, 14])
    assert isinstance(found, dict)
    assert list(found) == ["12 emitted", "12 padded", "12 naive", "14 emitted", "14 padded", "14 naive"]
    assert found["14 padded"] == {conversions.COUNTERS[0]: 4.0, conversions.COUNTERS[1]: 1004.0}


@needs_nvcc
def test_chosen_conversions_are_checked_once(driver: str, tmp_path: Path) -> None:
    made = bench(cases()[15], "sm_90a")
    build({"15": made.text}, tmp_path, "sm_90a")
    assert conversions.main(["--library", driver, "--cubins", str(tmp_path), "--only", "15"]) == 1


@needs_nvcc
def test_instructions_against_a_driver_of_nothing(driver: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        instructions, "PROBES", tuple(probe for probe in instructions.PROBES if probe.name[:5] in ("store", "load4", "barri"))
    )
    costs = tmp_path / "costs.json"
    costs.write_text(json.dumps({"schema": 1, "targets": {"sm_80": {}}}), encoding="utf-8")
    monkeypatch.setattr(instructions, "COSTS", costs)
    monkeypatch.setattr(instructions, "SAMPLES", 1)
    assert instructions.main(["--library", driver, "--update"]) == 0
    found = json.loads(costs.read_text(encoding="utf-8"))["targets"]
    assert found["sm_80"] == {}
    assert found["sm_90a"]["label"] == "measured"
    assert set(found["sm_90a"]["instructions"]) == {"store4", "store8", "store16", "load4", "barrier"}


@needs_nvcc
def test_all_probes_compile(capsys: pytest.CaptureFixture[str]) -> None:
    assert instructions.main(["--build-only"]) == 0
    assert f"{len(instructions.PROBES)} probes compiled" in capsys.readouterr().out


def test_no_driver_is_said(tmp_path: Path) -> None:
    with pytest.raises(CudaError, match="no CUDA driver here"):
        Device(str(tmp_path / "libnone.so"))


def test_what_the_driver_refuses_is_said(driver: str, tmp_path: Path) -> None:
    device = Device(driver)
    (tmp_path / "bad.cubin").write_bytes(b"no machine code")
    with pytest.raises(CudaError, match=r"cuModuleLoadData: out of luck \(200\)"):
        device.load(tmp_path / "bad.cubin")
