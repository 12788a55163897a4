"""Linux system calls that Python has no functions for: namespaces, mounts, capabilities, Landlock, seccomp. Only Python's own library.

Each function raises OSError if the kernel refuses.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Any, Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

_MACHINE: Final = platform.machine()
_X86: Final = _MACHINE == "x86_64"
# Numbers of the system calls: on x86-64, and those of the generic table that other machines (aarch64, riscv64) use.
_NUMBERS: Final = {
    "pivot_root": (155, 41), "mount_setattr": (442, 442), "capset": (126, 91), "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445), "landlock_restrict_self": (446, 446), "ptrace": (101, 117), "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271), "mount": (165, 40), "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "kexec_load": (246, 104), "init_module": (175, 105), "finit_module": (313, 273),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430), "io_uring_setup": (425, 425),
    "pidfd_getfd": (438, 438), "socket": (41, 198), "clone": (56, 220), "clone3": (435, 435),
}  # fmt: skip

_libc: Any = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 36, 38


def number(name: str) -> int:
    """The number of a system call on this machine."""
    return _NUMBERS[name][0 if _X86 else 1]


def _check(result: int, what: str) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")
    return result


def _call(name: str, *arguments: Any) -> int:
    return _check(int(_libc.syscall(ctypes.c_long(number(name)), *arguments)), name)


def unshare(flags: int) -> None:
    """Leave the namespaces named by the flags for new ones (a new pid namespace begins with the next child)."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount, as mount(2)."""
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), data.encode() or None),
        f"mount {target}",
    )


def make_read_only(target: str) -> None:
    """A mount and all below it: nothing can be written, no device opened as such, no set-uid program gains anything."""
    attributes = struct.pack("QQQQ", 0x1 | 0x2, 0, 0, 0)  # MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID
    try:
        _call("mount_setattr", -100, target.encode(), 0x8000, attributes, ctypes.c_size_t(len(attributes)))  # AT_RECURSIVE
    except OSError:  # before Linux 5.12: that mount alone
        mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID)


def pivot_root(root: str) -> None:
    """Make the mount `root` the root of this mount namespace, and let go of the old one."""
    os.chdir(root)
    _call("pivot_root", b".", b".")
    _check(_libc.umount2(b".", 2), "umount2")  # MNT_DETACH
    os.chdir("/")


def die_with_parent() -> None:
    """Be killed when the parent ends."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def adopt_orphans() -> None:
    """Become the parent of those below whose parent ends."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def hide_memory() -> None:
    """No other process of the same user may look at this one's memory."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def show_memory() -> None:
    """Undo `hide_memory`, which a change of user does too: a process reads its own folder in /proc."""
    _check(_libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0), "prctl")


def gain_nothing() -> None:
    """No program started from here on gains privileges."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def drop_capabilities() -> None:
    """Give up all capabilities, for good."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    _call("capset", header, struct.pack("IIIIII", 0, 0, 0, 0, 0, 0))


# seccomp: a program for the kernel's packet filter that looks at each system call

REFUSED: Final = (
    "ptrace", "process_vm_readv", "process_vm_writev", "mount", "umount2", "pivot_root", "unshare", "setns", "bpf", "perf_event_open",
    "userfaultfd", "keyctl", "add_key", "request_key", "kexec_load", "init_module", "finit_module", "open_by_handle_at", "open_tree",
    "move_mount", "fsopen", "mount_setattr", "io_uring_setup", "pidfd_getfd",
)  # fmt: skip
"""System calls that a sandboxed process is refused (EPERM)."""

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
_LOAD, _EQUAL, _AT_LEAST, _HAS_BITS, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000


def _refuse(error: int) -> int:
    return 0x00050000 | error


def filter_system_calls() -> None:
    """Refuse `REFUSED`, sockets but those of the machine itself, and new user namespaces, to this process and all that it starts."""
    if _MACHINE not in _ARCHITECTURES:
        raise OSError(38, f"no filter for {_MACHINE}")
    steps: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 1, 0, _ARCHITECTURES[_MACHINE]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    if _X86:  # the x32 interface has other numbers for the same calls
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (_RETURN, 0, 0, _refuse(1))]
    for name in REFUSED:
        steps += [(_EQUAL, 0, 1, number(name)), (_RETURN, 0, 0, _refuse(1))]
    steps += [(_EQUAL, 0, 1, number("clone3")), (_RETURN, 0, 0, _refuse(38))]  # its flags lie in memory; libraries fall back to clone
    steps += [
        (_EQUAL, 0, 3, number("clone")),
        (_LOAD, 0, 0, 16),
        (_HAS_BITS, 0, 1, CLONE_NEWUSER),
        (_RETURN, 0, 0, _refuse(1)),
        (_LOAD, 0, 0, 0),
    ]
    # AF_UNIX and AF_NETLINK alone
    steps += [(_EQUAL, 0, 4, number("socket")), (_LOAD, 0, 0, 16), (_EQUAL, 2, 0, 1), (_EQUAL, 1, 0, 16), (_RETURN, 0, 0, _refuse(97))]
    steps += [(_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code)))
    _check(_libc.prctl(_PR_SET_SECCOMP, 2, program, 0, 0), "prctl")


# Landlock: where mounts cannot be made, the file system is at least written nowhere but here

_WRITING: Final = (1 << 1) | sum(1 << bit for bit in range(4, 13))  # write files, remove, make: as of the first version


def write_only_below(folders: list[str]) -> None:
    """Refuse this process, and all that it starts, to write or make files but below these folders."""
    ruleset = _call("landlock_create_ruleset", struct.pack("Q", _WRITING), ctypes.c_size_t(8), 0)
    try:
        for folder in folders:
            fd = os.open(folder, os.O_PATH | os.O_CLOEXEC)
            try:
                _call("landlock_add_rule", ruleset, 1, struct.pack("=Qi", _WRITING, fd), 0)
            finally:
                os.close(fd)
        _call("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
