from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mosaic.harness import system_calls as kernel


def in_a_child(steps: Callable[[], bool]) -> bool:
    """Whether the steps, taken in a process of their own, came out as they should. They are skipped where the kernel refuses them."""
    child = os.fork()
    if child == 0:
        try:
            code = 0 if steps() else 1
        except OSError:
            code = 2
        except BaseException:
            code = 3
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 2:
        pytest.skip("this kernel refuses it")
    return code == 0


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return True
    return False


def test_the_filter_refuses_sockets_but_the_machines_own() -> None:
    def steps() -> bool:
        kernel.gain_nothing()
        kernel.filter_system_calls()
        socket.socketpair()
        inet = refused(lambda: socket.socket(socket.AF_INET)) and refused(lambda: socket.socket(socket.AF_INET6))
        return inet and refused(lambda: kernel.unshare(kernel.CLONE_NEWUSER)) and refused(lambda: kernel.mount("none", "/tmp", "tmpfs"))

    assert in_a_child(steps)


def test_the_filter_lets_threads_and_programs_start() -> None:
    def steps() -> bool:
        import threading

        kernel.gain_nothing()
        kernel.filter_system_calls()
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-S", "-c", "pass"]) == 0

    assert in_a_child(steps)


def test_ptrace_is_refused() -> None:
    def steps() -> bool:
        kernel.gain_nothing()
        kernel.filter_system_calls()
        return bool(ctypes.CDLL(None).ptrace(0, 0, 0, 0) == -1)

    assert in_a_child(steps)


def test_landlock_keeps_writing_to_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()

    def steps() -> bool:
        kernel.gain_nothing()
        kernel.write_only_below([str(tmp_path / "in")])
        (tmp_path / "in" / "x").write_text("x")
        return refused(lambda: (tmp_path / "out").write_text("x"))

    assert in_a_child(steps)


def test_capabilities_are_dropped_for_good() -> None:
    def steps() -> bool:
        kernel.gain_nothing()
        kernel.drop_capabilities()
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
        return int(line.split()[1], 16) == 0

    assert in_a_child(steps)


def test_a_namespace_has_no_network() -> None:
    def steps() -> bool:
        kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNET)
        return [name for _, name in socket.if_nameindex() if name != "lo"] == []

    assert in_a_child(steps)


def test_memory_can_be_hidden_and_shown() -> None:
    def steps() -> bool:
        kernel.hide_memory()
        hidden = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
        kernel.show_memory()
        return (hidden, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)) == (0, 1)

    assert in_a_child(steps)


def test_what_the_kernel_refuses_is_an_error_with_its_name() -> None:
    with pytest.raises(OSError, match="mount /nowhere"):
        kernel.mount("none", "/nowhere", "tmpfs")


def test_a_process_dies_with_its_parent_and_adopts_orphans() -> None:
    def steps() -> bool:
        kernel.die_with_parent()
        kernel.adopt_orphans()
        middle = os.fork()
        if middle == 0:
            if os.fork() == 0:
                os._exit(5)
            os._exit(0)
        codes = sorted(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(2))
        return codes == [0, 5]

    assert in_a_child(steps)
