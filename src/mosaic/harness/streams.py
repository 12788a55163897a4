"""What a sandboxed process prints, and how it ends: read as it comes, kept within bounds, and never taken for a result."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any, Final

from mosaic.harness.wire import Silence, WireError

KEPT: Final = 64 * 1024
"""Bytes of each stream that are kept: the last ones."""


class Streams:
    """The judge's ends of a process's stdout, stderr and status."""

    def __init__(self, out: int, err: int, status: int) -> None:
        self._fds: Final = {out: "out", err: "err", status: "status"}
        self.text: Final = {"out": b"", "err": b""}
        self.printed = 0
        self.end: dict[str, Any] = {}
        self.init: int | None = None
        self._held: tuple[str, ...] | None = None
        self._lines = b""
        self._finished = False
        self._open: Final = set(self._fds)
        for fd in self._fds:
            os.set_blocking(fd, False)

    def wait(self, channel: socket.socket, deadline: float) -> bool:
        """Until something came: True if the channel has an answer or is closed, False if the process printed. Raises Silence."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        for fd in self._open:
            poll.register(fd, select.POLLIN)
        left = deadline - time.perf_counter()
        ready = dict(poll.poll(max(0.0, left) * 1e3))
        if not ready:
            raise Silence("no answer")
        answered = ready.pop(channel.fileno(), 0) != 0
        for fd in ready:
            self._read(fd)
        return answered

    def _read(self, fd: int) -> bool:
        """Take what there is; whether there may be more."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._open.discard(fd)
            return False
        name = self._fds[fd]
        if name == "status":
            self._lines += data
            *lines, self._lines = self._lines.split(b"\n")
            for line in lines:
                self._note(line)
        else:
            self.printed += len(data)
            self.text[name] = (self.text[name] + data)[-KEPT:]
        return True

    def _note(self, line: bytes) -> None:
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            if "boundaries" in message:
                self._held = tuple(message["boundaries"])
            elif "init" in message:
                self.init = int(message["init"])
            else:
                self.end = message

    def boundaries(self, seconds: float) -> tuple[str, ...]:
        """Those that hold, as the process says before it loads anything of the candidate. Raises WireError if it could draw none."""
        deadline = time.perf_counter() + seconds
        status = next(fd for fd, name in self._fds.items() if name == "status")
        while self._held is None and "failed" not in self.end and status in self._open:
            poll = select.poll()
            poll.register(status, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.perf_counter()) * 1e3):
                break
            self._read(status)
        if self._held is None:
            self.drain(0.5)
            raise WireError(str(self.end.get("failed") or self.last_words or "its process said nothing"))
        return self._held

    def drain(self, seconds: float) -> None:
        """Read until all ends are closed, or the time is over."""
        deadline = time.perf_counter() + seconds
        while self._open and (left := deadline - time.perf_counter()) > 0 and self.printed < 1 << 26:
            poll = select.poll()
            for fd in self._open:
                poll.register(fd, select.POLLIN)
            for fd, _ in poll.poll(left * 1e3):
                self._read(fd)

    @property
    def last_words(self) -> str:
        """The end of stderr, in one line."""
        lines = self.text["err"].decode(errors="replace").strip().splitlines()
        return " / ".join(line.strip() for line in lines[-6:])[-1500:]

    def finish(self, process: int) -> None:
        """Kill init (all of its namespace ends with it), then the keeper if it does not end by itself; close the ends, once."""
        if self._finished:
            return
        self._finished = True
        if self._open:
            self._kill(self.init)
            self.drain(0.2 if self.init is None else 3.0)
        if self._open:
            self._kill(process)
            self.drain(1.0)
        for fd in self._fds:
            with contextlib.suppress(OSError):
                os.close(fd)
        self._open.clear()

    def kill(self, process: int) -> None:
        """Kill init and the keeper. Whoever waits for an answer finds that out, and closes the ends."""
        for one in (self.init, process):
            self._kill(one)

    @staticmethod
    def _kill(process: int | None) -> None:
        if process is not None and process > 1:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
