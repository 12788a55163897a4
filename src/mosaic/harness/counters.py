"""Runtime counters of a program's kernels, by Nsight Compute around it in a process of its own.

A small set, chosen for what it tells: how busy memory and the matrix units were, and what shared memory lost to conflicts. ncu runs each
kernel several times, with clocks of its own: its times are no samples.
"""

from __future__ import annotations

import csv
import io
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from mosaic.harness.profile import Profile

METRICS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "gpu__time_duration.sum": "time",
        "dram__bytes_read.sum": "dram_bytes_read",
        "dram__bytes_write.sum": "dram_bytes_written",
        "dram__throughput.avg.pct_of_peak_sustained_elapsed": "dram_percent_of_peak",
        "lts__t_sector_hit_rate.pct": "l2_hit_percent",
        "sm__throughput.avg.pct_of_peak_sustained_elapsed": "sm_percent_of_peak",
        "sm__inst_executed_pipe_tensor.avg.pct_of_peak_sustained_active": "tensor_pipe_percent",
        "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum": "shared_load_conflicts",
        "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum": "shared_store_conflicts",
        "sm__warps_active.avg.pct_of_peak_sustained_active": "occupancy_percent",
        "smsp__inst_executed.sum": "instructions",
        "launch__registers_per_thread": "registers",
        "launch__shared_mem_per_block": "shared_bytes",
    }
)
"""Nsight Compute's names, and ours. One that a GPU does not have is left out of its rows."""

_UNITS: Final = {"nsecond": 1e-9, "ns": 1e-9, "usecond": 1e-6, "us": 1e-6, "msecond": 1e-3, "ms": 1e-3, "second": 1.0, "s": 1.0,
                 "byte": 1.0, "byte/block": 1.0, "Kbyte": 1e3, "Kbyte/block": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}  # fmt: skip
_REASONS: Final = (
    ("ERR_NVGPUCTRPERM", "this user may not read the GPU's counters (NVIDIA's ERR_NVGPUCTRPERM page says how an administrator allows it)"),
    ("No kernels were profiled", "the program launched no kernel that ncu saw"),
    ("driver resource", "another profiler holds the counters; end it first"),
    ("not supported", "Nsight Compute does not support this GPU or driver"),
    ("No such file", "the program could not be started"),
)


def find_ncu() -> Path | None:
    """Nsight Compute's command line: on the PATH, in $CUDA_HOME or where CUDA's installers put it; None if it isn't here."""
    on_path = shutil.which("ncu")
    homes = [Path(home, "bin", "ncu") for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda") if home]
    versions = sorted(Path("/opt/nvidia/nsight-compute").glob("*/ncu"), reverse=True)
    candidates = ([Path(on_path)] if on_path else []) + homes + versions
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def counters(
    command: Sequence[str],
    *,
    kernel: str | None = None,
    skip: int = 0,
    launches: int = 1,
    seconds: float = 120.0,
    folder: Path | None = None,
) -> Profile:
    """Counters of kernels that `command` launches: of those whose name holds `kernel`, `launches` of them after the first `skip`.

    Where there is no ncu, or it is refused or fails, the profile's `missing` says why; nothing is raised. Times are in seconds, sizes
    in bytes.
    """
    ncu = find_ncu()
    if ncu is None:
        return _none("there is no ncu on this machine; it comes with the CUDA toolkit, as Nsight Compute")
    options = ["--csv", "--page", "raw", "--metrics", ",".join(METRICS), "--launch-skip", str(skip), "--launch-count", str(launches)]
    options += ["--kernel-name", f"regex:{kernel}"] if kernel else []
    options += ["--target-processes", "all", "--print-units", "base"]
    try:
        done = subprocess.run(
            [str(ncu), *options, *command], capture_output=True, text=True, errors="replace", timeout=seconds, check=False, cwd=folder
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _none(f"ncu did not end within {seconds:g} s")
    except OSError as error:
        return _none(f"ncu cannot be started: {(error.strerror or str(error)).lower()}")
    rows = read_csv(done.stdout)
    if not rows:
        return _none(_reason(done.stdout + done.stderr))
    return Profile("runtime", f"ncu, {' '.join(options)}"[:500], tuple(rows))


def read_csv(text: str) -> list[dict[str, Any]]:
    """A row for each launch, from what ncu prints with `--csv --page raw` among whatever the program printed."""
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if line.startswith('"ID"')), None)
    if start is None:
        return []
    table = list(csv.reader(io.StringIO("\n".join(line for line in lines[start:] if line.startswith('"')))))
    header, units, found = table[0], table[1] if len(table) > 1 else [], []
    for cells in table[2:]:
        if len(cells) != len(header):
            continue
        fields = dict(zip(header, zip(cells, units, strict=False), strict=False))
        row: dict[str, Any] = {"kernel": fields["Kernel Name"][0][:300]} if "Kernel Name" in fields else {}
        for metric, name in METRICS.items():
            value = _number(*fields.get(metric, ("", "")))
            if value is not None:
                row[name] = value
        found.append(row)
    return found


def _number(cell: str, unit: str) -> float | None:
    try:
        return float(cell.replace(",", "")) * _UNITS.get(unit, 1.0)
    except ValueError:
        return None


def _reason(output: str) -> str:
    told = next((why for mark, why in _REASONS if mark in output), None)
    if told is not None:
        return told
    lines = [line.strip() for line in output.splitlines() if line.startswith("==ERROR==")]
    return f"ncu told nothing: {lines[0].removeprefix('==ERROR==').strip()[:200]}" if lines else "ncu printed no counters"


def _none(why: str) -> Profile:
    return Profile("runtime", "ncu", (), why)
