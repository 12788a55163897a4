"""How the judge's processes talk: JSON messages over a Unix socket, tensors as raw bytes in memory that both sides map.

Nothing is ever unpickled. The file is used on both sides of the sandbox, so it needs nothing but Python's own library.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

ALIGNMENT: Final = 256
"""Tensors start at multiples of so many bytes: what cudaMalloc gives, and vector instructions like."""

LARGEST_MESSAGE: Final = 160_000
"""Bytes of a message: what a datagram of a Unix socket holds under Linux's default limits, less a margin."""

SIZES: Final = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1, "bool": 1,
}  # fmt: skip
"""Bytes of an element."""

MAPPED: Final = 2
"""Segments that are kept mapped: one of inputs, one of outputs."""

_SEALS: Final = 0x0002 | 0x0004 | 0x0001  # F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL


class WireError(Exception):
    """The other side is gone, or said what makes no sense."""


class Silence(WireError):
    """The other side said nothing in the time allowed."""


class Gone(WireError):
    """The other side has closed the connection."""


@dataclass(frozen=True)
class Place:
    """A tensor in a segment. offset, bytes: in bytes; shape: elements."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def bytes(self) -> int:
        return size_of(self.dtype, self.shape)

    def document(self) -> list[Any]:
        """JSON values, see `place`."""
        return [self.name, self.dtype, list(self.shape), self.offset]


def size_of(dtype: str, shape: Iterable[int]) -> int:
    """Bytes of a tensor."""
    count = SIZES[dtype]
    for size in shape:
        count *= size
    return count


def place(document: Any) -> Place:
    """The place of what `Place.document` wrote."""
    name, dtype, shape, offset = document
    return Place(str(name), str(dtype), tuple(int(size) for size in shape), int(offset))


def lay_out(tensors: Iterable[tuple[str, str, tuple[int, ...]]], start: int = 0) -> tuple[list[Place], int]:
    """Places for tensors (name, dtype, shape) one after the other, and the number of bytes in all."""
    places, end = [], start
    for name, dtype, shape in tensors:
        offset = -(-end // ALIGNMENT) * ALIGNMENT
        places.append(Place(name, dtype, shape, offset))
        end = offset + places[-1].bytes
    return places, -(-max(end, 1) // ALIGNMENT) * ALIGNMENT


def spread(documents: Iterable[Any], count: int, stride: int) -> Iterator[list[Place]]:
    """The same tensors `count` times, `stride` bytes apart."""
    first = [place(item) for item in documents]
    for index in range(count):
        yield [replace(where, offset=where.offset + index * stride) for where in first]


class Segment:
    """Memory that two processes map. Its size is sealed: nobody can cut it off under the other's feet."""

    def __init__(self, fd: int, size: int, *, kept: bool = False) -> None:
        """Map `size` bytes of an open file. kept: it will be used again, so that `close` does nothing until `kept` is False.

        Raises OSError or ValueError if the file isn't that long.
        """
        self.kept = kept
        self.fd: Final = fd
        self.size: Final = size
        self.memory: Final = mmap.mmap(fd, size)

    @classmethod
    def make(cls, size: int, *, kept: bool = False) -> Segment:
        """New memory of zeros."""
        fd = os.memfd_create("mosaic", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(fd, max(size, 1))
        fcntl.fcntl(fd, 1033, _SEALS)  # F_ADD_SEALS
        return cls(fd, max(size, 1), kept=kept)

    def close_file(self) -> None:
        """Let go of the file alone: the memory goes with the last object that holds on to it."""
        if self.fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self.fd)

    def close(self) -> None:
        """Let go of it; the memory goes when both sides have. No tensor may look at it any more."""
        if self.kept:
            return
        self.close_file()
        with contextlib.suppress(BufferError):  # a tensor still looks at it
            self.memory.close()

    def read(self, place: Place) -> bytes:
        """A copy of a tensor's bytes."""
        return bytes(self.memory[place.offset : place.offset + place.bytes])

    def write(self, place: Place, data: bytes | memoryview) -> None:
        """Raises ValueError unless `data` has the tensor's size."""
        if len(data) != place.bytes:
            raise ValueError(f"{place.name} has {place.bytes} bytes, not {len(data)}")
        self.memory[place.offset : place.offset + place.bytes] = data

    def fill(self, place: Place, byte: int) -> None:
        """Write one byte's value all over a tensor's place."""
        self.fill_bytes(place.offset, place.bytes, byte)

    def fill_bytes(self, start: int, count: int, byte: int) -> None:
        """Write one byte's value `count` times, from an offset on. Raises ValueError beyond the end."""
        if not 0 <= start <= start + count <= self.size:
            raise ValueError(f"bytes {start} to {start + count} are not within {self.size}")
        if count:
            ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(self.memory, start)), byte, count)


class Mapped:
    """Segments that the other side sends again and again: mapped once, as their pages come one by one."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], Segment] = {}

    def take(self, fd: int, *, keep: bool) -> Segment:
        """The segment of an open file, which is the caller's no more."""
        status = os.fstat(fd)
        key = (status.st_dev, status.st_ino)
        if (known := self._kept.pop(key, None)) is not None:
            os.close(fd)
            self._kept[key] = known  # as the last one
            return known
        made = Segment(fd, status.st_size, kept=keep)
        if keep:
            self._kept[key] = made
            while len(self._kept) > MAPPED:
                self._kept.pop(next(iter(self._kept))).close_file()
        return made


class Channel:
    """One end of a conversation in which requests and answers alternate; each carries the nonce and its number.

    The socket keeps messages apart (SOCK_SEQPACKET), so half a message cannot be seen.
    """

    def __init__(self, end: socket.socket, nonce: str) -> None:
        self.end: Final = end
        self.nonce: Final = nonce
        self.number = 0

    def send(self, message: Mapping[str, Any], fds: Iterable[int] = ()) -> None:
        """Raises Gone if the other side is gone, WireError if the message is too long."""
        data = json.dumps({**message, "nonce": self.nonce, "number": self.number}).encode()
        if len(data) > LARGEST_MESSAGE:
            raise WireError(f"a message of {len(data)} bytes is too long")
        try:
            socket.send_fds(self.end, [data], list(fds))
        except (BrokenPipeError, ConnectionError):
            raise Gone("the other side is gone") from None

    def receive(self, seconds: float | None = None) -> tuple[dict[str, Any], list[int]]:
        """The next message and the files that came with it.

        Raises Silence after `seconds`, Gone, or WireError for what is no message of this conversation.
        """
        if seconds is not None:
            poll = select.poll()
            poll.register(self.end, select.POLLIN)
            if not poll.poll(max(0.0, seconds) * 1e3):
                raise Silence(f"no answer within {seconds:.3g} s")
        try:
            data, fds, _, _ = socket.recv_fds(self.end, LARGEST_MESSAGE + 4096, 8)
        except ConnectionError:
            raise Gone("the other side is gone") from None
        if not data:
            raise Gone("the other side is gone")
        return self._checked(data, fds), fds

    def _checked(self, data: bytes, fds: list[int]) -> dict[str, Any]:
        try:
            message = json.loads(data)
        except (ValueError, RecursionError):
            message = None
        if isinstance(message, dict) and message.get("nonce") == self.nonce and message.get("number") == self.number:
            return message
        for fd in fds:
            os.close(fd)
        raise WireError("a message without this run's nonce and number")


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def now() -> float:
    """Seconds by the clock that the judge goes by."""
    return time.perf_counter()
