"""Sandboxed processes, as the judge sees them: start one, ask it, read what it prints within bounds, end it with all that it started.

    with open_session(files, limits=Limits(), device="cpu", libraries=("torch",)) as session:
        answer = session.ask({"kind": "build", ...}, segment)

A process is forked from a clean one that has loaded the libraries (`nursery`) and draws the boundary around itself (`jail`).
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mosaic.errors import MosaicError
from mosaic.harness import surroundings
from mosaic.harness.jail import CANDIDATE, Plan
from mosaic.harness.streams import Streams
from mosaic.harness.wire import Channel, Gone, Segment, Silence, WireError, pair

RUNTIME: Final = (
    "wire", "system_calls", "jail", "nursery", "worker", "worker_memory", "loaders", "timing_inside", "tripwires",
    "watch", "observer", "instrument",
)  # fmt: skip
"""The files of this folder that a candidate's process is made of."""


ORACLE: Final = "mosaic.harness.reference_process:work"
"""What the oracle's process runs."""

ENDS: Final = 0.2
"""Seconds that a clean process gets to end by itself: it has nothing to lose."""


@dataclass(frozen=True)
class Limits:
    """Of one candidate's process. Seconds for an answer, and for building and loading; bytes of memory, of a file and of the scratch
    folder, of what it may print; processes and threads together (0: as many as PyTorch needs on this machine, and 64 more)."""

    seconds: float = 60.0
    start_seconds: float = 120.0
    memory: int = 8 << 30
    processes: int = 0
    file_bytes: int = 1 << 30
    output_bytes: int = 1 << 20

    @property
    def tasks(self) -> int:
        """The limit on processes and threads."""
        return self.processes or 64 + 4 * (os.cpu_count() or 1)


class Broken(MosaicError):
    """A candidate's process did not do what it was asked to. `kind` is the failure class."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind: Final = kind
        self.message: Final = message


class Nursery:
    """A clean process with some libraries loaded."""

    def __init__(self, libraries: tuple[str, ...], entry: str, *, package: bool = False, whole: bool = False) -> None:
        """package: whether all of Mosaic is seen (for the oracle), or `RUNTIME`'s files alone. whole: these, and a copy of the rest."""
        self.folder: Final = Path(tempfile.mkdtemp(prefix="mosaic-"))
        self.folder.chmod(0o755)
        self.runtime: Final = self.folder / "runtime"
        self.whole: Final = whole
        self._lay_out()
        ours, theirs = pair()
        nonce = secrets.token_hex(16)
        first = str(Path(__file__).parents[2]) if package else str(self.runtime)
        paths = [first, *surroundings.search_path()]
        start = f"import sys; sys.path[:] = {paths!r}; from mosaic.harness.nursery import main; main()"
        command = [sys.executable, "-I", "-S", "-B", "-c", start, str(theirs.fileno()), nonce, ",".join(libraries), entry]
        self._process: Final = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=None,
            env=surroundings.environment(), close_fds=True, pass_fds=(theirs.fileno(),), start_new_session=True, cwd="/",
        )  # fmt: skip
        theirs.close()
        self.channel: Final = Channel(ours, nonce)
        self._is_ready = False

    def _lay_out(self) -> None:
        home = self.runtime / "mosaic" / "harness"
        if self.whole:
            shutil.copytree(Path(__file__).parents[1], home.parent, ignore=shutil.ignore_patterns("__pycache__"))
            return
        home.mkdir(parents=True)
        (home.parent / "__init__.py").touch()
        (home / "__init__.py").touch()
        for name in RUNTIME:
            source = Path(__file__).parent / f"{name}.py"
            if source.exists():
                shutil.copyfile(source, home / source.name)

    def is_alive(self) -> bool:
        """Whether it can fork."""
        return self._process.poll() is None

    def fork(self, plan: Plan | None, nonce: str, files: tuple[int, int, int, int], environment: Mapping[str, str]) -> int:
        """A new process with these files (channel, stdout, stderr, status); its pid. Raises WireError if the nursery is gone."""
        if not self._is_ready:
            self.channel.receive(120.0)
            self._is_ready = True
        self.channel.number += 1
        message = {"plan": plan.to_json() if plan else "", "word": nonce, "environment": dict(environment)}
        self.channel.send(message, files)
        return int(self.channel.receive(60.0)[0]["process"])

    def close(self) -> None:
        """End it, and remove its folder."""
        self.channel.end.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(ENDS if self._is_ready else 0.0)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


_NURSERIES: Final[dict[tuple[str, tuple[str, ...], bool], Nursery]] = {}


def nursery(
    libraries: tuple[str, ...], entry: str = "mosaic.harness.worker:work", *, package: bool = False, whole: bool = False
) -> Nursery:
    """The nursery of this process for these libraries; made when it is first asked for, which can be well before it is used."""
    key = (f"{os.getpid()} {entry}", libraries, whole)
    if key not in _NURSERIES or not _NURSERIES[key].is_alive():
        _NURSERIES[key] = Nursery(libraries, entry, package=package, whole=whole)
    return _NURSERIES[key]


@atexit.register
def _close_nurseries() -> None:
    for (owner, *_), made in list(_NURSERIES.items()):
        if owner.startswith(f"{os.getpid()} "):
            made.close()
    _NURSERIES.clear()


class Session:
    """One sandboxed process: questions and answers, what it printed, how it ended."""

    def __init__(self, folder: Path | None, channel: Channel, streams: Streams, limits: Limits, process: int) -> None:
        self._folder: Final = folder
        self.channel: Final = channel
        self.streams: Final = streams
        self.limits: Final = limits
        self._process: Final = process
        self.boundaries: tuple[str, ...] = ()
        self.observations: list[tuple[str, str]] = []
        self.waited = 0.0

    def ask(self, message: Mapping[str, Any], segment: Segment | None = None, seconds: float | None = None) -> dict[str, Any]:
        """The answer to a message. Raises Broken if there is none, or it says that the candidate failed; the process is dead then
        unless it was the candidate's own exception."""
        self.request(message, segment)
        return self.reply(seconds)

    def request(self, message: Mapping[str, Any], segment: Segment | None = None) -> None:
        """Send a message. Raises Broken if the process is gone."""
        self.channel.number += 1
        try:
            self.channel.send(message, [segment.fd] if segment is not None else [])
        except Gone:
            raise self._ended() from None

    def reply(self, seconds: float | None = None) -> dict[str, Any]:
        """The answer to the message that was sent."""
        answer, fds = self.channel_reply(seconds)
        for fd in fds:
            os.close(fd)
        return self._checked(answer)

    def channel_reply(self, seconds: float | None = None) -> tuple[dict[str, Any], list[int]]:
        """The answer as it came, and its files. Raises Broken if there is none."""
        limit = self.limits.seconds if seconds is None else seconds
        start = time.perf_counter()
        deadline = start + limit
        try:
            while not self.streams.wait(self.channel.end, deadline):
                if self.streams.printed > self.limits.output_bytes:
                    self.close()
                    raise Broken("resource_limit", f"it printed more than the {self.limits.output_bytes} bytes allowed")
            answer = self.channel.receive(0.0)
            self.waited += time.perf_counter() - start
            return answer
        except Silence:
            raise self._silent(limit) from None
        except Gone:
            raise self._ended() from None
        except WireError as error:
            self.close()
            raise Broken("cheat.forged_result", f"the answer came from elsewhere than the judge's own code: {error}") from None

    def _checked(self, answer: dict[str, Any]) -> dict[str, Any]:
        observed = answer.get("observations")
        for item in observed if isinstance(observed, list) else []:
            if isinstance(item, list) and len(item) == 2 and tuple(map(str, item)) not in self.observations:
                self.observations.append((str(item[0])[:100], str(item[1])[:1000]))
        if "failure" in answer:
            raise Broken(str(answer["failure"]), str(answer.get("message", ""))[:4000] or "no message")
        return answer

    def _silent(self, limit: float) -> Broken:
        count = surroundings.descendants(self.streams.init or self._process)
        self.close()
        if count >= 0.9 * self.limits.tasks:
            return Broken(
                "resource_limit", f"it started processes until none was left of the {self.limits.tasks} allowed, and did not answer"
            )
        return Broken("timeout", f"it did not answer within {limit:g} s")

    def _ended(self) -> Broken:
        """How the process ended, from what init said of it."""
        self.streams.drain(2.0)
        self.close()
        if self.streams.printed > self.limits.output_bytes:
            return Broken("resource_limit", f"it printed more than the {self.limits.output_bytes} bytes allowed")
        end = self.streams.end
        said = self.streams.last_words
        if "failed" in end:
            raise MosaicError(str(end["failed"]))
        if "signal" in end:
            number = int(end["signal"])
            name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
            kinds: dict[int, str] = {signal.SIGXFSZ: "resource_limit", signal.SIGXCPU: "timeout", signal.SIGKILL: "out_of_memory"}
            kind = kinds.get(number, "crash")
            if kind == "crash" and ("memory" in said and "alloc" in said):
                kind = "out_of_memory"
            return Broken(kind, f"its process ended by {name}{': ' + said if said else ''}")
        code = end.get("exit")
        if code == 0:
            return Broken("cheat.forged_result", "its process ended itself as if all were well, before it had answered")
        return Broken("crash", f"its process ended with exit code {code}{': ' + said if said else ''}")

    def kill(self) -> None:
        """Kill the process and all that it started, while another thread waits for its answer: that gets Broken, and closes it."""
        self.streams.kill(self._process)

    def close(self) -> None:
        """Kill the process and all that it started; wait until they are gone."""
        if self._folder is None and self.channel.end.fileno() < 0:
            return
        self.channel.end.close()
        self.streams.finish(self._process)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def open_session(files: Mapping[str, bytes], *, limits: Limits, device: str, libraries: tuple[str, ...], whole: bool = False) -> Session:
    """A sandboxed process with a candidate's files. whole: it can import all of Mosaic. Raises MosaicError if none can be made here."""
    home = nursery(libraries, whole=whole)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=home.folder))
    folder.chmod(0o755)
    (folder / "root").mkdir()
    candidate = folder / "candidate"
    candidate.mkdir()
    for name, data in files.items():
        (candidate / name).parent.mkdir(parents=True, exist_ok=True)
        (candidate / name).write_bytes(data)
    for path in candidate.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    candidate.chmod(0o755)
    seen = surroundings.plan(device)
    visible = (*seen.visible, str(home.runtime)) if whole else seen.visible
    plan = replace(
        seen, visible=visible, root=str(folder / "root"), candidate=str(candidate), memory=limits.memory,
        processes=limits.tasks, file_bytes=limits.file_bytes, cpu_seconds=int(10 * (limits.seconds + limits.start_seconds)),
    )  # fmt: skip
    session = begin(home, plan, limits, folder, {"MOSAIC_CANDIDATE": CANDIDATE})
    try:
        session.boundaries = session.streams.boundaries(session.limits.start_seconds)
    except WireError as error:
        session.close()
        raise MosaicError(f"no sandbox could be made on this machine: {error}") from None
    return session


def begin(home: Nursery, plan: Plan | None, limits: Limits, folder: Path | None, environment: Mapping[str, str]) -> Session:
    """Fork a process from a nursery, and take hold of its ends."""
    ours, theirs = pair()
    nonce = secrets.token_hex(16)
    (out, out_end), (err, err_end), (status, status_end) = (os.pipe() for _ in range(3))
    try:
        process = home.fork(plan, nonce, (theirs.fileno(), out_end, err_end, status_end), environment)
    finally:
        for end in (out_end, err_end, status_end):
            os.close(end)
        theirs.close()
    return Session(folder, Channel(ours, nonce), Streams(out, err, status), limits, process)
