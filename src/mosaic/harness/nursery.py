"""A clean process that loads libraries once and forks a worker for each candidate. It never runs a candidate's code, nor holds a secret.

Started as `python -I -S` with a scrubbed environment; it lives as long as the judge's process. Only Python's own library.

    request   {"plan", "word" (the new channel's nonce), "environment"} and four files: the worker's channel, stdout, stderr, status
    answer    {"process"}
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import select
import signal
import socket
import sys
from typing import Any, Final

from mosaic.harness import jail
from mosaic.harness.wire import Channel, Gone, WireError

FIRST_FREE: Final = 3


def serve(channel: Channel, libraries: list[str], entry: str) -> None:
    """Load `libraries`, say so, and fork for every request until the judge is gone. `entry`: module:function(channel) of the worker.

    If its module has a function `prepare`, that is called once, when nobody waits for an answer. Never returns.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers: they tell how their worker ended
    module, _, name = entry.partition(":")
    for library in (*libraries, module):
        importlib.import_module(library)
    gc.freeze()
    channel.send({"ready": True})
    prepare = getattr(sys.modules[module], "prepare", None)
    while True:
        if prepare is not None and not select.select([channel.end], [], [], 0)[0]:  # nobody waits
            prepare()
            prepare = None
            gc.freeze()
        channel.number += 1
        try:
            message, fds = channel.receive()
        except WireError:
            os._exit(0)
        process = os.fork()
        if process == 0:
            _begin(channel, message, fds, getattr(sys.modules[module], name))
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(Gone):
            channel.send({"process": process})


def _begin(nursery: Channel, message: dict[str, Any], fds: list[int], run: Any) -> None:
    """As a new process: go into the sandbox and work. Never returns."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        nursery.end.close()
        ours = _renumber(fds)
        os.environ.update(message["environment"])
        if message.get("plan"):
            jail.enter(jail.plan_of(message["plan"]), jail.Status(ours[1]))

        run(Channel(socket.socket(fileno=ours[0]), message["word"]))
    except BaseException as error:  # whatever it is, it must not return into the nursery's loop
        with contextlib.suppress(BaseException):
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            sys.stderr.flush()
        os._exit(71)
    os._exit(0)


def _renumber(fds: list[int]) -> tuple[int, int]:
    """stdin is empty, stdout and stderr are the judge's pipes; the channel's and the status's new numbers."""
    channel, out, err, status = fds
    high = [os.dup2(fd, 200 + index) for index, fd in enumerate((channel, out, err, status))]
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(high[1], 1)
    os.dup2(high[2], 2)
    os.dup2(high[0], FIRST_FREE)
    os.dup2(high[3], FIRST_FREE + 1)
    os.closerange(FIRST_FREE + 2, 4096)
    return FIRST_FREE, FIRST_FREE + 1


def main() -> None:
    """Entry of the process. Arguments: the channel's file, nonce, libraries (comma-separated), entry."""
    fd, nonce, libraries, entry = sys.argv[1:5]
    os.set_inheritable(int(fd), False)
    serve(Channel(socket.socket(fileno=int(fd)), nonce), [name for name in libraries.split(",") if name], entry)
