"""What a candidate's source says of its intentions, read without running it.

    for signature in scan(candidate, definition): ...

A certain signature is what no honest candidate does (it assigns to a library's clock, it unpacks code and runs it): the
candidate is refused without being run. An uncertain one is a hint that gives a name to what behaviour shows: source can be
written in endless ways, so nothing rests on it alone.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from mosaic.harness.candidate import PYTHON, Candidate
from mosaic.harness.definition import Definition
from mosaic.harness.forbidden_calls import dotted, forbidden


@dataclass(frozen=True)
class Signature:
    """One thing seen in the source. cheat: its name; certain: whether that alone refuses the candidate."""

    cheat: str
    message: str
    certain: bool


LIBRARIES: Final = frozenset({"torch", "numpy", "triton", "tilelang", "tvm", "mosaic", "scipy", "cupy", "pytest"})
REFERENCES: Final = ("reference", "reference_model", "definition", "baseline")
CLOCKS: Final = ("time", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "time_ns", "process_time", "elapsed_time")
DECODERS: Final = frozenset(
    (
        "b64decode",
        "b85decode",
        "a85decode",
        "b32decode",
        "b16decode",
        "decompress",
        "unhexlify",
        "fromhex",
        "loads",
        "decode",
        "decodebytes",
    )
)
COMPUTES: Final = frozenset({"softmax", "matmul", "mm", "bmm", "einsum", "sort", "cumsum", "conv2d", "layer_norm", "linear"})

# Words in a source of any language: what they hint at.
WORDS: Final = (
    (r"\bf_back\b|\bf_locals\b|\btb_frame\b|\b_getframe\b|\bcurrentframe\b", "swapped_code", "walks the frames of its callers"),
    (r"gc\.get_(objects|referrers)|/proc/self/mem\b|process_vm_readv", "memory_scan", "goes through the process's memory"),
    (r"/proc/self/fd\b|/proc/self/fdinfo\b", "interposed_pipes", "goes through the process's open files"),
    (r"os\._exit\b|\b_exit\s*\(", "forged_result", "leaves the process at once"),
    (r"\bpthread_detach\b|\bstd::thread\b.*detach", "native_threads", "starts threads that nothing waits for"),
    (r"\bthreading\.Thread\b|_thread\.start_new_thread", "python_threads", "starts threads"),
    (r"torch\.cuda\.Stream\(|cudaStreamCreate|cuStreamCreate", "other_stream", "has streams of its own"),
    (r"persisting|accessPolicyWindow|cudaStreamSetAttribute|cudaLimitPersistingL2CacheSize", "warm_cache", "sets cache aside"),
    (r"CUDAGraph\(|cudaStreamBeginCapture|cudaGraphLaunch", "stale_graph_replay", "replays graphs of its own"),
    (r"\btime\.sleep\(|\busleep\(|\bnanosleep\(", "slow_warm_up", "sleeps"),
    (r"\bdata_ptr\(\)", "cached_by_pointer", "looks at addresses"),
    (r"manual_seed\(\s*\d+\s*\)|Generator\(.*seed", "reproduced_seed", "draws numbers from a fixed seed"),
    (r"\b(tolerance|workload|definition)\.json\b", "edited_harness", "names files of the judge"),
    (r"[\"'](/tmp/|/var/tmp/|/dev/shm/)", "carried_state", "names files that outlive it"),
    (r"CACHE_DIR\b|\.triton/cache|torchinductor_", "poisoned_cache", "names compile caches"),
    (r"__torch_function__|__torch_dispatch__|_make_subclass|as_subclass", "lazy_tensor", "has a tensor class of its own"),
    (r"__main__['\"]\]|\bimport __main__|builtins\.", "redefined_globals", "reaches for the main program's names"),
    (r"float\(\s*[\"']nan[\"']\s*\)|math\.nan|torch\.nan|np\.nan|\bNAN\b", "nan_equals_nan", "writes NaN"),
    (
        r"\bsubprocess\b|os\.system|os\.popen|os\.exec|urllib|requests\.get|socket\.",
        "obfuscated_code",
        "starts programs, or asks for the network",
    ),
    (r"\.half\(\)|float16|bfloat16|__half\b|allow_tf32|float8", "lower_precision", "uses dtypes of lower precision"),
    (r"torch\.empty(_like)?\(|new_empty\(", "memory_garbage", "takes memory as it comes"),
)  # fmt: skip

_HOOK: Final = re.compile(r"\bmprotect\b")
_HOOKED: Final = re.compile(r"clock_gettime|gettimeofday|cudaEvent(Elapsed|Record)|elapsed")


def scan(candidate: Candidate, definition: Definition) -> tuple[Signature, ...]:
    """All signatures of a candidate, the certain ones first. Files that cannot be read as text or parsed are searched as far as they go."""
    found = list(_shadows(candidate))
    for name, content in candidate.files.items():
        text = content.decode("utf-8", errors="replace")
        if name.endswith((".py", ".c", ".cu", ".cpp", ".cc", ".cuh", ".h")):
            found += [Signature(cheat, f"{name} {what}", False) for pattern, cheat, what in WORDS if re.search(pattern, text)]
            found += _hooks(name, text)
        if name.endswith(".py") and candidate.language in PYTHON:
            found += _python(name, text, set(candidate.files), definition)
    return tuple(sorted(dict.fromkeys(found), key=lambda signature: not signature.certain))


def _shadows(candidate: Candidate) -> Iterator[Signature]:
    """Files that would be imported in place of a library."""
    for name in candidate.files:
        path = PurePosixPath(name)
        module = path.parts[0].removesuffix(".py") if len(path.parts) > 1 or path.suffix == ".py" else ""
        known = module in sys.stdlib_module_names or module in LIBRARIES or module in ("sitecustomize", "usercustomize")
        if known and name != candidate.file and (len(path.parts) == 1 or path.parts[1] == "__init__.py"):
            yield Signature("shadowed_module", f"{name} would be imported in place of the library {module}; give it another name", True)


def _hooks(name: str, text: str) -> Iterator[Signature]:
    if _HOOK.search(text) and _HOOKED.search(text):
        device = "cudaEvent" in text
        cheat = "hooked_elapsed_time" if device else "patched_clock"
        yield Signature(cheat, f"{name} makes the code of a clock writable", True)


def _python(name: str, text: str, files: set[str], definition: Definition) -> Iterator[Signature]:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    imported = {
        alias.asname or alias.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    yield from _assignments(name, tree, imported)
    yield from _unpacked(name, tree)
    yield from _inherited(name, tree, files)
    for cheat, message in forbidden(tree, definition.forbid):
        yield Signature(cheat, f"{name} {message}", True)
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.Expr) and any(_computes(node) for node in ast.walk(statement)):
            yield Signature("import_time_work", f"{name}:{statement.lineno} computes while it is imported", False)
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and "shape" in ast.dump(node.left) and _is_literal(node.comparators):
            yield Signature("hard_coded", f"{name}:{node.lineno} compares a shape with numbers", False)


def _is_literal(values: list[ast.expr]) -> bool:
    return any(
        isinstance(part, ast.Constant) and isinstance(part.value, int) and part.value > 8 for value in values for part in ast.walk(value)
    )


def _computes(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and dotted(node.func).startswith("torch.") and dotted(node.func).rpartition(".")[2] in COMPUTES


def _assignments(name: str, tree: ast.Module, imported: set[str]) -> Iterator[Signature]:
    """Assignments to attributes of libraries, and to functions' code."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AugAssign | ast.AnnAssign) else []
        for target in targets:
            if not isinstance(target, ast.Attribute):
                continue
            path = dotted(target)
            place = f"{name}:{target.lineno}"
            first, last = path.partition(".")[0], target.attr
            if last == "__code__":
                yield Signature("swapped_code", f"{place} replaces the code of a function", True)
            elif first not in imported or first not in (LIBRARIES | {"time", "builtins", "sys", "os"}) or ".backends." in path:
                continue
            elif last in CLOCKS:
                yield Signature("patched_clock", f"{place} replaces {path}", True)
            elif path.startswith("torch.cuda.Event"):
                yield Signature("swapped_events", f"{place} replaces {path}", True)
            elif path.startswith(("torch.Tensor.", "torch.testing.")) or last in ("allclose", "isclose", "equal", "eq", "assert_close"):
                yield Signature("overridden_comparison", f"{place} replaces {path}", True)
            elif path in ("torch.cuda.synchronize", "torch.cuda.current_stream"):
                yield Signature("patched_clock", f"{place} replaces {path}", True)
            elif path.startswith("builtins."):
                yield Signature("redefined_globals", f"{place} replaces {path}", True)


def _unpacked(name: str, tree: ast.Module) -> Iterator[Signature]:
    """Code that is decoded and run."""
    packed: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _decodes(node.value):
            packed |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) in ("exec", "eval", "compile", "types.FunctionType", "builtins.exec"):
            inside = [part for argument in node.args for part in ast.walk(argument)]
            if any(_decodes(part) or (isinstance(part, ast.Name) and part.id in packed) for part in inside):
                yield Signature("obfuscated_code", f"{name}:{node.lineno} unpacks code and runs it", True)
        elif isinstance(node, ast.Call) and any(
            isinstance(part, ast.Constant) and part.value == "install" for argument in node.args for part in ast.walk(argument)
        ):
            yield Signature("obfuscated_code", f"{name}:{node.lineno} installs software when it runs", True)


def _decodes(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    path = dotted(node.func)
    last = path.rpartition(".")[2]
    return last in DECODERS and not path.startswith(("json.", "torch."))


def _inherited(name: str, tree: ast.Module, files: set[str]) -> Iterator[Signature]:
    """Imports of the reference, and classes that inherit from a `Model` that is not theirs."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            bases = [dotted(base).rpartition(".")[2] for base in node.bases]
            if "Model" in bases and "Model" not in own:
                yield Signature("inherited_reference", f"{name}:{node.lineno} inherits from the reference's Model", True)
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        absolute = [getattr(node, "module", None) or ""] if getattr(node, "level", 0) == 0 else []
        for module in [alias.name for alias in node.names] if isinstance(node, ast.Import) else absolute:
            if module in REFERENCES and f"{module}.py" not in files:
                yield Signature("inherited_reference", f"{name}:{node.lineno} imports {module}, where judges keep the reference", True)
