"""What a sandbox shows of this machine: system libraries, Python, compilers, devices; and the environment variables that pass."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import shutil
import site
import sys
import sysconfig
from pathlib import Path
from typing import Final

from mosaic.harness.jail import Plan

PASSED: Final = (
    "PATH", "LD_LIBRARY_PATH", "LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "MKL_NUM_THREADS", "TZ",
)  # fmt: skip
"""Environment variables that a candidate's process gets from the judge's. No other passes."""

_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/lib32", "/bin", "/sbin")
_SETTINGS: Final = (
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/OpenCL",
    "/etc/vulkan",
)
_LIBRARIES: Final = ("torch", "triton", "tilelang", "numpy")
_NEVER: Final = ("/", "/tmp", "/var/tmp", "/var", "/run", "/dev", "/proc", "/etc", "/home", "/root")
"""Never shown as a whole, whatever a variable says: there lie other people's files."""


def environment() -> dict[str, str]:
    """The variables of a candidate's process, but for its scratch folder's."""
    made = {name: os.environ[name] for name in PASSED if name in os.environ}
    made.setdefault("PATH", "/usr/local/bin:/usr/bin:/bin")
    # Programs are timed in turn: the idle threads of one must not keep the processor from the next. And libraries that ask for a GPU
    # while they are imported must not open it: a process that is forked afterwards could no longer use it.
    more = {"OMP_WAIT_POLICY": "PASSIVE", "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"}
    return {**made, **more}


@functools.cache
def search_path() -> tuple[str, ...]:
    """Folders of Python's own library and of installed packages, without what this process added to them."""
    own = [sysconfig.get_path("stdlib"), f"{sysconfig.get_path('stdlib')}/lib-dynload", *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        own.append(site.getusersitepackages())
    own += [entry for entry in sys.path if entry and any((Path(entry) / name).is_dir() for name in _LIBRARIES)]
    return tuple(dict.fromkeys(path for path in map(os.path.abspath, own) if os.path.isdir(path)))


@functools.cache
def _visible() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Paths to show, none below another; and links at the root (/lib -> usr/lib on most systems)."""
    links = [(path, os.readlink(path)) for path in _SYSTEM if os.path.islink(path)]
    wanted = [path for path in _SYSTEM if os.path.isdir(path) and not os.path.islink(path)]
    wanted += [path for path in _SETTINGS if os.path.exists(path)]
    wanted += [
        os.path.abspath(path) for path in (sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable)), *search_path())
    ]
    wanted += [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(":") if os.path.isdir(folder)]
    for tool in ("nvcc", "gcc", "hipcc"):
        if found := shutil.which(tool):
            wanted += [os.path.dirname(os.path.abspath(found)), str(Path(found).resolve().parents[1])]
    real = list(dict.fromkeys(path for one in wanted for path in (one, os.path.realpath(one)) if path not in _NEVER))
    kept = [path for path in real if not any(path != other and path.startswith(other + "/") for other in real)]
    return tuple(kept), tuple(links)


def plan(device: str) -> Plan:
    """What a candidate sees on a device. What depends on the run is for the caller to put in."""
    visible, links = _visible()
    devices: list[str] = []
    if device.startswith("cuda"):
        with contextlib.suppress(OSError):
            devices = [name for name in os.listdir("/dev") if name.startswith(("nvidia", "kfd", "dri"))]
        visible = (*visible, "/sys")
    elif os.path.isdir("/sys/devices/system"):
        visible = (*visible, "/sys/devices/system")
    user = 50_000 + secrets.randbelow(10_000) if os.getuid() == 0 else None
    return Plan(
        root="", visible=visible, links=links, candidate="", devices=tuple(devices), user=user, memory=0, processes=0,
        file_bytes=0, cpu_seconds=0, limit_memory=not device.startswith("cuda"),
    )  # fmt: skip


def descendants(process: int) -> int:
    """How many processes and threads are below a process, itself counted."""
    parents: dict[int, int] = {}
    tasks: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                fields = Path(f"/proc/{name}/stat").read_text().rpartition(")")[2].split()
                parents[int(name)], tasks[int(name)] = int(fields[1]), int(fields[17])
    count, level = 0, [process]
    while level:
        count += sum(tasks.get(pid, 0) for pid in level)
        below = set(level)
        level = [pid for pid, parent in parents.items() if parent in below and pid not in below]
    return count
