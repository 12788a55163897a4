"""The sandbox, with candidates that try what it forbids. Each test starts a process of its own from one nursery."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mosaic
from mosaic.harness import surroundings
from mosaic.harness.sandbox import Broken, Limits, Session, open_session
from mosaic.harness.wire import Segment, lay_out

LIMITS = Limits(seconds=5, start_seconds=30, memory=1 << 30, processes=24, file_bytes=16 << 20, output_bytes=1 << 18)


def started(files: Mapping[str, str], limits: Limits = LIMITS) -> Session:
    """A session with a Python candidate; without PyTorch, so that it starts in a moment."""
    return open_session({name: text.encode() for name, text in files.items()}, limits=limits, device="cpu", libraries=())


def build(session: Session, language: str = "c", file: str = "a.c", **more: Any) -> dict[str, Any]:
    order = {
        "language": language, "entries": ["f"], "file": file, "attributes": {}, "symbols": ["n"], "device": "cpu", "build": {}, **more,
    }  # fmt: skip
    return session.ask({"kind": "build", "order": order})


C = "#include <stdint.h>\nvoid f(const float *x, float *y, int64_t n) { for (int64_t i = 0; i < n; i++) y[i] = 2 * x[i]; }\n"


def run(session: Session, count: int = 4) -> bytes:
    """Run f on 0, 1, 2, ...: the output's bytes."""
    (x, y), size = lay_out([("x", "float32", (count,)), ("y", "float32", (count,))])
    segment = Segment.make(size)
    segment.write(x, memoryview(bytearray(b"".join(float_bytes(i) for i in range(count)))))
    session.ask({"kind": "load", "how": "new", "count": 1, "stride": 0, "tensors": [x.document()]}, segment)
    session.ask({"kind": "run", "slot": 0, "outputs": [y.document()], "echo": [], "symbols": {"n": count}}, segment)
    return segment.read(y)


def float_bytes(value: float) -> bytes:
    import struct

    return struct.pack("f", value)


@pytest.fixture
def session() -> Iterator[Session]:
    with started({"a.c": C}) as made:
        yield made


def test_a_candidate_runs(session: Session) -> None:
    assert build(session)["compiler"]["name"] == "gcc"
    assert run(session) == b"".join(float_bytes(2.0 * i) for i in range(4))


def test_boundaries_are_said(session: Session) -> None:
    said = "; ".join(session.boundaries)
    for word in ("limits", "privileges", "namespaces"):
        assert word in said


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        ("*(volatile int *)0 = 0;", "crash", "SIGSEGV"),
        ("abort();", "crash", "SIGABRT"),
        ("_exit(0);", "cheat.forged_result", "as if all were well"),
        ("_exit(7);", "crash", "exit code 7"),
        ("for (;;) write(1, x, 4096);", "resource_limit", "printed more"),
        ("for (;;) pause();", "timeout", "did not answer"),
        ("for (;;) if (fork() < 0) pause();", "resource_limit", "processes"),
        ('write(3, "{}", 2); pause();', "cheat.forged_result", "came from elsewhere"),
        ("close(3); pause();", "crash", ""),
    ],
)
def test_what_goes_wrong_has_its_class(body: str, kind: str, says: str) -> None:
    source = "#include <stdint.h>\n#include <stdlib.h>\n#include <unistd.h>\n#include <sys/types.h>\n"
    limits = Limits(seconds=1.5, start_seconds=30, processes=24, output_bytes=1 << 18)
    with started({"a.c": f"{source}void f(const float *x, float *y, int64_t n) {{ {body} }}\n"}, limits) as session:
        build(session)
        with pytest.raises(Broken) as caught:
            run(session, 2048)
        assert caught.value.kind == kind or (kind == "crash" and caught.value.kind == "timeout" and "close" in body)
        assert says in caught.value.message


def test_source_that_does_not_compile_is_told_from_what_does_not_load() -> None:
    with started({"a.c": "void f( {"}) as session, pytest.raises(Broken) as caught:
        build(session)
    assert caught.value.kind == "compile_error"
    assert "error" in caught.value.message
    with started({"a.c": "void g(void) {}"}) as session, pytest.raises(Broken) as caught:
        build(session)
    assert caught.value.kind == "import_error"


PROBE = """import os, socket
seen = {}
def attempt(name, what):
    try:
        seen[name] = repr(what())[:60]
    except OSError as error:
        seen[name] = error.errno
attempt("read", lambda: open(PATH).read())
attempt("write", lambda: open("/usr/mosaic-test", "w"))
attempt("own", lambda: open("/candidate/x", "w"))
attempt("scratch", lambda: open("/scratch/x", "w").write("x"))
attempt("network", lambda: socket.create_connection(("127.0.0.1", PORT), 1))
attempt("home", lambda: os.listdir(HOME))
attempt("ptrace", lambda: os.kill(JUDGE, 0))
attempt("mount", lambda: os.listdir("/proc"))
raise SystemExit(repr((seen, sorted(os.environ), os.getuid())))
"""


def test_the_boundary_holds(tmp_path: Path) -> None:
    import socket

    secret = tmp_path / "secret"
    secret.write_text("reference outputs")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        head = f"PATH, PORT, HOME, JUDGE = {str(secret)!r}, {port}, {str(tmp_path)!r}, {os.getpid()}\n"
        os.environ["MOSAIC_TEST_SECRET"] = "x"
        with started({"a.py": head + PROBE}) as session:
            if "namespaces of processes" not in session.boundaries[0]:
                pytest.skip("this kernel gives no namespaces")
            with pytest.raises(Broken) as caught:
                build(session, "pytorch", "a.py")
    seen, names, user = eval(caught.value.message.partition(": ")[2])
    assert seen["scratch"] == "1"
    assert isinstance(seen["mount"], str)
    assert all(isinstance(seen[name], int) for name in ("read", "write", "own", "network", "home", "ptrace")), seen
    assert "MOSAIC_TEST_SECRET" not in names
    assert "PYTHONPATH" not in names
    assert user != 0 or os.getuid() != 0


def test_nothing_is_left_of_what_forked_twice() -> None:
    mark = f"mosaic-test-{os.getpid()}-{time.monotonic_ns()}"
    body = f"""#include <stdint.h>
#include <unistd.h>
#include <sys/prctl.h>
void f(const float *x, float *y, int64_t n) {{
    if (fork() == 0) {{ setsid(); if (fork() == 0) {{ execl("/bin/sleep", "{mark}", "1000", (char *)0); }} _exit(0); }}
    usleep(200000);
    for (int64_t i = 0; i < n; i++) y[i] = 2 * x[i];
}}
"""
    with started({"a.c": body}) as session:
        build(session)
        run(session)
        assert mark in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout
    assert mark not in subprocess.run(["ps", "axo", "args"], capture_output=True, text=True, check=True).stdout


def test_full_disks_and_memory_are_limits() -> None:
    disk = "import os\nwith open('x', 'wb') as f:\n    while True:\n        f.write(bytes(1 << 20))\n"
    files = "for i in range(10**6):\n    open(f'x{i}', 'wb').write(bytes(1 << 20))\n"
    memory = "held = []\nwhile True:\n    held.append(bytearray(1 << 24))\n"
    for text, kind in ((disk, "resource_limit"), (files, "resource_limit"), (memory, "out_of_memory")):
        with started({"a.py": text}, Limits(seconds=30, start_seconds=30, memory=1 << 28, file_bytes=16 << 20)) as session:
            with pytest.raises(Broken) as caught:
                build(session, "pytorch", "a.py")
            assert caught.value.kind == kind, caught.value


def test_the_next_candidate_finds_nothing_of_the_last() -> None:
    leave = "open('/scratch/left', 'w').write('x')\nopen('/dev/shm/left', 'w')\nimport json\njson.left = 1\nf = print\n"
    look = (
        "import os, json\nfound = [os.path.exists(f'/{p}/left') for p in ('scratch', 'dev/shm')]\n"
        "raise SystemExit((*found, hasattr(json, 'left')))\n"
    )
    with started({"a.py": leave}) as session:
        build(session, "pytorch", "a.py")
    with started({"a.py": look}) as session, pytest.raises(Broken) as caught:
        build(session, "pytorch", "a.py")
    assert "(False, False, False)" in caught.value.message


BELOW_TMP = """import os
seen = {"shown": open(SHOWN + "/library.py").read(), "linked": open(LINKED).read()}
for place in (SHOWN + "/x", SHOWN + "/library.py"):
    try:
        open(place, "w")
        seen[place] = "written"
    except OSError as error:
        seen[place] = error.errno
for place in ("/tmp/x", "/scratch/y", "/dev/shm/x"):
    seen[place] = (os.path.exists(place), open(place, "w").write("x"))
seen["same"] = os.path.samefile("/tmp/x", "/scratch/x")
seen["beside"] = [name for name in os.listdir("/tmp") if name.startswith("mosaic-")]
raise SystemExit(repr(seen))
"""


def test_a_library_below_tmp_is_shown_and_tmp_is_still_writable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages that are installed below /tmp are seen at their place, read only; nothing else of /tmp is, and nothing stays."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="mosaic-site-") as shown:
        Path(shown).chmod(0o755)
        (Path(shown) / "library.py").write_text("a library")
        linked = f"{shown}-link"
        plan = surroundings.plan("cpu")
        plan = replace(plan, visible=(*plan.visible, shown), links=(*plan.links, (linked, f"{shown}/library.py")))
        monkeypatch.setattr(surroundings, "plan", lambda device: plan)
        for _ in range(2):
            with started({"a.py": f"SHOWN, LINKED = {shown!r}, {linked!r}\n{BELOW_TMP}"}) as session:
                if "namespaces of processes" not in session.boundaries[0]:
                    pytest.skip("this kernel gives no namespaces")
                with pytest.raises(Broken) as caught:
                    build(session, "pytorch", "a.py")
            seen = eval(caught.value.message.partition(": ")[2])
            assert seen["shown"] == seen["linked"] == "a library"
            assert all(isinstance(seen[f"{shown}/{name}"], int) for name in ("x", "library.py")), seen
            assert all(seen[place] == (False, 1) for place in ("/tmp/x", "/scratch/y", "/dev/shm/x")), seen
            assert seen["same"]
            assert sorted(seen["beside"]) == sorted([Path(shown).name, Path(linked).name])
        assert sorted(path.name for path in Path(shown).iterdir()) == ["library.py"]


ANYWHERE = """
from mosaic.harness.sandbox import Limits, open_session
with open_session({"a.c": b"void f(void) {}"}, limits=Limits(), device="cpu", libraries=()) as session:
    order = {"language": "c", "entries": ["f"], "file": "a.c", "attributes": {}, "symbols": [], "device": "cpu", "build": {}}
    session.ask({"kind": "build", "order": order})
    print(*session.boundaries, sep="; ")
"""


@pytest.mark.parametrize(("nested", "says"), [(False, "user namespace"), (True, "NO namespaces")])
def test_less_is_claimed_where_the_kernel_gives_less(nested: bool, says: str) -> None:
    """As root without the right to make namespaces, as in most containers; and where not even those of a user are given."""
    command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", ANYWHERE]
    if nested:
        command = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh", *command]
    tried = ["unshare", "-Ur", "true"] if nested else [*command[:2], "true"]
    if (
        os.getuid() != 0
        or any(shutil.which(name) is None for name in ("setpriv", "unshare"))
        or subprocess.run(tried, check=False).returncode
    ):
        pytest.skip("these surroundings can't be made here")
    # Not all of sys.path: other tests load users' files, whose folders come first in it.
    source = str(Path(mosaic.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)
    if nested and "max_user_namespaces" in done.stderr:
        pytest.skip("these surroundings can't be made here")
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
