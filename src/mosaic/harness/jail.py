"""The boundary around a candidate, drawn by its own process before it loads anything of the candidate. Only Python's own library.

    keeper   in the judge's namespaces; leaves for new ones, waits, kills what is left
    init     first process of the new pid namespace: all that the candidate starts ends with it
    worker   without privileges; returns from `enter` and goes on to load the candidate

What the kernel refuses is left out, and said in the list of boundaries: nothing is claimed that does not hold.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from mosaic.harness import system_calls as kernel

SCRATCH: Final = "/scratch"
"""Where a candidate may write: in memory, emptied with its process."""
CANDIDATE: Final = "/candidate"
"""Its own files, read only."""

DEVICES: Final = ("null", "zero", "full", "random", "urandom")


@dataclass(frozen=True)
class Plan:
    """What a sandbox is to hold. Paths are the judge's; bytes, seconds.

    root: an empty folder. visible: files and folders that are seen at their own paths, read only. links: (path, what it points to).
    candidate: the folder that becomes /candidate. devices: files of /dev. user: who the worker becomes if it was root, else None.
    """

    root: str
    visible: tuple[str, ...]
    links: tuple[tuple[str, str], ...]
    candidate: str
    devices: tuple[str, ...]
    user: int | None
    memory: int
    processes: int
    file_bytes: int
    cpu_seconds: int
    limit_memory: bool = True
    boundaries: tuple[str, ...] = field(default=())

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def plan_of(text: str) -> Plan:
    """The plan of what `to_json` wrote."""
    document: dict[str, Any] = json.loads(text)
    for name in ("visible", "devices", "boundaries"):
        document[name] = tuple(document[name])
    document["links"] = tuple((path, target) for path, target in document["links"])
    return Plan(**document)


class Status:
    """What the keeper and init tell the judge: lines of JSON."""

    def __init__(self, fd: int) -> None:
        self.fd: Final = fd

    def say(self, **message: Any) -> None:
        with contextlib.suppress(OSError):
            os.write(self.fd, json.dumps(message).encode() + b"\n")


def enter(plan: Plan, status: Status) -> None:
    """Go into the sandbox. Only the worker returns; keeper and init end by themselves when it has.

    The process must have one thread. The judge reads the boundaries that hold, and how the worker ended, from `status`.
    """
    held: list[str] = []
    kernel.die_with_parent()
    kernel.adopt_orphans()
    namespaces = _leave(held)
    child = os.fork()
    if child:
        _keep(child, status)
    try:
        kernel.die_with_parent()
        scratch = _furnish(plan, held) if namespaces else _without_mounts(plan, held)
        _limit(plan, held)
        _become_nobody(plan, held)
        worker = os.fork()
        if worker:
            _wait(worker, status)
        kernel.die_with_parent()  # a change of user has cleared it
        _attempt(held, "it gains no privileges, and holds no capabilities", kernel.gain_nothing, kernel.drop_capabilities)
        if not namespaces:
            _attempt(held, "Landlock lets it write below its scratch folder only", lambda: kernel.write_only_below([scratch, "/dev"]))
        _attempt(
            held,
            "seccomp refuses it ptrace, other processes' memory, mounts, namespaces, and sockets beyond the machine",
            kernel.filter_system_calls,
        )
        kernel.show_memory()
        status.say(boundaries=held, scratch=scratch)
    except OSError as error:
        status.say(failed=f"the sandbox could not be made: {error}")
        os._exit(70)
    os.close(status.fd)
    _settle(scratch)


def _attempt(held: list[str], boundary: str, *steps: Callable[[], None]) -> bool:
    """Take the steps, and note the boundary if all could be taken."""
    try:
        for step in steps:
            step()
    except OSError:
        return False
    held.append(boundary)
    return True


def _leave(held: list[str]) -> bool:
    """New namespaces of all kinds; whether there are such of mounts and pids."""
    own = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    user, group = os.getuid(), os.getgid()

    def as_someone() -> None:
        kernel.unshare(kernel.CLONE_NEWUSER | own)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")

    said = "own namespaces of processes (all end with it), mounts, network (there is none), IPC and host name"
    return _attempt(held, said, lambda: kernel.unshare(own)) or _attempt(held, f"{said}, in a user namespace", as_someone)


# The file system


def _furnish(plan: Plan, held: list[str]) -> str:
    """A root that holds what the plan says and no more."""
    kernel.mount("", "/", "", kernel.MS_REC | kernel.MS_PRIVATE)
    root = plan.root
    kernel.mount("tmpfs", root, "tmpfs", kernel.MS_NOSUID, "size=16m,mode=755")
    for folder in (SCRATCH, "/dev/shm"):
        os.makedirs(root + folder)
        kernel.mount(
            "tmpfs", root + folder, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, f"size={plan.file_bytes},nr_inodes=65536,mode=1777"
        )
    os.symlink(SCRATCH, root + "/tmp")
    for path in plan.visible:
        _bind(path, root + _behind_tmp(path))
    for path, target in plan.links:
        _parent(root + _behind_tmp(path))
        os.symlink(target, root + _behind_tmp(path))
    _bind(plan.candidate, root + CANDIDATE)
    for name in (*DEVICES, *plan.devices):
        if os.path.exists(f"/dev/{name}"):
            _bind(f"/dev/{name}", f"{root}/dev/{name}", read_only=False)
    os.makedirs(root + "/proc")
    try:
        kernel.mount("proc", root + "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV)
        held.append("it sees no processes but its own")
    except OSError:  # a container may have hidden parts of /proc, and the kernel then gives no whole one
        _bind("/proc", root + "/proc")
    kernel.mount("", root, "", kernel.MS_BIND | kernel.MS_REMOUNT | kernel.MS_RDONLY | kernel.MS_NOSUID)
    kernel.pivot_root(root)
    held.append(f"a root of its own: system libraries, Python's folders and its own files, read only; {SCRATCH} and /dev/shm in memory, "
                f"{plan.file_bytes} B each; no home, no task, no ledger")  # fmt: skip
    return SCRATCH


def _behind_tmp(path: str) -> str:
    """Where a path stands, as /tmp is a link to the scratch folder: libraries may be installed below it."""
    return SCRATCH + path.removeprefix("/tmp") if path.startswith("/tmp/") else path


def _parent(path: str) -> None:
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)


def _bind(source: str, target: str, *, read_only: bool = True) -> None:
    if os.path.isdir(source):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        _parent(target)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(target, os.O_CREAT | os.O_EXCL, 0o644))
    kernel.mount(source, target, "", kernel.MS_BIND | kernel.MS_REC)
    if read_only:
        kernel.make_read_only(target)


def _without_mounts(plan: Plan, held: list[str]) -> str:
    """Where the kernel gives no namespaces: a scratch folder in the run's folder."""
    scratch = plan.candidate + ".scratch"
    os.makedirs(scratch, mode=0o777)
    os.chmod(scratch, 0o777)
    os.environ["MOSAIC_CANDIDATE"] = plan.candidate
    held.append("NO namespaces: the kernel refuses them here, so the file system can be read, and what it starts is found by its parents")
    return scratch


# Limits and privileges


def _limit(plan: Plan, held: list[str]) -> None:
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: plan.cpu_seconds,
        resource.RLIMIT_FSIZE: plan.file_bytes,
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_NPROC: plan.processes,
    }
    if plan.limit_memory:
        limits[resource.RLIMIT_DATA] = plan.memory
    for kind, wanted in limits.items():
        _, hard = resource.getrlimit(kind)
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(kind, (most, most))
    memory = f"{plan.memory} B of memory, " if plan.limit_memory else ""
    held.append(f"limits: {memory}{plan.processes} processes and threads, {plan.cpu_seconds} s of processor, files of {plan.file_bytes} B")


def _become_nobody(plan: Plan, held: list[str]) -> None:
    if plan.user is None or os.getuid() != 0:
        return
    user = plan.user
    with contextlib.suppress(OSError):
        os.setgroups([])
    # In a user namespace of its own there is no other user: it stays root there, and nobody outside.
    _attempt(held, "a user of its own, who owns nothing", lambda: os.setresgid(user, user, user), lambda: os.setresuid(user, user, user))


def _settle(scratch: str) -> None:
    """The worker's surroundings: folder, temporary files, caches, a home that is empty."""
    os.chdir(scratch)
    os.umask(0o077)
    caches = (
        "XDG_CACHE_HOME",
        "TRITON_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TILELANG_CACHE_DIR",
        "CUDA_CACHE_PATH",
        "TORCH_EXTENSIONS_DIR",
    )
    for name in caches:
        os.environ[name] = f"{scratch}/cache/{name.lower()}"
        os.makedirs(os.environ[name], exist_ok=True)
    for name in ("HOME", "TMPDIR"):
        os.environ[name] = scratch


# Keeper and init


def _keep(child: int, status: Status) -> None:
    """Wait for init, and then for all that was left behind. Never returns."""
    status.say(keeper=os.getpid(), init=child)
    _let_go_of_all_but(status.fd)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    _end_orphans()
    os._exit(0)


def _wait(worker: int, status: Status) -> None:
    """As init: collect the dead until the worker is among them. Never returns."""
    kernel.hide_memory()
    _let_go_of_all_but(status.fd)
    while True:
        try:
            pid, code = os.wait()
        except ChildProcessError:
            break
        if pid == worker:
            status.say(**({"signal": os.WTERMSIG(code)} if os.WIFSIGNALED(code) else {"exit": os.WEXITSTATUS(code)}))
            break
    _end_orphans()
    os._exit(0)


def _let_go_of_all_but(fd: int) -> None:
    os.closerange(0, fd)
    os.closerange(fd + 1, 4096)


def _end_orphans() -> None:
    """Kill all that is left below this process, however often it forked: as their parents end, they become its own children."""
    me = os.getpid()
    for _ in range(1000):
        children = [int(pid) for pid in _processes() if _parent_of(pid) == me]
        if not children:
            return
        for pid in children:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in children:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)


def _processes() -> list[str]:
    with contextlib.suppress(OSError):
        return [name for name in os.listdir("/proc") if name.isdigit()]
    return []


def _parent_of(pid: str) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None
