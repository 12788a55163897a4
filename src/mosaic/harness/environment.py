"""What a run ran on: the packet's environment, read off this machine.

    before = conditions("cuda:0")
    ...                                     the run
    environment = read("cuda:0", replay=["mosaic", "replay", "packet.json"], before=before, after=conditions("cuda:0"))

What cannot be found out is left out; nothing is guessed. A GPU's driver, clocks, temperature and ECC come from `nvidia-smi`.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import torch

from mosaic.evidence.canonical import digest
from mosaic.evidence.categories import Conditions, Device, Environment, Replay
from mosaic.evidence.record import Measured, measured
from mosaic.version import __version__

LIBRARIES: Final = ("torch", "tilelang", "triton", "numpy", "apache-tvm-ffi", "z3-solver")
"""What decides about a result beside Mosaic and Python, where it is installed."""

VARIABLES: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "PYTORCH_CUDA_ALLOC_CONF",
                    "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE")  # fmt: skip
"""Environment variables that matter to results or times."""

_SMI: Final = ("driver_version", "vbios_version", "serial", "uuid", "ecc.mode.current", "memory.total", "clocks.sm", "clocks.mem",
               "temperature.gpu", "power.draw", "persistence_mode", "clocks_throttle_reasons.active")  # fmt: skip
_SECONDS: Final = 10.0
"""How long a tool may take to answer."""


def read(
    device: str | torch.device = "cpu",
    *,
    replay: Sequence[str],
    before: Conditions | None = None,
    after: Conditions | None = None,
    engine: Mapping[str, Any] | None = None,
    libraries: Iterable[str] = (),
    **more: Any,
) -> Environment:
    """The environment of a run on `device` that `replay` (a command and its arguments) runs again.

    engine: configuration beside what is found here (threads, tf32). libraries: names of more packages whose versions matter.
    more: the record's other fields: tolerance, baseline, seed.
    """
    variables = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    return Environment(
        device=describe(device),
        system=system(),
        engine={**_engine(device), **(engine or {})},
        libraries=versions(libraries),
        before=before,
        after=after,
        replay=Replay(command=tuple(replay), revision=revision(), variables=variables or None),
        **more,
    )


def describe(device: str | torch.device = "cpu") -> Device:
    """The silicon: a CUDA or HIP device as PyTorch numbers them, or this machine's processor."""
    where = torch.device(device)
    return _gpu(where) if where.type == "cuda" else _processor()


def conditions(device: str | torch.device = "cpu") -> Conditions | None:
    """Clocks, temperature and power at this moment; None if this machine tells none of them."""
    where = torch.device(device)
    clocks: dict[str, Measured]
    temperature = power = None
    if where.type == "cuda":
        found = _smi(where)
        clocks = {
            name: measured(value * 1e6, "Hz", how="nvidia-smi")
            for name, key in (("sm", "clocks.sm"), ("memory", "clocks.mem"))
            if (value := _float(found.get(key))) is not None
        }
        if (celsius := _float(found.get("temperature.gpu"))) is not None:
            temperature = measured(celsius, "degC", how="nvidia-smi")
        if (watts := _float(found.get("power.draw"))) is not None:
            power = measured(watts, "W", how="nvidia-smi")
    else:
        clocks = _processor_clocks()
        temperature = _processor_temperature()
    if not clocks and temperature is None and power is None:
        return None
    return Conditions(clocks=dict(clocks) or None, temperature=temperature, power=power)


def versions(more: Iterable[str] = ()) -> dict[str, str]:
    """Versions of Mosaic, Python and the libraries that decide about a result, by name; what is not installed is left out."""
    found = {"mosaic": __version__, "python": platform.python_version()}
    for name in (*LIBRARIES, *more):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    if torch.version.cuda is not None:
        found["cuda"] = torch.version.cuda
    if torch.version.hip is not None:
        found["hip"] = torch.version.hip
    return found


def system() -> str:
    """Operating system, its kernel and the machine, as `Linux 6.8.0 x86_64`."""
    return " ".join(filter(None, (platform.system(), platform.release(), platform.machine())))


@functools.cache
def revision() -> str | None:
    """The commit of the source that is running, with `+changes` if its files are not those of the commit.

    None if it does not run from a git working tree that tracks it.
    """
    folder = Path(__file__).resolve().parents[1]
    if _answer("git", "-C", str(folder), "ls-files", "--error-unmatch", "version.py") is None:
        return None
    commit = _answer("git", "-C", str(folder), "rev-parse", "HEAD")
    changes = _answer("git", "-C", str(folder), "status", "--porcelain", "--", ".")
    return None if commit is None else commit + ("+changes" if changes else "")


def _engine(device: str | torch.device) -> dict[str, Any]:
    found: dict[str, Any] = {"threads": torch.get_num_threads()}
    if torch.device(device).type == "cuda":
        found["tf32"] = torch.backends.cuda.matmul.allow_tf32
        smi = _smi(torch.device(device))
        found |= {key: smi[key] for key in ("persistence_mode", "clocks_throttle_reasons.active") if key in smi}
    return found


# The processor


def _processor() -> Device:
    """/proc/cpuinfo has what Linux knows; a machine without it says what Python knows."""
    fields = _cpuinfo()
    name = next((value for key, value in fields if key in ("model name", "Model", "Hardware")), None)
    sockets = len({value for key, value in fields if key == "physical id"})
    memory = next((line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal:")), None)
    microcode = next((value for key, value in fields if key == "microcode"), None)
    return Device(
        kind="cpu",
        name=_name(name or platform.processor() or platform.machine() or "unknown processor"),
        count=max(1, sockets),
        memory=measured(float(memory) * 1024, "B", how="/proc/meminfo") if memory is not None else None,
        firmware=_name(f"microcode {microcode}") if microcode else None,
    )


def _cpuinfo() -> list[tuple[str, str]]:
    pairs = (line.partition(":")[::2] for line in _lines("/proc/cpuinfo") if ":" in line)
    return [(key.strip(), value.strip()) for key, value in pairs]


def _processor_clocks() -> dict[str, Measured]:
    megahertz = [float(value) for key, value in _cpuinfo() if key == "cpu MHz" and _float(value) is not None]
    if not megahertz:
        return {}
    spread = (min(megahertz) * 1e6, max(megahertz) * 1e6)
    mean = sum(megahertz) / len(megahertz) * 1e6
    return {"core": measured(mean, "Hz", interval=spread, how="/proc/cpuinfo: mean over the cores, slowest and fastest")}


def _processor_temperature() -> Measured | None:
    for zone in sorted(Path("/sys/class/thermal").glob("thermal_zone*")):
        if any("pkg" in line or "cpu" in line.lower() for line in _lines(zone / "type")):
            value = _float(next(iter(_lines(zone / "temp")), None))
            if value is not None:
                return measured(value / 1000, "degC", how=str(zone))
    return None


# GPUs


def _gpu(where: torch.device) -> Device:
    index = _index(where)
    properties: Any = torch.cuda.get_device_properties(index)
    found = _smi(where)
    kind: Literal["cuda", "hip"] = "hip" if _on_rocm() else "cuda"
    serial = next((found[key] for key in ("serial", "uuid") if found.get(key)), None) or str(getattr(properties, "uuid", "")) or None
    ecc = found.get("ecc.mode.current")
    return Device(
        kind=kind,
        name=_name(properties.name),
        count=1,
        # Tells this very device from others, and does not tell whose it is.
        serial=f"sha256:{digest(serial.encode())[:16]}" if serial is not None else None,
        memory=measured(float(properties.total_memory), "B", how="the driver, through PyTorch"),
        firmware=_name(found["vbios_version"]) if "vbios_version" in found else None,
        driver=_name(found["driver_version"]) if "driver_version" in found else None,
        ecc={"Enabled": True, "Disabled": False}.get(ecc) if ecc is not None else None,
    )


def _smi(where: torch.device) -> dict[str, str]:
    """What nvidia-smi says of a device, by query; without what it does not know. Empty if it isn't there."""
    if _on_rocm() or shutil.which("nvidia-smi") is None:
        return {}
    index = _index(where)
    uuid = str(getattr(torch.cuda.get_device_properties(index), "uuid", ""))
    # PyTorch numbers the visible devices, nvidia-smi all of them; the uuid is the same in both.
    which = ["--id", uuid if uuid.startswith("GPU-") else f"GPU-{uuid}"] if uuid else ["--id", str(index)]
    answer = _answer("nvidia-smi", *which, f"--query-gpu={','.join(_SMI)}", "--format=csv,noheader,nounits")
    return parse_smi(answer) if answer is not None else {}


def _index(where: torch.device) -> int:
    index: Any = where.index  # None for "cuda" alone, which its type does not say
    return int(torch.cuda.current_device() if index is None else index)


def _on_rocm() -> bool:
    version: Any = torch.version
    return version.hip is not None


def parse_smi(line: str) -> dict[str, str]:
    """One line of nvidia-smi's CSV for the queries that are asked here, by query; `[N/A]` and the like are left out."""
    cells = [cell.strip() for cell in line.splitlines()[0].split(",")] if line.strip() else []
    if len(cells) != len(_SMI):
        return {}
    return {key: cell for key, cell in zip(_SMI, cells, strict=True) if cell and not cell.startswith("[") and cell != "N/A"}


# Small things


def _answer(*command: str) -> str | None:
    """What a tool prints, without the last line end; None if it isn't there, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def _lines(path: str | Path) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _float(text: str | None) -> float | None:
    try:
        return float(text) if text is not None else None
    except ValueError:
        return None


def _name(text: str) -> str:
    """A packet's names are one line of at most 200 characters."""
    return " ".join(text.split())[:200] or "unknown"
