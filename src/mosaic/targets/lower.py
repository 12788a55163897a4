"""PrimFunc → source and binary for a target, through TileLang, with what it gets wrong kept from it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mosaic.errors import ReadError, TargetError, ToolMissingError
from mosaic.layouts.linear import LayoutError
from mosaic.stitch.convert import Converted, convert
from mosaic.stitch.finish import NO_SPECIALIZATION, PASS_CONFIGS
from mosaic.targets import cuda, hip, upstream
from mosaic.targets.cache import Cache, key_of
from mosaic.targets.cpu import compile_cpu, emit_c
from mosaic.targets.emitted import Emitted
from mosaic.targets.formats import missing_format
from mosaic.targets.hazards import drop_unsafe_pipelines, specialization_hazard
from mosaic.targets.load import Loaded, load_lowered
from mosaic.targets.lowered import SCHEMA, Lowered, from_entry, to_files
from mosaic.targets.target import Target, find

__all__ = ["Lowered", "load", "lower"]

_STAGES = (48 << 10, 16 << 10, 4 << 10)
"""Bytes of shared memory that one handover may take: less, in more rounds, where a block has no more."""

_LAYOUT_WORDS = ("layout", "fragment", "can not be inferred", "not injective", "reduce")
"""What TileLang's refusals speak of where two uses of a fragment disagree."""


def lower(func: Any, target: Target | str, *, binary: bool = True, cache: Cache | None = None) -> Lowered:
    """Lower a PrimFunc for a target; what has been lowered before comes from the cache (the default one for None).

    With `binary`, CUDA source is compiled too, where nvcc is found, and what was emitted is read from the machine code;
    a note says so where it is not. Loops that TileLang would lower to wrong code (see `hazards`), or refuses with warp
    specialization, are lowered without what breaks them, and a note says so.

    Raises TargetError, in a sentence, if TileLang or nvcc refuses the program or it exceeds the target's limits,
    ReadError if the CPU cannot run it, InputError if the cache cannot be written.
    """
    start = time.perf_counter()
    if type(func).__name__ != "PrimFunc":
        raise TargetError(f"only a PrimFunc can be lowered, not {type(func).__name__}; call the kernel's function to get one")
    target = find(target) if isinstance(target, str) else target
    if target.kind == "cpu":
        return _lower_cpu(func, target, binary, start)
    if missing := missing_format(func, target):
        raise TargetError(missing)
    store = cache or Cache()
    tools = cuda.fingerprint() if target.kind == "cuda" and binary else ""
    key = key_of(
        *(SCHEMA, upstream.VERSION, upstream.environment(), repr(target), str(binary), tools),
        *(_parameter(func, var) for var in func.params),
        upstream.canonical(func),
    )
    program, unsafe = drop_unsafe_pipelines(_without_outputs(func))
    if entry := store.get(key):
        return from_entry(entry, target, program, time.perf_counter() - start, cached=True)
    lowered, code = _lower_gpu(program, target, list(unsafe), binary)
    entry = store.put(key, to_files(lowered, code))
    return from_entry(entry, target, program, time.perf_counter() - start, cached=False)


def load(program: Any, target: Target | str = "auto", *, cache: Cache | None = None) -> Loaded:
    """A callable for a lowered program, or for a PrimFunc on this machine's target: one tensor a parameter, in order,
    outputs written in place.

    Raises TargetError if it cannot be lowered, if this machine is not its target's, or if TileLang cannot load it.
    """
    return load_lowered(program if isinstance(program, Lowered) else lower(program, target, binary=False, cache=cache))


def _lower_gpu(program: Any, target: Target, notes: list[str], binary: bool) -> tuple[Lowered, bytes | None]:
    name = _name(program)
    configs = dict((program.attrs or {}).get(PASS_CONFIGS, {}))
    converted: Converted | None = None
    try:
        source, configs, more = _emit(program, name, target, configs)
    except LayoutConflict as conflict:
        whole, asked = program, configs
        for limit in _STAGES:
            converted, accepted = _convert(whole, target, asked, conflict, limit)
            program, configs = converted.func, dict(converted.pass_configs)
            source, configs, more = _emit(program, name, target, configs, accepted)
            if all(launch.dynamic_shared_bytes <= target.shared_per_block for launch in source.launches):
                break
        notes += [f"layouts that disagree: {handed}" for handed in (converted.conversions if converted else ())]
    notes += more + [f"TileLang warns: {warning}" for warning in source.warnings]
    shared = max((launch.dynamic_shared_bytes for launch in source.launches), default=0)
    code, emitted = None, None
    if target.kind == "hip":
        emitted = hip.read_source(source.text, shared)
    elif binary:
        try:
            code, emitted = cuda.compile_and_read(source.text, name, target, upstream.include_flags(), shared)
        except ToolMissingError as missing:
            notes.append(str(missing))
    _check_shared(name, target, max(shared, (emitted and emitted.shared_bytes) or 0), converted)
    threads = max((launch.threads for launch in source.launches), default=0)
    declared = upstream.declared_threads(program)
    return (
        Lowered(
            name=name,
            target=target,
            source=source.text,
            binary=None,
            emitted=emitted,
            params=tuple(_parameter(program, var) for var in program.params),
            threads=threads,
            shared_bytes=shared,
            kernels=len(source.launches),
            warp_specialized=threads > declared if declared else "warpgroup_reg_" in source.text,
            notes=tuple(notes),
            seconds=0.0,
            cached=False,
            pass_configs=configs,
            program=program,
            conversions=tuple(handed.to_dict() for handed in converted.conversions) if converted else (),
            cuts=converted.cuts if converted else None,
        ),
        code,
    )


class LayoutConflict(TargetError):
    """TileLang finds no layouts for a program as it is."""


def _convert(
    program: Any, target: Target, configs: Mapping[str, Any], conflict: LayoutConflict, stage: int
) -> tuple[Converted, upstream.Source]:
    """The program cut where its layouts disagree, and its source. Raises TargetError, with what TileLang said of the whole, if that helps
    nothing."""
    sources: list[upstream.Source] = []

    def accept(found: Converted) -> None:
        try:
            sources.append(upstream.lower_source(found.func, target, found.pass_configs))
        except upstream.Refused as refusal:
            raise TargetError(str(refusal)) from None

    try:
        with upstream.captured_output():
            found = convert(program, target.upstream, warp_size=target.warp_size, pass_configs=configs, accept=accept, stage=stage)
            return found, sources[-1]
    except ReadError as error:
        raise TargetError(f"{conflict}; it can't be cut there either: {error}") from None
    except (TargetError, LayoutError) as error:
        raise TargetError(f"{conflict}; nor with every fragment laid out apart: {error}") from None


def _emit(
    program: Any, name: str, target: Target, configs: Mapping[str, Any], known: upstream.Source | None = None
) -> tuple[upstream.Source, dict[str, Any], list[str]]:
    """Source, the pass configurations it was made with, and notes on why they are not the ones given. known: what these give, if it was
    made before.

    Raises TargetError if TileLang refuses, or if a block would have too many threads.
    """
    plain = {**configs, NO_SPECIALIZATION: True}
    notes: list[str] = []
    attempts = [dict(configs)]
    if target.specializes_warps and not configs.get(NO_SPECIALIZATION):
        hazard = specialization_hazard(program)
        attempts = [plain] if hazard else [dict(configs), plain]
        notes = [f"lowered without warp specialization: {hazard}"] if hazard else []
    for attempt in attempts:
        last = attempt is attempts[-1]
        try:
            source = known or upstream.lower_source(program, target, attempt)
        except upstream.Refused as refusal:
            if last:
                sentence = f"TileLang cannot lower kernel {name!r} for {target.name}: {refusal}"
                if any(word in str(refusal).lower() for word in _LAYOUT_WORDS):
                    raise LayoutConflict(f"{sentence}; hand the tile over in shared memory, or choose other tiles or threads") from None
                raise TargetError(sentence) from None
            notes = [f"lowered without warp specialization, which TileLang refuses here: {refusal}"]
            continue
        threads = max((launch.threads for launch in source.launches), default=0)
        shared = max((launch.dynamic_shared_bytes for launch in source.launches), default=0)
        if threads > target.threads_per_block and not last:
            notes = [f"lowered without warp specialization, with which a block would have {threads} threads"]
        elif threads > target.threads_per_block:
            raise TargetError(
                f"kernel {name!r} has {threads} threads a block, and {target.name} takes {target.threads_per_block}; use fewer"
            )
        elif shared > target.shared_per_block and not last:
            notes = [f"lowered without warp specialization, with which a block would need {shared:,} bytes of shared memory"]
        else:
            break
    return source, attempt, notes


def _check_shared(name: str, target: Target, shared: int, converted: Converted | None) -> None:
    if shared <= target.shared_per_block:
        return
    sentence = f"kernel {name!r} needs {shared:,} bytes of shared memory a block, and {target.name} has {target.shared_per_block:,}"
    staged = max(converted.conversions, key=lambda handed: handed.shared_bytes, default=None) if converted else None
    if staged is not None and staged.shared_bytes:
        raise TargetError(f"{sentence}, with {staged.shared_bytes:,} of them to hand over {staged.source.name}: split the kernel there")
    raise TargetError(f"{sentence}; choose smaller tiles or fewer stages")


def _lower_cpu(func: Any, target: Target, binary: bool, start: float) -> Lowered:
    began = time.time()
    library, notes, cached = None, [], False
    if binary:
        try:
            kernel = compile_cpu(func)
            source, library = kernel.source, kernel.library
            cached = library.stat().st_mtime < began
        except ToolMissingError as missing:
            source = emit_c(func)
            notes.append(str(missing))
    else:
        source = emit_c(func)
    emitted: Emitted | None = None  # nothing is read of the processor's machine code
    return Lowered(
        name=_name(func),
        target=target,
        source=source,
        binary=library,
        emitted=emitted,
        params=tuple(_parameter(func, var) for var in func.params),
        threads=1,
        shared_bytes=0,
        kernels=1,
        warp_specialized=False,
        notes=tuple(notes),
        seconds=time.perf_counter() - start,
        cached=cached,
        pass_configs={},
        program=func,
    )


def _without_outputs(func: Any) -> Any:
    """The function as one that writes into tensors it is given: TileLang would allocate and return those its author returned."""
    return func.without_attr("tilelang_out_idx") if "tilelang_out_idx" in (func.attrs or {}) else func


def _name(func: Any) -> str:
    return str(func.attrs["global_symbol"]) if func.attrs and "global_symbol" in func.attrs else "kernel"


def _parameter(func: Any, var: Any) -> str:
    return str(func.buffer_map[var].name if var in func.buffer_map else var.name)
