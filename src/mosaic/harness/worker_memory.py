"""Tensors on the candidate's side: PyTorch's on a device, or plain memory for a candidate in C, which needs no PyTorch.

Runs in the candidate's process. What it says of a tensor is a claim; what counts is the bytes that it puts into the segment.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, Final, Protocol

from mosaic.harness.wire import ALIGNMENT, Place, Segment

POISON: Final = 0xFF
"""Bytes of new memory: NaN in every floating-point format, -1 or the largest number as an integer."""


class Memory(Protocol):
    """How tensors are made and read. `tensor` is whatever kind this memory has; `shares`: whether it can lie in a segment itself."""

    shares: bool

    def load(self, segment: Segment, where: Place) -> Any: ...
    def refill(self, tensor: Any, segment: Segment, where: Place) -> None: ...
    def poisoned(self, where: Place) -> Any: ...
    def store(self, tensor: Any, segment: Segment, where: Place) -> None: ...
    def describe(self, tensor: Any) -> dict[str, Any]: ...
    def extent(self, tensor: Any) -> tuple[int, int]: ...
    def wait(self) -> None: ...
    def view(self, segment: Segment, where: Place) -> Any: ...
    def put(self, tensor: Any, view: Any) -> None: ...


class Raw:
    """A tensor of plain memory, aligned."""

    def __init__(self, where: Place, segment: Segment | None = None) -> None:
        """New memory, or a place in a segment."""
        self.dtype: Final = where.dtype
        self.shape: Final = where.shape
        self.bytes: Final = where.bytes
        if segment is not None:
            self.address: int = _address(segment) + where.offset
            return
        self._memory: Final = ctypes.create_string_buffer(where.bytes + ALIGNMENT)
        start = ctypes.addressof(self._memory)
        self.address = -(-start // ALIGNMENT) * ALIGNMENT


class RawMemory:
    """For candidates that take pointers, on the CPU."""

    shares = True

    def load(self, segment: Segment, where: Place) -> Raw:
        """A new tensor with the bytes at a place."""
        made = Raw(where)
        self.refill(made, segment, where)
        return made

    def refill(self, tensor: Raw, segment: Segment, where: Place) -> None:
        """Other bytes at the same address."""
        ctypes.memmove(tensor.address, _address(segment) + where.offset, where.bytes)

    def poisoned(self, where: Place) -> Raw:
        """A new tensor of `POISON`."""
        made = Raw(where)
        ctypes.memset(made.address, POISON, made.bytes)
        return made

    def store(self, tensor: Raw, segment: Segment, where: Place) -> None:
        """Copy a tensor to a place."""
        ctypes.memmove(_address(segment) + where.offset, tensor.address, where.bytes)

    def describe(self, tensor: Raw) -> dict[str, Any]:
        """What the judge compares with the definition."""
        return {"type": "Tensor", "dtype": tensor.dtype, "shape": list(tensor.shape)}

    def extent(self, tensor: Raw) -> tuple[int, int]:
        """First address, and the one after the last."""
        return tensor.address, tensor.address + tensor.bytes

    def wait(self) -> None:
        """Nothing is queued."""

    def view(self, segment: Segment, where: Place) -> Raw:
        """A tensor that lies in the segment."""
        return Raw(where, segment)

    def put(self, tensor: Raw, view: Raw) -> None:
        """Copy a tensor into a view of the same size."""
        if tensor.bytes == view.bytes and tensor.address != view.address:
            ctypes.memmove(view.address, tensor.address, view.bytes)


def _address(segment: Segment) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(segment.memory))


class TorchMemory:
    """PyTorch tensors on a device. PyTorch's functions are kept as they were before the candidate was loaded."""

    def __init__(self, device: str) -> None:
        import torch  # noqa: PLC0415  # a candidate in C does without

        self.torch: Final = torch
        self.shares = not device.startswith("cuda")
        self.device: Final = torch.device(device)
        self._from: Final = torch.frombuffer
        self._empty: Final = torch.empty
        self._plain: Final = (torch.Tensor, torch.nn.Parameter)
        self._wait: Final[Callable[[], None]] = torch.cuda.synchronize if self.device.type == "cuda" else lambda: None
        if self.device.type == "cuda":  # opens the device now, which takes a while, and not in the first call
            self._empty(1, device=self.device).fill_(0)
            self._wait()

    def put(self, tensor: Any, view: Any) -> None:
        """Copy a tensor into a view, if it is what it should be."""
        if type(tensor) in self._plain and tensor.shape == view.shape and tensor.dtype == view.dtype:
            view.copy_(tensor.detach() if tensor.requires_grad else tensor)

    def view(self, segment: Segment, where: Place) -> Any:
        """A tensor of the host that lies in the segment."""
        count = 1
        for size in where.shape:
            count *= size
        if count == 0:
            return self._empty(where.shape, dtype=getattr(self.torch, where.dtype))
        return self._from(segment.memory, dtype=getattr(self.torch, where.dtype), count=count, offset=where.offset).reshape(where.shape)

    def load(self, segment: Segment, where: Place) -> Any:
        """A new tensor with the bytes at a place."""
        made = self._empty(where.shape, dtype=getattr(self.torch, where.dtype), device=self.device)
        made.copy_(self.view(segment, where))
        return made

    def refill(self, tensor: Any, segment: Segment, where: Place) -> None:
        """Other bytes at the same address."""
        tensor.copy_(self.view(segment, where))

    def poisoned(self, where: Place) -> Any:
        """A new tensor of `POISON`."""
        size = max(where.bytes, 1)
        flat = self._empty(size, dtype=self.torch.uint8, device=self.device).fill_(POISON)[: where.bytes]
        return flat.view(getattr(self.torch, where.dtype)).reshape(where.shape)

    def store(self, tensor: Any, segment: Segment, where: Place) -> None:
        """Copy a tensor to a place."""
        if tensor.numel():
            self.view(segment, where).copy_(tensor.detach())

    def describe(self, tensor: Any) -> dict[str, Any]:
        """What the judge compares with the definition."""
        kind = type(tensor)
        if not isinstance(tensor, self._plain[0]):
            return {"type": kind.__name__}
        about = {"dtype": str(tensor.dtype).removeprefix("torch."), "shape": list(tensor.shape), "device": tensor.device.type}
        if kind not in self._plain:
            return {"type": kind.__name__, "subclass": True, **about}
        if tensor.layout is not self.torch.strided:
            return {"type": str(tensor.layout), **about}
        return {"type": "Tensor", **about}

    def extent(self, tensor: Any) -> tuple[int, int]:
        """First address of the storage, and the one after the last."""
        storage = tensor.untyped_storage()
        start = storage.data_ptr()
        return start, start + storage.nbytes()

    def wait(self) -> None:
        """Until all that was queued on the device is done, on every stream."""
        self._wait()


def memory_for(language: str, device: str) -> Memory:
    """The memory that candidates of a language work on."""
    return RawMemory() if language in ("c", "extension") and device == "cpu" else TorchMemory(device)
