"""What this device really does: bytes a second copied, by size, and operations a second of its libraries' matrix products, by dtype.

    found = rates("cuda:0")             measured once a device (a second or two), then from a file in the cache
    found.matrix("float16"), found.memory(1 << 30)

The file is canonical JSON named by the device, with the SHA-256 of its content as `id`; one that was changed is measured anew.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from mosaic.errors import InputError
from mosaic.evidence.canonical import canonical, digest
from mosaic.files import write_whole
from mosaic.harness.environment import describe

FORMAT: Final = "mosaic-rates"
VERSION: Final = 1

WIDER: Final = {
    "float8_e4m3fn": ("float8_e5m2", "float16", "bfloat16", "float32"),
    "float8_e5m2": ("float8_e4m3fn", "float16", "bfloat16", "float32"),
    "int8": ("int32", "float16", "bfloat16", "float32"),
    "uint8": ("int8", "float16", "bfloat16", "float32"),
    "float16": ("bfloat16", "float32"),
    "bfloat16": ("float16", "float32"),
    "float32": ("float64",),
}
"""In which other dtypes products of one are computed as well: where a device has no unit for it, the wider is the quicker way."""

DTYPES: Final = ("float16", "bfloat16", "float32", "float64", "int8", "float8_e4m3fn")
_SAMPLES: Final = 6
_SECONDS: Final = {"cpu": 0.005, "cuda": 0.002}  # of a sample, about
_LONGEST: Final = 0.25  # seconds of one product on which no larger one is tried
_cuda: Any = torch.cuda  # parts of it have no types
_Found = TypeVar("_Found", "Rate", "Rate | None")


@dataclass(frozen=True)
class Rate:
    """The best of several samples, and all of them, in units a second. The best is what the device can do: the rest was disturbed."""

    samples: tuple[float, ...]

    @property
    def best(self) -> float:
        return max(self.samples)

    @property
    def spread(self) -> float:
        """How far the best lies above the median, as a share: what another measurement might find beyond."""
        return self.best / statistics.median(self.samples) - 1


@dataclass(frozen=True)
class Rates:
    """Measured rates of one device. `copies`: bytes read and written a second, by the bytes of both sides of a copy.

    `products`: operations a second by dtype (float32 with the matrix units' shorter format, where the device has one). `cache`: bytes
    of its last-level cache.
    """

    device: str
    cache: int
    copies: dict[int, Rate]
    products: dict[str, Rate]

    def matrix(self, dtype: str) -> Rate | None:
        """Of products whose operands have this dtype, the quickest way; None if nothing like it was measured."""
        found = [self.products[name] for name in (dtype, *WIDER.get(dtype, ())) if name in self.products]
        return max(found, key=lambda rate: rate.best, default=None)

    def memory(self, size: int, *, cached: bool = False) -> Rate:
        """Of moving `size` bytes: as device memory does it, or, `cached`, as the caches might that hold so much."""
        if not cached:
            return self.copies[max(self.copies)]
        fitting = [rate for extent, rate in self.copies.items() if extent >= min(size, max(self.copies))]
        return max(fitting, key=lambda rate: rate.best)

    def to_dict(self) -> dict[str, Any]:
        """The document that is kept."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "device": self.device,
            "cache": self.cache,
            "copies": [{"bytes": size, "unit": "B/s", "samples": list(rate.samples)} for size, rate in sorted(self.copies.items())],
            "products": [{"dtype": name, "unit": "FLOP/s", "samples": list(rate.samples)} for name, rate in sorted(self.products.items())],
        }

    @classmethod
    def from_dict(cls, document: Any) -> Rates:
        """The inverse of `to_dict`. Raises InputError for anything else."""
        try:
            if (document["format"], document["version"]) != (FORMAT, VERSION):
                raise ValueError
            copies = {int(row["bytes"]): Rate(_positive(row["samples"])) for row in document["copies"]}
            products = {str(row["dtype"]): Rate(_positive(row["samples"])) for row in document["products"]}
            if not copies:
                raise ValueError
            return cls(str(document["device"]), int(document["cache"]), copies, products)
        except (KeyError, TypeError, ValueError):
            raise InputError("a record of a device's rates is malformed; remove it, and they are measured again") from None


def rates(device: str | torch.device = "cpu", dtypes: Sequence[str] = DTYPES, *, cache: Path | None = None, anew: bool = False) -> Rates:
    """The rates of a device: from the cache's file, or measured now and kept there (in `$MOSAIC_CACHE`, or ~/.cache/mosaic).

    dtypes: whose products must be there, and those they may be computed in as well. anew: measure them all once more, and keep the
    better of each: what to do before calling a time impossible. A cache that cannot be written is no error.
    """
    where = torch.device(device)
    name = fingerprint(where)
    folder = cache or Path(os.environ.get("MOSAIC_CACHE") or Path.home() / ".cache" / "mosaic") / "rates"
    path = folder / f"{digest(name.encode())[:24]}.json"
    wanted = [dtype for dtype in DTYPES if any(dtype in (asked, *WIDER.get(asked, ())) for asked in dtypes)]
    known = _read(path, name)
    if anew:
        return _kept(path, _better(known, measure_rates(where, wanted)))
    missing = [dtype for dtype in wanted if known is None or dtype not in known.products]
    if known is not None and not missing:
        return known
    made = measure_rates(where, missing, known)
    if known is not None and made.products.keys() == known.products.keys():
        return known  # what is missing isn't to be had here
    return _kept(path, made)


def _kept(path: Path, made: Rates) -> Rates:
    content = made.to_dict()
    with suppress(InputError, OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, canonical({**content, "id": digest(canonical(content))}) + b"\n")
    return made


def _better(old: Rates | None, new: Rates) -> Rates:
    """Each rate with the samples of that measurement whose best is higher."""
    if old is None:
        return new
    copies = {size: max(rate, old.copies.get(size, rate), key=lambda rate: rate.best) for size, rate in new.copies.items()}
    products = {name: max(rate, old.products.get(name, rate), key=lambda rate: rate.best) for name, rate in new.products.items()}
    return Rates(new.device, new.cache, {**old.copies, **copies}, {**old.products, **products})


def fingerprint(where: torch.device) -> str:
    """What a rate belongs to: the device, its driver, PyTorch, and how many threads there are."""
    told = describe(where)
    parts = (told.kind, told.name, told.serial or "", told.driver or told.firmware or "", torch.__version__)
    return "; ".join((*parts, f"{_cores()} cores" if where.type == "cpu" else ""))


def measure_rates(device: str | torch.device, dtypes: Sequence[str] = DTYPES, known: Rates | None = None) -> Rates:
    """Measure now what is not `known`. Takes a second or two on a CPU, less on a GPU; other work on the device makes them too low."""
    where = torch.device(device)
    size = last_level_cache(where)
    copies = known.copies if known is not None else {e: _best(where, partial(_copy_rate, where, e)) for e in _extents(where, size)}
    products = dict(known.products) if known is not None else {}
    for name in dtypes:
        if (rate := _best(where, partial(_product_rate, where, name))) is not None:
            products[name] = rate
    return Rates(fingerprint(where), size, copies, products)


def _best(where: torch.device, rate: Callable[[], _Found]) -> _Found:
    """Of a processor the better of one thread and of all: where others keep its cores busy, threads wait for each other."""
    if where.type != "cpu":
        return rate()
    threads = torch.get_num_threads()
    found = []
    try:
        for count in sorted({1, _cores()}):
            torch.set_num_threads(count)
            found.append(rate())
    finally:
        torch.set_num_threads(threads)
    return max(found, key=_best_of)


def _best_of(rate: Rate | None) -> float:
    return rate.best if rate is not None else 0.0


def last_level_cache(where: torch.device) -> int:
    """Its bytes: as the driver tells, or the largest that Linux lists; 32 MiB where neither says."""
    if where.type == "cuda":
        return int(getattr(_cuda.get_device_properties(where), "L2_cache_size", 0)) or 32 << 20
    found = [32 << 20]
    with suppress(OSError, ValueError):
        sizes = [path.read_text().strip() for path in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")]
        found = [int(text[:-1]) << {"K": 10, "M": 20}[text[-1]] for text in sizes if text[-1:] in "KM"] or found
    return max(found)


def _read(path: Path, name: str) -> Rates | None:
    try:
        document = json.loads(path.read_bytes())
        stored = document.pop("id")
        if document["device"] != name or stored != digest(canonical(document)):
            return None
        return Rates.from_dict(document)
    except (OSError, ValueError, KeyError, AttributeError, TypeError, InputError):
        return None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _extents(where: torch.device, cache: int) -> list[int]:
    """Bytes of both sides of a copy: within the caches, and in memory (no more than an eighth of what there is)."""
    largest = min(16 * cache, 2 << 30) if where.type == "cuda" else min(4 * cache, 128 << 20)
    smallest = 1 << 18 if where.type == "cpu" else 1 << 22
    return sorted({smallest, *(size for size in (1 << 20, 1 << 22, cache // 2) if smallest < size < largest), largest})


def _copy_rate(where: torch.device, extent: int) -> Rate:
    source = torch.ones(max(1, extent // 2), dtype=torch.uint8, device=where)
    target = torch.empty_like(source)
    return Rate(tuple(2 * source.numel() / seconds for seconds in _seconds(lambda: target.copy_(source), where)))


def _product_rate(where: torch.device, name: str) -> Rate | None:
    """Of square products, doubling their size until one takes long enough; None if PyTorch has none for this dtype here."""
    best: Rate | None = None
    for size in (512, 1024, 2048, 4096, 8192) if where.type == "cuda" else (256, 512):
        try:
            product = _product(where, name, size)
            start = time.perf_counter()
            product()
            _wait(where)
            first = time.perf_counter() - start
            if first > _LONGEST and best is not None:
                break
            found = Rate(tuple(2 * size**3 / seconds for seconds in _seconds(product, where, 1 if first > _LONGEST else _SAMPLES)))
        except (RuntimeError, NotImplementedError, AttributeError, TypeError, ValueError):
            return best
        best = found if best is None or found.best > best.best else best
    return best


def _product(where: torch.device, name: str, size: int) -> Callable[[], object]:
    dtype: torch.dtype = getattr(torch, name)
    if name == "int8":
        a = torch.ones(size, size, dtype=dtype, device=where)
        return lambda: torch._int_mm(a, a.T)
    if name.startswith("float8"):
        if where.type != "cuda":
            raise NotImplementedError
        a, one = torch.ones(size, size, device=where).to(dtype), torch.ones((), device=where)
        return lambda: torch._scaled_mm(a, a.T, scale_a=one, scale_b=one, out_dtype=torch.bfloat16, use_fast_accum=True)
    a, b = (torch.randn(size, size, device=where).to(dtype) for _ in range(2))
    return lambda: _short_float32(a, b)


def _short_float32(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The product, with float32 in the matrix units' shorter format where there is one: the quickest that goes by that name."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        return a @ b
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _seconds(run: Callable[[], object], where: torch.device, samples: int = _SAMPLES) -> list[float]:
    """Seconds of a run, in several samples of several runs each."""
    run()
    _wait(where)
    start = time.perf_counter()
    run()
    _wait(where)
    repeats = max(1, math.ceil(_SECONDS[where.type] / max(time.perf_counter() - start, 1e-7)))
    return [_clock(run, min(repeats, 2000), where) for _ in range(samples)]


def _clock(run: Callable[[], object], repeats: int, where: torch.device) -> float:
    if where.type == "cpu":
        start = time.perf_counter()
        for _ in range(repeats):
            run()
        return (time.perf_counter() - start) / repeats
    begin, end = _cuda.Event(enable_timing=True), _cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        run()
    end.record()
    end.synchronize()
    return float(begin.elapsed_time(end)) / 1e3 / repeats


def _wait(where: torch.device) -> None:
    if where.type == "cuda":
        torch.cuda.synchronize(where)


def _positive(values: Sequence[float]) -> tuple[float, ...]:
    if not values or any(not 0 < value < math.inf for value in values):
        raise ValueError
    return tuple(map(float, values))
