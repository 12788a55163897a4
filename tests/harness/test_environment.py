"""The environment that is read off this machine: what a packet takes, and nothing that is not known."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import pytest
import torch

from mosaic.evidence.categories import Environment
from mosaic.harness import environment
from mosaic.version import __version__

SMI = "580.65.06, 96.00.9F.00.01, 1654123000123, GPU-0f3a-77, Enabled, 143771, 1980, 3201, 41, 121.53, Enabled, 0x0000000000000000"


def test_the_processors_environment_is_a_packets() -> None:
    found = environment.read("cpu", replay=["mosaic", "replay", "x.json"], engine={"trials": 2})
    assert Environment.model_validate_json(found.model_dump_json(exclude_unset=True)) == found
    assert (found.device.kind, found.replay.command) == ("cpu", ("mosaic", "replay", "x.json"))
    assert found.engine == {"threads": torch.get_num_threads(), "trials": 2}
    assert found.libraries["mosaic"] == __version__
    assert found.libraries["python"] == platform.python_version()
    assert found.libraries["torch"].startswith(torch.__version__.partition("+")[0])
    assert "triton" not in found.libraries or found.libraries["triton"]


def test_the_processor_is_named_as_linux_names_it() -> None:
    described = environment.describe("cpu")
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").exists() else ""
    names = {line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")}
    if names:
        assert described.name in names
    assert described.count >= 1


def test_without_proc_python_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_lines", lambda _: [])
    described = environment.describe("cpu")
    assert described.name in (platform.processor(), platform.machine())
    assert (described.memory, described.firmware) == (None, None)
    assert environment.conditions("cpu") is None


def test_clocks_have_their_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_lines", lambda path: ["cpu MHz\t\t: 2000.0", "cpu MHz : 3000.0"] if "cpuinfo" in str(path) else [])
    found = environment.conditions("cpu")
    assert found is not None
    assert found.clocks is not None
    assert (found.clocks["core"].value, found.clocks["core"].interval) == (2.5e9, (2e9, 3e9))


def test_what_nvidia_smi_says() -> None:
    found = environment.parse_smi(SMI + "\n")
    assert (found["driver_version"], found["clocks.sm"], found["ecc.mode.current"]) == ("580.65.06", "1980", "Enabled")
    assert "serial" not in environment.parse_smi(SMI.replace("1654123000123", "[N/A]"))
    assert environment.parse_smi("") == {}
    assert environment.parse_smi("No devices were found") == {}


class _Properties:
    name = "NVIDIA  H200"
    total_memory = 150_000_000_000
    uuid = "0f3a-77"


def test_a_gpu_is_described_without_its_serial(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(*command: str) -> str:
        asked.append(command)
        return SMI

    monkeypatch.setattr(environment, "_answer", answer)
    monkeypatch.setattr("shutil.which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: _Properties)
    described = environment.describe("cuda:0")
    assert (described.kind, described.name, described.driver, described.ecc) == ("cuda", "NVIDIA H200", "580.65.06", True)
    assert described.serial is not None
    assert "1654123000123" not in described.model_dump_json()
    assert asked[0][:3] == ("nvidia-smi", "--id", "GPU-0f3a-77")
    now = environment.conditions("cuda:0")
    assert now is not None
    assert now.clocks is not None
    assert now.temperature is not None
    assert now.power is not None
    assert (now.clocks["sm"].value, now.temperature.value, now.power.value) == (1.98e9, 41.0, 121.53)


def test_the_revision_is_that_of_the_running_source() -> None:
    root = Path(__file__).parents[2]
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if (root / ".git").exists() else None
    if done is None or done.returncode:
        assert environment.revision() is None
    else:
        environment.revision.cache_clear()
        assert str(environment.revision()).removesuffix("+changes") == done.stdout.strip()


def test_tools_that_are_not_there_or_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    assert environment._answer("no-such-tool-anywhere") is None
    assert environment._answer("false") is None
    monkeypatch.setattr(environment, "_SECONDS", 0.1)
    assert environment._answer("sleep", "5") is None
