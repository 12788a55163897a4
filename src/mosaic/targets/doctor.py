"""What this machine can do, as data: what is here, what each thing is for, and the one command that adds what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from mosaic.errors import TargetError
from mosaic.targets import cuda, tools
from mosaic.targets.cache import Cache
from mosaic.targets.target import default_target, find_for_device


@dataclass(frozen=True)
class Finding:
    """One thing looked for. `detail` says what was found, a version or a place, or why it does not serve.

    `fix` is the one command that adds it, or a sentence where there is no command; None if nothing is missing.
    `required` things are needed for the CPU target, which everything can fall back to.
    """

    name: str
    present: bool
    detail: str
    purpose: str
    fix: str | None = None
    required: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """All findings, and the target that programs are lowered for by default."""

    findings: tuple[Finding, ...]
    default_target: str

    @property
    def healthy(self) -> bool:
        """Whether everything that the CPU target needs is here."""
        return all(finding.present for finding in self.findings if finding.required)


def diagnose(cache: Cache | None = None) -> Diagnosis:
    """Look at this machine. Never raises for what it finds; takes a fraction of a second."""
    store = cache or Cache()
    looks: tuple[Callable[[], list[Finding]], ...] = (_python, _gcc, _openmp, _cuda_tools, _gpus, lambda: _cache(store))
    return Diagnosis(tuple(finding for look in looks for finding in look()), default_target().name)


def _python() -> list[Finding]:
    findings = [Finding("Python", True, platform.python_version(), "runs Mosaic", required=True)]
    for package, purpose in (("torch", "references, and the tensors that programs run on"), ("tilelang", "reads and lowers kernels")):
        try:
            findings.append(Finding(package, True, importlib.metadata.version(package), purpose, required=True))
        except importlib.metadata.PackageNotFoundError:
            findings.append(Finding(package, False, "not installed", purpose, f"pip install {package}", required=True))
    return findings


def _gcc() -> list[Finding]:
    purpose = "compiles programs for the CPU, and preprocesses for nvcc"
    path = shutil.which("gcc")
    version = tools.version(Path(path)) if path else None
    if path and version:
        return [Finding("gcc", True, f"{version} ({path})", purpose, required=True)]
    return [Finding("gcc", False, f"{path} does not run" if path else "not on the PATH", purpose, _system("gcc"), required=True)]


def _openmp() -> list[Finding]:
    purpose = "runs a program's blocks on all cores of the CPU"
    path = shutil.which("gcc")
    works = False
    if path:
        with tempfile.TemporaryDirectory(prefix="mosaic-doctor-") as work:
            (Path(work) / "probe.c").write_text("#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n")
            try:
                works = tools.run([path, "-fopenmp", "-shared", "-fPIC", "probe.c", "-o", "probe.so"], Path(work)).returncode == 0
            except TargetError:
                works = False
    detail = f"{torch.get_num_threads()} threads" if works else "gcc cannot link it"
    return [Finding("OpenMP", works, detail, purpose, None if works else _system("libgomp1"), required=True)]


def _cuda_tools() -> list[Finding]:
    wanted = (
        ("nvcc", "makes binaries for NVIDIA GPUs, and tells their registers and spills", cuda.INSTALL_NVCC),
        ("nvdisasm", "reads the instructions that were really emitted", cuda.INSTALL_DISASSEMBLERS),
        ("cuobjdump", "reads what a binary from elsewhere holds", cuda.INSTALL_DISASSEMBLERS),
    )
    findings = []
    for name, purpose, fix in wanted:
        path = tools.find_cuda_tool(name)
        version = tools.version(path) if path else None
        if path and version:
            findings.append(Finding(name, True, f"{version} ({path})", purpose))
        else:
            findings.append(Finding(name, False, f"{path} does not run" if path else "not found", purpose, fix))
    return findings


def _gpus() -> list[Finding]:
    purpose = "runs programs that are lowered for it"
    if not torch.cuda.is_available():
        built_for = "CUDA" if torch.version.cuda else "ROCm" if torch.version.hip else "the CPU only"
        return [Finding("GPU", False, f"PyTorch (built for {built_for}) sees none", purpose, "none is needed: the CPU runs everything")]
    findings = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        target = find_for_device(properties)
        memory = f"{properties.total_memory / 2**30:.0f} GiB, {properties.multi_processor_count} processors"
        if target is None:
            detail, fix = f"{properties.name}: no target is made for it", "use the target 'cpu'"
        else:
            detail, fix = f"{properties.name}: target {target.name}, {memory}", None
        findings.append(Finding(f"GPU {index}", target is not None, detail, purpose, fix))
    return findings


def _cache(cache: Cache) -> list[Finding]:
    purpose = "keeps what was compiled"
    try:
        cache.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache.root):
            pass
    except OSError as error:
        detail = f"{cache.root} cannot be written: {(error.strerror or str(error)).lower()}"
        return [
            Finding("cache", False, detail, purpose, f"export MOSAIC_CACHE={os.path.join(tempfile.gettempdir(), 'mosaic')}", required=True)
        ]
    return [
        Finding("cache", True, f"{cache.root}, {cache.size() / 2**20:.1f} of at most {cache.limit / 2**20:.0f} MiB", purpose, required=True)
    ]


def _system(package: str) -> str:
    """How this system's package manager adds a package (names are Debian's, and mostly others' too)."""
    for manager, command in (("apt-get", "apt-get install -y"), ("dnf", "dnf install -y"), ("pacman", "pacman -S"), ("apk", "apk add")):
        if shutil.which(manager):
            return f"{'' if os.geteuid() == 0 else 'sudo '}{command} {package}"
    return f"install {package} with your system's package manager"
