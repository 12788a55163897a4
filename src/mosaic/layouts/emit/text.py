"""Steps as the text of a device function, for CUDA or HIP."""

from __future__ import annotations

from dataclasses import dataclass

from mosaic.layouts.emit.dialect import PACKS, Dialect, cast, prelude, type_name
from mosaic.layouts.emit.expressions import bit_mask, linear_columns, linear_text, number, of_warp, parity
from mosaic.layouts.emit.steps import (
    WORD_BYTES,
    Barrier,
    Copy,
    Exchange,
    Load,
    Pack,
    Permute,
    PerThread,
    Program,
    Select,
    Shuffle,
    Step,
    Store,
    Transpose,
    Unpack,
    UnpackWord,
    Word,
)

_MEMORY = {1: "unsigned char", 2: "unsigned short", 4: "unsigned", 8: "uint2", 16: "uint4"}


@dataclass(frozen=True)
class Callers:
    """The threads that call a conversion: from which of the block's on (a multiple of a warp), and which named barrier is theirs.

    None: the whole block calls it, and the block's own barrier does. Else one of CUDA's 1 to 15 that nothing else uses meanwhile.
    """

    first_thread: int = 0
    barrier: int | None = None


WHOLE_BLOCK = Callers()


def print_function(program: Program, dialect: Dialect, name: str, source_dtype: str, target_dtype: str, callers: Callers) -> str:
    """The whole text: helper functions, tables of what no short expression gives, and the function."""
    printer = _Printer(program, dialect, name, source_dtype, target_dtype, callers)
    for step in program.steps:
        printer.print(step)
    stage = ", void* stage" if program.shared_bytes else ""
    head = f"__device__ __forceinline__ void {name}(const {type_name(source_dtype)}* source, {type_name(target_dtype)}* target{stage}) {{"
    lines = [*printer.tables, head]
    if printer.uses_thread:
        start = f" - {number(callers.first_thread)}" if callers.first_thread else ""
        lines.append(f"  const unsigned thread = threadIdx.x{start};")
    if program.shared_bytes:
        lines.append("  char* const bytes = static_cast<char*>(stage);")
    lines += [f"  {line}" for line in printer.lines]
    return prelude(dialect) + "\n".join([*lines, "}"]) + "\n"


class _Printer:
    def __init__(self, program: Program, dialect: Dialect, name: str, source_dtype: str, target_dtype: str, callers: Callers) -> None:
        self.program, self.dialect, self.name, self.callers = program, dialect, name, callers
        self.source_dtype, self.target_dtype = source_dtype, target_dtype
        self.moved = target_dtype if program.casts_first else source_dtype
        self.lines: list[str] = []
        self.tables: list[str] = []
        self.uses_thread = False
        self._named: dict[tuple[str, PerThread], str] = {}
        self._bases: list[tuple[PerThread, str]] = []
        self._loaded: set[Word] = set()

    def print(self, step: Step) -> None:
        getattr(self, f"_{type(step).__name__.lower()}")(step)

    # What differs from thread to thread

    def _index(self, values: PerThread) -> str:
        """An expression of a number."""
        if len(set(values)) == 1:
            return number(values[0])
        self.uses_thread = True
        same = of_warp(values, self.program.warp_size)
        columns = linear_columns(same)
        if len(set(same)) == 2 and (columns is None or sum(column.bit_count() for column in columns) > 1):
            low, high = sorted(set(same))
            return f"{self._condition(tuple(int(value == high) for value in values))} ? {number(high)} : {number(low)}"
        if columns is not None:
            return linear_text(same, columns)
        return self._stepped(same) or self._looked_up(same)

    def _stepped(self, values: PerThread) -> str | None:
        """A step a warp and an expression of the lane."""
        size = self.program.warp_size
        lane, step = values[:size], values[size] - values[0] if len(values) > size else 0
        columns = linear_columns(lane)
        if step <= 0 or columns is None or any(value != lane[at % size] + at // size * step for at, value in enumerate(values)):
            return None
        return f"(thread / {size}u) * {number(step)} + ({linear_text(lane, columns)})"

    def _looked_up(self, values: PerThread) -> str:
        table = f"{self.name}_table{len(self.tables)}"
        self.tables.append(f"static __device__ const unsigned {table}[{len(values)}] = {{{', '.join(map(str, values))}}};")
        return f"{table}[thread & {number(self.program.warp_size - 1)}]" if len(values) == self.program.warp_size else f"{table}[thread]"

    def _variable(self, values: PerThread, prefix: str) -> str:
        if len(set(values)) == 1:
            return number(values[0])
        key = (prefix, values)
        if key not in self._named:
            text = self._changed(values, prefix) or self._index(values)
            self._named[key] = f"{prefix}{sum(name == prefix for name, _ in self._named)}"
            self.lines.append(f"const unsigned {self._named[key]} = {text};")
        return self._named[key]

    def _changed(self, values: PerThread, prefix: str) -> str | None:
        """A variable that is known, exclusive-ored with a constant; not for what one selection gives."""
        for (kind, other), name in self._named.items():
            if kind == prefix and len(set(values)) > 2:
                changes = {value ^ known for value, known in zip(values, other, strict=True)}
                if len(changes) == 1:
                    return f"{name} ^ {number(changes.pop())}"
        return None

    def _condition(self, values: PerThread) -> str:
        if len(set(values)) == 1:
            return "true" if values[0] else "false"
        # A condition and its opposite are one variable.
        flipped = tuple(1 - value for value in values)
        if ("is", flipped) in self._named:
            return f"!{self._named['is', flipped]}"
        key = ("is", values)
        if key not in self._named:
            self.uses_thread = True
            text = self._condition_text(of_warp(values, self.program.warp_size))
            self._named[key] = f"is{sum(name == 'is' for name, _ in self._named)}"
            self.lines.append(f"const bool {self._named[key]} = {text};")
        return self._named[key]

    def _condition_text(self, values: PerThread) -> str:
        found = parity(values)
        if found is not None:
            mask, constant = found
            masked = f"thread & {number(mask)}"
            if mask.bit_count() == 1:
                return f"({masked}) {'==' if constant else '!='} 0u"
            return f"(__popc({masked}) & 1) {'==' if constant else '!='} 0"
        size = self.program.warp_size
        if len(values) == size:
            suffix = "ull" if size == 64 else "u"
            return f"({bit_mask(values):#x}{suffix} >> (thread & {number(size - 1)}) & 1) != 0"
        return f"{self._looked_up(values)} != 0u"

    def _address(self, values: PerThread) -> str:
        """The address in the stage: one that is known plus a constant, or exclusive-ored with one."""
        for base, name in self._bases:
            differences = {value - other for value, other in zip(values, base, strict=True)}
            if len(differences) == 1 and (difference := differences.pop()) >= 0:
                return f"{name} + {number(difference)}" if difference else name
        for base, name in self._bases:
            changes = {value ^ other for value, other in zip(values, base, strict=True)}
            if len(changes) == 1:
                return self._base(values, f"{name} ^ {number(changes.pop())}")
        return self._base(values, self._index(values))

    def _base(self, values: PerThread, text: str) -> str:
        name = f"at{len(self._bases)}"
        self.lines.append(f"const unsigned {name} = {text};")
        self._bases.append((values, name))
        return name

    # Steps

    def _copy(self, step: Copy) -> None:
        self.lines.append(f"target[{step.register}] = {cast(f'source[{step.from_register}]', self.source_dtype, self.target_dtype)};")

    def _pack(self, step: Pack) -> None:
        first = step.registers[0] or 0
        is_run = self.program.slots > 1 and step.registers == tuple(range(first, first + self.program.slots))
        if is_run and type_name(self.source_dtype) == type_name(self.moved):
            self._word(step.word, f"mosaic::get(source + {first})")
            return
        known = [register for register in step.registers if register is not None]
        values = [f"source[{known[0] if register is None else register}]" for register in step.registers]
        if self.source_dtype == "float32" and self.dialect.packs_fp8 and self.moved in PACKS:
            self._word(step.word, f"mosaic::{PACKS[self.moved]}({', '.join(values)})")
            return
        if self.program.casts_first:
            values = [cast(value, self.source_dtype, self.target_dtype) for value in values]
        self._word(step.word, f"mosaic::pack<{type_name(self.moved)}>({', '.join(values)})")

    def _unpack(self, step: Unpack) -> None:
        value = f"mosaic::element<{type_name(self.moved)}>(w{step.part[0]}, {step.part[1]})"
        if not self.program.casts_first:
            value = cast(value, self.source_dtype, self.target_dtype)
        self.lines.append(f"target[{step.register}] = {value};")

    def _unpackword(self, step: UnpackWord) -> None:
        self.lines.append(f"mosaic::put(target + {step.register}, w{step.word});")

    def _permute(self, step: Permute) -> None:
        selector = step.selector
        if self.dialect.hip:
            # v_perm_b32 has a byte for each selector where PRMT has a nibble.
            selector = tuple(sum((value >> 4 * at & 7) << 8 * at for at in range(WORD_BYTES)) for value in selector)
        self._word(step.word, f"mosaic::permute(w{step.low}, w{step.high}, {self._variable(selector, 'bytes')})")

    def _select(self, step: Select) -> None:
        self._word(step.word, f"{self._condition(step.condition)} ? w{step.yes} : w{step.no}")

    def _shuffle(self, step: Shuffle) -> None:
        size = self.program.warp_size
        changes = {lane ^ thread % size for thread, lane in enumerate(step.lanes)}
        if len(changes) == 1:
            self._word(step.word, f"mosaic::shuffle_xor<{number(changes.pop())}>(w{step.value})")
        else:
            self._word(step.word, f"mosaic::shuffle(w{step.value}, {self._variable(step.lanes, 'lane')})")

    def _exchange(self, step: Exchange) -> None:
        for word, value in zip(step.words, step.values, strict=True):
            self.lines.append(f"unsigned w{word} = w{value};")
        self.lines.append(f"mosaic::exchange{1 << step.bit}(w{step.words[0]}, w{step.words[1]});")

    def _transpose(self, step: Transpose) -> None:
        self._word(step.word, f"mosaic::transpose(w{step.value})")

    def _word(self, word: Word, text: str) -> None:
        self.lines.append(f"const unsigned w{word} = {text};")

    def _barrier(self, _: Barrier) -> None:
        named = self.callers.barrier is not None
        self.lines.append(f"mosaic::barrier({f'{self.callers.barrier}u, {self.program.threads}u' if named else ''});")

    def _store(self, step: Store) -> None:
        words = [f"w{word}" for word in step.words]
        value = words[0] if len(words) == 1 else f"make_uint{len(words)}({', '.join(words)})"
        if step.width < WORD_BYTES:
            shift = f" >> {8 * step.byte}" if step.byte else ""
            value = f"static_cast<{_MEMORY[step.width]}>({words[0]}{shift})"
        place = self._address(step.address)
        guard = "" if step.guard is None else f"if ({self._condition(step.guard)}) "
        self.lines.append(f"{guard}*reinterpret_cast<{_MEMORY[step.width]}*>(bytes + ({place})) = {value};")

    def _load(self, step: Load) -> None:
        place = f"*reinterpret_cast<const {_MEMORY[step.width]}*>(bytes + ({self._address(step.address)}))"
        new = not self._loaded & set(step.words)
        self._loaded |= set(step.words)
        fields = [""] if len(step.words) == 1 else [f".{field}" for field in "xyzw"[: len(step.words)]]
        if step.guard is None:
            vector = f"v{step.words[0]}"
            self.lines.append(f"const {_MEMORY[step.width]} {vector} = {place};")
            self.lines += [f"const unsigned w{word} = {vector}{field};" for word, field in zip(step.words, fields, strict=True)]
            return
        if new:
            self.lines.append("unsigned " + ", ".join(f"w{word} = 0" for word in step.words) + ";")
        moves = " ".join(f"w{word} = loaded{field};" for word, field in zip(step.words, fields, strict=True))
        self.lines.append(f"if ({self._condition(step.guard)}) {{ const {_MEMORY[step.width]} loaded = {place}; {moves} }}")
