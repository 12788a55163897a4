"""Finding the compilers and disassemblers of this machine, and asking them for their versions."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Final

from mosaic.errors import TargetError

# How long a tool may take over one program before it is taken for hung.
TIMEOUT_SECONDS: Final = 900


def find_cuda_tool(name: str) -> Path | None:
    """A tool of the CUDA toolkit: from $CUDA_HOME or $CUDA_PATH, the PATH, NVIDIA's Python packages, or /usr/local/cuda."""
    folders = [Path(home, "bin") for home in (os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH")) if home]
    on_path = shutil.which(name)
    candidates = [folder / name for folder in folders] + ([Path(on_path)] if on_path else [])
    candidates += [folder / name for folder in _package_folders()] + [Path("/usr/local/cuda/bin", name)]
    return next((path for path in candidates if path.is_file() and os.access(path, os.X_OK)), None)


def _package_folders() -> list[Path]:
    """The bin folders of packages such as nvidia-cuda-nvcc: site-packages/nvidia/cu13/bin, or nvidia/cuda_nvcc/bin (CUDA 12)."""
    try:
        spec = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return []
    roots = [Path(root) for root in spec.submodule_search_locations or ()] if spec else []
    return [folder for root in roots for folder in sorted(root.glob("*/bin"), reverse=True)]


def version(tool: Path) -> str | None:
    """The version a tool names with `--version`, as "13.0.88" or "12.2.0"; None if it does not run or says none."""
    try:
        return _version(str(tool), tool.stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=64)
def _version(tool: str, _modified: int) -> str | None:
    try:
        done = subprocess.run([tool, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    found = re.search(r"\bV(\d+(?:\.\d+)+)", done.stdout) or re.search(r"\b(\d+\.\d+(?:\.\d+)*)\s*$", done.stdout.partition("\n")[0])
    return found[1] if found else (done.stdout.strip().splitlines() or ["unknown"])[0]


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool in a folder. Raises TargetError if it cannot be started or does not end."""
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise TargetError(f"{Path(command[0]).name} did not end within {TIMEOUT_SECONDS} s; choose smaller tiles") from None
    except OSError as error:
        raise TargetError(f"{command[0]} cannot be run: {(error.strerror or str(error)).lower()}") from error
